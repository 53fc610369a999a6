"""Settings in layers: what wins, which names are understood, and what is refused with which words."""

from __future__ import annotations

import json
import math
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from llmasos.engine.options import ALL_OPTIONS, AnswerOptions, LoadOptions, SamplingOptions
from llmasos.errors import BadInputError, UsageError
from llmasos.settings import (
    FOREIGN_NAMES,
    configured,
    is_offline,
    layered,
    own_parameters,
    read_config,
    read_environment,
    unknown_keys,
    value_type,
)

unhurried = settings(deadline=None)


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
    value = {"kv_type": "q8_0", "stop": ("x",)}.get(ours, 1)
    assert getattr(layered(options, {foreign: value}), ours) == value


# Limits and types.


@pytest.mark.parametrize(
    ("options", "values", "complaint"),
    [
        (SamplingOptions, {"temperature": -1}, "temperature is at least 0, not -1.0"),
        (SamplingOptions, {"top_p": 1.5}, "top_p is at most 1, not 1.5"),
        (SamplingOptions, {"temperature": math.nan}, "temperature is not a number"),
        (SamplingOptions, {"mirostat_tau": math.inf}, "mirostat_tau is infinite"),
        (SamplingOptions, {"top_n_sigma": -math.inf}, "top_n_sigma is infinite"),
        (SamplingOptions, {"top_k": 2**32 + 1}, "top_k is at most 2147483647, not 4294967297"),
        (SamplingOptions, {"repeat_last_n": 2_000_000_000}, "repeat_last_n is at most 1048576, not 2000000000"),
        (LoadOptions, {"batch_size": 65537}, "batch_size is at most 65536, not 65537"),
        (LoadOptions, {"num_ctx": 2**31}, "context_length is at most 2147483647, not 2147483648"),
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


@pytest.mark.parametrize("options", ALL_OPTIONS)
def test_every_number_has_limits_that_the_engine_can_hold(options: type[Any]):
    numbers = [each for each in fields(options) if value_type(options, each) in (int, float)]
    assert all(each.metadata["min"] >= -100 and each.metadata["max"] <= 2**32 - 2 for each in numbers)


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


def test_a_wrong_value_is_told_with_the_place_it_comes_from(home: Path, monkeypatch: pytest.MonkeyPatch):
    write_config(home, 'temp = "hot"\n')
    with pytest.raises(UsageError, match="^config.toml: temp can't be 'hot'; it takes a number$"):
        layered(SamplingOptions, *configured(SamplingOptions))
    write_config(home, "")
    monkeypatch.setenv("LLMASOS_TOP_K", "-7")
    with pytest.raises(UsageError, match="^LLMASOS_TOP_K is at least 0, not -7$"):
        layered(SamplingOptions, *configured(SamplingOptions))


def test_keys_of_a_config_that_nothing_reads_are_named_with_near_ones():
    config = {"temprature": 1, "Top-K": 1, "qwertz": {}, "temp": 1, "num_ctx": 1, "offline": True, "stop": []}
    assert unknown_keys(config, *ALL_OPTIONS) == [
        "config.toml: `temprature` is no setting; did you mean `temperature`?",
        "config.toml: `Top-K` is no setting; did you mean `top_k` or `top_p`?",
        "config.toml: `qwertz` is no setting",
    ]


@pytest.mark.parametrize("content", [b"temperature = ", b"\xff\xfe", b"[a]\n[a]\n", b"x = " + b"9" * 5000])
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
        ("LLMASOS_MMAP", "nope", "LLMASOS_MMAP can't be `nope`; it takes true or false"),
        ("LLMASOS_THREADS", "many", "LLMASOS_THREADS can't be `many`; it takes a whole number"),
        ("LLMASOS_THREADS", "1.5", "LLMASOS_THREADS can't be `1.5`; it takes a whole number"),
    ],
)
def test_a_wrong_word_in_the_environment_is_refused(
    monkeypatch: pytest.MonkeyPatch, name: str, text: str, complaint: str
):
    monkeypatch.setenv(name, text)
    with pytest.raises(UsageError) as refusal:
        read_environment(LoadOptions)
    assert refusal.value.message == complaint


# A model's own parameters.


def own(text: str) -> tuple[dict[str, Any], list[str]]:
    return own_parameters(text, *ALL_OPTIONS)


def test_a_models_own_parameters_come_by_our_names():
    text = '{"temperature": 1, "num_ctx": 4096, "stop": ["<|end|>"], "repeat_last_n": -1, "numa": true, "seed": null}'
    values = {"temperature": 1.0, "context_length": 4096, "stop": ("<|end|>",), "repeat_last_n": -1}
    assert own(text) == (values, [])


@pytest.mark.parametrize("name", ["num_predict", "num_gpu", "num_thread", "num_ctx", "seed", "max_tokens"])
def test_what_means_no_limit_or_no_choice_to_ollama_is_left_unset(name: str):
    assert own(json.dumps({name: -1})) == ({}, [])


@pytest.mark.parametrize("text", ['{"num_predict": -2}', '{"num_predict": 0}', '{"num_thread": 0}', '{"num_ctx": 0}'])
def test_so_are_the_other_numbers_that_mean_it(text: str):
    assert own(text) == ({}, [])


def test_all_tokens_are_all_tokens():
    assert own('{"top_k": -1}') == ({"top_k": 0}, [])


@pytest.mark.parametrize(
    ("text", "note"),
    [
        ('{"num_predict": -5}', "the model's own num_predict is at least 0, not -5; it is left out"),
        ('{"temperature": "0.7"}', "the model's own temperature can't be '0.7'; it takes a number; it is left out"),
        ('{"top_k": [1]}', "the model's own top_k can't be [1]; it takes a whole number; it is left out"),
        ('{"top_p": Infinity}', "the model's own top_p is infinite; it is left out"),
    ],
)
def test_what_an_option_can_not_take_is_left_out_and_told(text: str, note: str):
    assert own(text) == ({}, [note])
    assert own(text[:-1] + ', "min_p": 0.5}') == ({"min_p": 0.5}, [note])


@pytest.mark.parametrize("text", ["", "{", "[1]", "null", "[" * 100_000, "9" * 5000])
def test_parameters_that_can_not_be_read_are_told(text: str):
    values, [note] = own(text)
    assert values == {}
    assert note.startswith("the model's own parameters can't be read: ")


@unhurried
@given(st.dictionaries(st.sampled_from([*FOREIGN_NAMES, "top_k", "seed", "stop", "mmap"]), json_values))
def test_nothing_that_a_model_brings_is_a_wrong_call(parameters: dict[str, Any]):
    values, _ = own(json.dumps(parameters))
    for options in ALL_OPTIONS:
        layered(options, values)


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
        ({}, "offline = 1", True),
        ({}, 'offline = "yes"', True),
        ({}, 'offline = "false"', False),
        ({}, 'offline = ""', False),
        *[({"LLMASOS_OFFLINE": word}, "", True) for word in ("y", "t", "enable", "on", "true", "Yes", "2")],
        *[({"LLMASOS_OFFLINE": word}, "offline = true", False) for word in ("0", "false", "No", "off", " ")],
    ],
)
def test_the_network_is_off_limits_if_anything_says_so(
    home: Path, monkeypatch: pytest.MonkeyPatch, environment: dict[str, str], config: str, offline: bool
):
    write_config(home, config)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    assert is_offline() is offline
