"""Settings in layers: defaults < the model's own < config.toml < `LLMASOS_*` environment < flags or request.

An options dataclass is the one home of its defaults, limits and help: `option` declares a field, `layered` fills an
instance from mappings, lowest layer first. Other programs' names are translated by `canonical_name` where they come in.
"""

from __future__ import annotations

import difflib
import functools
import json
import math
import os
import sys
import types
import typing
from collections.abc import Callable, Iterable, Mapping
from dataclasses import MISSING, Field, field, fields, replace
from pathlib import Path
from typing import Any, TypeVar

from llmasos.errors import BadInputError, UsageError
from llmasos.paths import find_home

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

Options = TypeVar("Options")
TYPE_WORDS = {bool: "true or false", int: "a whole number", float: "a number", str: "a text"}

YES, NO = ("1", "true", "yes", "on"), ("0", "false", "no", "off")
OTHER_KEYS = ("offline",)  # of config.toml, beside the options

FOREIGN_NAMES = {
    "max_new_tokens": "max_tokens",
    "num_predict": "max_tokens",
    "n_predict": "max_tokens",
    "max_completion_tokens": "max_tokens",
    "max_time": "max_seconds",
    "stop_strings": "stop",
    "num_ctx": "context_length",
    "n_ctx": "context_length",
    "num_gpu": "gpu_layers",
    "n_gpu_layers": "gpu_layers",
    "num_thread": "threads",
    "n_threads": "threads",
    "repetition_penalty": "repeat_penalty",
    "temp": "temperature",
    "typical": "typical_p",
    "cache_type_k": "kv_type",
    "num_batch": "batch_size",
}

# Numbers that say something else in Ollama and llama.cpp than in ours; None: as if nothing were said.
FOREIGN_NUMBERS: Mapping[str, Mapping[float, int | None]] = {
    "max_tokens": {0: None, -1: None, -2: None},
    "context_length": {0: None, -1: None},
    "gpu_layers": {-1: None, -2: None},
    "threads": {0: None, -1: None},
    "seed": {-1: None},
    "top_k": {-1: 0},
}


class Layer(dict[str, Any]):
    """The values of one place, and how that place spells their names: `LLMASOS_TOP_K`, `config.toml: top_k`."""

    def __init__(self, values: Mapping[str, Any], spell: Callable[[str], str]) -> None:
        super().__init__(values)
        self.spell = spell


def canonical_name(name: str) -> str:
    """Our name for an option that Ollama, llama.cpp or transformers calls otherwise."""
    return FOREIGN_NAMES.get(name, name)


def option(
    default: Any,
    help: str,
    *,
    minimum: float | None = None,
    maximum: float | None = None,
    choices: tuple[str, ...] | None = None,
    flag: str | None = None,
    panel: str | None = None,
    metavar: str | None = None,
) -> Any:
    """A dataclass field with all that flags, environment and documentation need to know of it."""
    limits = {"min": minimum, "max": maximum, "choices": choices}
    metadata = {"help": help, **limits, "flag": flag, "panel": panel, "metavar": metavar}
    return field(default=default, metadata=metadata)


def layered(options: type[Options], *layers: Mapping[str, Any]) -> Options:
    """An instance from the given layers, later ones winning; None means unset. Unknown keys are ignored.

    Raises UsageError, in the words of the layer, for a value of another type, or outside its limits.
    """
    return options(**given_values(options, layers))


def overlaid(options: Options, given: Mapping[str, Any]) -> Options:
    """The same options, but for those that are given. Errors are those of `layered`."""
    return replace(options, **given_values(type(options), [given]))  # type: ignore[type-var]  # any dataclass


def given_values(options: type[Any], layers: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
    """What `layered` makes an instance of: the values that the layers give, later ones winning."""
    known = {each.name: each for each in fields(options)}
    values: dict[str, Any] = {}
    for layer in layers:
        spell = layer.spell if isinstance(layer, Layer) else canonical_name
        for name, value in layer.items():
            if (ours := canonical_name(name)) in known and value is not None:
                values[ours] = accepted(options, known[ours], value, spell(name))
    return values


def own_parameters(text: str, *options: type[Any]) -> tuple[dict[str, Any], list[str]]:
    """The parameters that a model brings, by our names, and a line for each that is left out.

    `text` is JSON as Ollama stores it. Nobody vouches for it, so nothing in it stops a run: what our options can't
    take is left out, and what they don't know is passed over.
    """
    try:
        stored = json.loads(text)
    except (ValueError, RecursionError) as error:
        return {}, [f"the model's own parameters can't be read: {error}"]
    if not isinstance(stored, dict):
        return {}, ["the model's own parameters can't be read: they are no JSON object"]
    known = {each.name: (kind, each) for kind in options for each in fields(kind)}
    values: dict[str, Any] = {}
    notes = []
    for name, found in stored.items():
        ours = canonical_name(name)
        value = without_foreign_meaning(ours, found)
        if ours in known and value is not None:
            try:
                values[ours] = accepted(*known[ours], value, f"the model's own {name}")
            except UsageError as error:
                notes.append(f"{error.message}; it is left out")
    return values, notes


def without_foreign_meaning(ours: str, value: Any) -> Any:
    """The value of an option, by our name for it, that another program gave: None if it says nothing there."""
    return FOREIGN_NUMBERS.get(ours, {}).get(value, value) if type(value) in (int, float) else value


def configured(options: type[Any]) -> list[Layer]:
    """The layers between a model's own settings and the flags: config.toml and the environment."""
    return [read_config(), read_environment(options)]


def read_config() -> Layer:
    """The keys of config.toml; empty if there is none."""
    path = find_home().config
    return Layer(read_toml(path) if path.exists() else {}, lambda name: f"{path.name}: {name}")


def unknown_keys(config: Mapping[str, Any], *options: type[Any]) -> list[str]:
    """A line for each key of config.toml that nothing reads, with the settings that are spelled nearly so."""
    known = [*(each.name for kind in options for each in fields(kind)), *OTHER_KEYS]
    unknown = [key for key in config if canonical_name(key) not in known]
    return [f"config.toml: `{key}` is no setting{_did_you_mean(key, known)}" for key in unknown]


def _did_you_mean(key: str, known: list[str]) -> str:
    near = difflib.get_close_matches(key.lower().replace("-", "_"), known, n=2, cutoff=0.7)
    return f"; did you mean {' or '.join(f'`{name}`' for name in near)}?" if near else ""


def read_toml(path: Path) -> dict[str, Any]:
    try:
        values: dict[str, Any] = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:  # a plain ValueError: a number of thousands of digits
        raise BadInputError(f"can't read {path}: {error}") from error
    return values


def read_environment(options: type[Any]) -> Layer:
    """Values of `LLMASOS_TEMPERATURE` and its like, parsed by the type of the field."""
    found = {}
    for each in fields(options):
        if text := os.environ.get(_variable(each.name)):
            found[each.name] = parse_value(options, each, text, _variable(each.name))
    return Layer(found, _variable)


def _variable(name: str) -> str:
    return f"LLMASOS_{name.upper()}"


def is_offline() -> bool:
    """True if the environment or config.toml forbids the network. In doubt it is forbidden: only a plain no allows."""
    for name in ("LLMASOS_OFFLINE", "HF_HUB_OFFLINE"):
        if text := os.environ.get(name):
            return not _says_no(text)
    value = read_config().get("offline", False)
    return not _says_no(value) if isinstance(value, str) else bool(value)


def _says_no(text: str) -> bool:
    return text.strip().lower() in ("", *NO)


def value_type(options: type[Any], each: Field[Any]) -> Any:
    """The type of a field without its `| None`."""
    hint = _type_hints(options)[each.name]  # type: ignore[arg-type]  # a class can be hashed
    if isinstance(hint, types.UnionType):
        return next(part for part in typing.get_args(hint) if part is not type(None))
    return hint


@functools.cache
def _type_hints(options: Any) -> dict[str, Any]:
    """They stand as texts, and all of a class are read each time."""
    return typing.get_type_hints(options)


def parse_value(options: type[Any], each: Field[Any], text: str, called: str) -> Any:
    """A text, such as that of an environment variable, as a value of the field's type. Raises UsageError."""
    kind = value_type(options, each)
    try:
        if kind is bool:
            return (*NO, *YES).index(text.lower()) >= len(NO)
        if typing.get_origin(kind) is tuple:
            return tuple(text.split(","))
        return kind(text)
    except ValueError as error:
        raise UsageError(f"{called} can't be `{text}`; it takes {TYPE_WORDS[kind]}") from error


def accepted(options: type[Any], each: Field[Any], value: Any, called: str) -> Any:
    """The value as the field takes it. Raises UsageError, with the name it is `called` by, if the field can't."""
    return checked(each, typed(options, each, value, called), called)


def typed(options: type[Any], each: Field[Any], value: Any, called: str) -> Any:
    """The value of a config key, a request's field or a flag as the field's type, if it is one without guessing."""
    kind = value_type(options, each)
    found: Any = None
    if typing.get_origin(kind) is tuple:
        found = _as_texts(value)
    elif type(value) is kind:  # not isinstance: True is no number here
        found = value
    elif kind is float and type(value) is int and abs(value) < 2**63:
        found = float(value)
    elif kind is int and type(value) is float and value.is_integer():
        found = int(value)
    if found is None:
        raise UsageError(f"{called} can't be {value!r}; it takes {TYPE_WORDS.get(kind, 'a list of texts')}")
    return found


def checked(each: Field[Any], value: Any, called: str) -> Any:
    """The value, if it keeps to the limits of its field."""
    low, high, choices = (each.metadata.get(key) for key in ("min", "max", "choices"))
    if choices and value not in choices:
        raise UsageError(f"{called} is one of {', '.join(choices)}, not `{value}`")
    if isinstance(value, float) and not math.isfinite(value):
        raise UsageError(f"{called} is {'not a number' if math.isnan(value) else 'infinite'}")
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        if low is not None and value < low:
            raise UsageError(f"{called} is at least {low}, not {value}")
        if high is not None and value > high:
            raise UsageError(f"{called} is at most {high}, not {value}")
    return value


def _as_texts(value: Any) -> tuple[str, ...] | None:
    """A text by itself is a list of one."""
    texts = (value,) if isinstance(value, str) else value
    if isinstance(texts, (list, tuple)) and all(isinstance(each, str) for each in texts):
        return tuple(texts)
    return None


def default_of(each: Field[Any]) -> Any:
    return None if each.default is MISSING else each.default
