"""Settings in layers: what wins, which names are understood, and what is refused with which words."""

from __future__ import annotations

import math
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from llmasos.engine.options import AnswerOptions, LoadOptions, SamplingOptions
from llmasos.errors import BadInputError, UsageError
from llmasos.settings import FOREIGN_NAMES, configured, is_offline, layered, read_config, read_environment

unhurried = settings(deadline=None)
ALL_OPTIONS = (SamplingOptions, AnswerOptions, LoadOptions)


def write_config(home: Path, text: str) -> None:
    home.mkdir(exist_ok=True)
    (home / "config.toml").write_text(text, encoding="utf-8")


# Layers.


def test_without_layers_the_defaults_hold():
    assert layered(SamplingOptions) == SamplingOptions()


def test_a_later_layer_wins_and_none_means_unset():
    chosen = layered(SamplingOptions, {"temperature": 0.1, "top_k": 5}, {"temperature": 0.2, "top_k": None})
    assert (chosen.temperature, chosen.top_k, chosen.top_p) == (0.2, 5, 0.95)


def test_flags_beat_the_environment_and_the_environment_beats_config(home: Path, monkeypatch: pytest.MonkeyPatch):
    write_config(home, "temperature = 0.1\ntop_k = 1\ntop_p = 0.1\n")
    monkeypatch.setenv("LLMASOS_TEMPERATURE", "0.2")
    monkeypatch.setenv("LLMASOS_TOP_K", "2")
    chosen = layered(SamplingOptions, {"min_p": 0.5}, *configured(SamplingOptions), {"temperature": 0.3})
    assert (chosen.temperature, chosen.top_k, chosen.top_p, chosen.min_p) == (0.3, 2, 0.1, 0.5)


def test_keys_of_other_options_are_left_to_them(home: Path):
    write_config(home, 'temperature = 0.1\ncontext_length = 512\nunheard_of = "x"\n')
    assert layered(LoadOptions, read_config()) == LoadOptions(context_length=512)


@pytest.mark.parametrize(("foreign", "ours"), FOREIGN_NAMES.items())
def test_every_foreign_name_is_that_of_an_option(foreign: str, ours: str):
    [options] = [options for options in ALL_OPTIONS if ours in {each.name for each in fields(options)}]
    value = "q8_0" if ours == "kv_type" else 1
    assert getattr(layered(options, {foreign: value}), ours) == value


# Limits and types.


@pytest.mark.parametrize(
    ("options", "values", "complaint"),
    [
        (SamplingOptions, {"temperature": -1}, "temperature is at least 0, not -1.0"),
        (SamplingOptions, {"top_p": 1.5}, "top_p is at most 1, not 1.5"),
        (SamplingOptions, {"temperature": math.nan}, "temperature is not a number"),
        (SamplingOptions, {"seed": 2**32 - 1}, "seed is at most 4294967294, not 4294967295"),
        (SamplingOptions, {"temperature": "hot"}, "temperature can't be 'hot'; it takes a number"),
        (SamplingOptions, {"top_k": 1.5}, "top_k can't be 1.5; it takes a whole number"),
        (SamplingOptions, {"top_k": True}, "top_k can't be True; it takes a whole number"),
        (SamplingOptions, {"top_k": [40]}, "top_k can't be [40]; it takes a whole number"),
        (SamplingOptions, {"repeat_penalty": 10**400}, None),
        (AnswerOptions, {"stop": [1, 2]}, "stop can't be [1, 2]; it takes a list of texts"),
        (AnswerOptions, {"ignore_eos": "no"}, "ignore_eos can't be 'no'; it takes true or false"),
        (AnswerOptions, {"on_overflow": "explode"}, "on_overflow is one of error, truncate, shift, summarize"),
        (LoadOptions, {"kv_type": 8}, "kv_type can't be 8; it takes a text"),
        (LoadOptions, {"kv_type": "q9_9"}, "kv_type is one of f16, "),
        (LoadOptions, {"threads": 0}, "threads is at least 1, not 0"),
    ],
)
def test_a_value_that_an_option_can_not_take_is_refused(options: type[Any], values: dict[str, Any], complaint: str):
    with pytest.raises(UsageError) as refusal:
        layered(options, values)
    assert complaint is None or refusal.value.message.startswith(complaint)


def test_numbers_that_json_and_toml_write_differently_are_the_same():
    chosen = layered(SamplingOptions, {"temperature": 1, "top_k": 40.0})
    assert (chosen.temperature, chosen.top_k) == (1.0, 40)
    assert isinstance(chosen.temperature, float) and isinstance(chosen.top_k, int)


@pytest.mark.parametrize("stop", ["###", ["###"], ("###",)])
def test_one_text_is_a_list_of_one(stop: Any):
    assert layered(AnswerOptions, {"stop": stop}).stop == ("###",)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=4,
)
option_names = st.sampled_from([each.name for options in ALL_OPTIONS for each in fields(options)])


@unhurried
@given(option_names, json_values)
def test_any_value_of_a_config_or_request_is_taken_in_the_type_of_its_option_or_refused(name: str, value: Any):
    for options in ALL_OPTIONS:
        try:
            chosen = layered(options, {name: value})
        except UsageError:
            continue
        assert hash(chosen) is not None  # nothing that can be changed got in
        assert repr(chosen) == repr(options(**{each.name: getattr(chosen, each.name) for each in fields(options)}))


# config.toml and the environment.


def test_without_a_config_there_are_no_keys():
    assert read_config() == {}


@pytest.mark.parametrize("content", [b"temperature = ", b"\xff\xfe", b"[a]\n[a]\n"])
def test_a_config_that_can_not_be_read_is_named(home: Path, content: bytes):
    home.mkdir()
    (home / "config.toml").write_bytes(content)
    with pytest.raises(BadInputError, match=r"can't read .*config\.toml"):
        read_config()


@pytest.mark.parametrize(
    ("name", "text", "value"),
    [
        ("LLMASOS_TEMPERATURE", "0.5", {"temperature": 0.5}),
        ("LLMASOS_SEED", "7", {"seed": 7}),
        ("LLMASOS_DRY_SEQUENCE_BREAKERS", "a,b", {"dry_sequence_breakers": ("a", "b")}),
        ("LLMASOS_GRAMMAR", 'root ::= "x"', {"grammar": 'root ::= "x"'}),
        ("LLMASOS_TEMPERATURE", "", {}),
    ],
)
def test_the_environment_is_read_by_the_type_of_the_option(
    monkeypatch: pytest.MonkeyPatch, name: str, text: str, value: dict[str, Any]
):
    monkeypatch.setenv(name, text)
    assert read_environment(SamplingOptions) == value


@pytest.mark.parametrize(("text", "value"), [("1", True), ("Yes", True), ("on", True), ("0", False), ("off", False)])
def test_the_environment_says_yes_and_no_in_several_words(monkeypatch: pytest.MonkeyPatch, text: str, value: bool):
    monkeypatch.setenv("LLMASOS_MMAP", text)
    assert read_environment(LoadOptions) == {"mmap": value}


@pytest.mark.parametrize(
    ("name", "text", "complaint"),
    [
        ("LLMASOS_MMAP", "nope", "`nope` is no value for mmap; it takes true or false"),
        ("LLMASOS_THREADS", "many", "`many` is no value for threads; it takes a whole number"),
        ("LLMASOS_THREADS", "1.5", "`1.5` is no value for threads; it takes a whole number"),
    ],
)
def test_a_wrong_word_in_the_environment_is_refused(
    monkeypatch: pytest.MonkeyPatch, name: str, text: str, complaint: str
):
    monkeypatch.setenv(name, text)
    with pytest.raises(UsageError) as refusal:
        read_environment(LoadOptions)
    assert refusal.value.message == complaint


# Offline.


@pytest.mark.parametrize(
    ("environment", "config", "offline"),
    [
        ({}, "", False),
        ({"LLMASOS_OFFLINE": "1"}, "", True),
        ({"HF_HUB_OFFLINE": "TRUE"}, "", True),
        ({}, "offline = true", True),
        ({"LLMASOS_OFFLINE": "0", "HF_HUB_OFFLINE": "1"}, "offline = true", False),
        ({"LLMASOS_OFFLINE": "", "HF_HUB_OFFLINE": "1"}, "", True),
    ],
)
def test_the_network_is_off_limits_if_anything_says_so(
    home: Path, monkeypatch: pytest.MonkeyPatch, environment: dict[str, str], config: str, offline: bool
):
    write_config(home, config)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    assert is_offline() is offline
