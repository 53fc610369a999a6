"""Settings in layers: defaults < the model's own < config.toml < `LLMASOS_*` environment < flags or request.

An options dataclass is the one home of its defaults, limits and help: `option` declares a field, `layered` fills an
instance from mappings, lowest layer first. Other programs' names are translated by `canonical_name` where they come in.
"""

from __future__ import annotations

import os
import sys
import types
import typing
from collections.abc import Mapping
from dataclasses import MISSING, Field, field, fields
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

FOREIGN_NAMES = {
    "max_new_tokens": "max_tokens",
    "num_predict": "max_tokens",
    "n_predict": "max_tokens",
    "max_completion_tokens": "max_tokens",
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
}


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
) -> Any:
    """A dataclass field with all that flags, environment and documentation need to know of it."""
    metadata = {"help": help, "min": minimum, "max": maximum, "choices": choices, "flag": flag, "panel": panel}
    return field(default=default, metadata=metadata)


def layered(options: type[Options], *layers: Mapping[str, Any]) -> Options:
    """An instance from the given layers, later ones winning; None means unset. Unknown keys are ignored.

    Raises UsageError for a value of another type, or outside its limits.
    """
    known = {each.name: each for each in fields(options)}  # type: ignore[arg-type]  # any dataclass
    values: dict[str, Any] = {}
    for layer in layers:
        for name, value in layer.items():
            if (ours := canonical_name(name)) in known and value is not None:
                values[ours] = checked(known[ours], typed(options, known[ours], value))
    return options(**values)


def configured(options: type[Any]) -> list[dict[str, Any]]:
    """The layers between a model's own settings and the flags: config.toml and the environment."""
    return [read_config(), read_environment(options)]


def read_config() -> dict[str, Any]:
    """The keys of config.toml; empty if there is none."""
    return read_toml(path) if (path := find_home().config).exists() else {}


def read_toml(path: Path) -> dict[str, Any]:
    try:
        values: dict[str, Any] = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise BadInputError(f"can't read {path}: {error}") from error
    return values


def read_environment(options: type[Any]) -> dict[str, Any]:
    """Values of `LLMASOS_TEMPERATURE` and its like, parsed by the type of the field."""
    found = {}
    for each in fields(options):
        if text := os.environ.get(f"LLMASOS_{each.name.upper()}"):
            found[each.name] = parse_value(options, each, text)
    return found


def is_offline() -> bool:
    """True if the environment or config.toml forbids the network."""
    for name in ("LLMASOS_OFFLINE", "HF_HUB_OFFLINE"):
        if text := os.environ.get(name):
            return text.lower() in YES
    return bool(read_config().get("offline", False))


def value_type(options: type[Any], each: Field[Any]) -> Any:
    """The type of a field without its `| None`."""
    hint = typing.get_type_hints(options)[each.name]
    if isinstance(hint, types.UnionType):
        return next(part for part in typing.get_args(hint) if part is not type(None))
    return hint


def parse_value(options: type[Any], each: Field[Any], text: str) -> Any:
    """The text of an environment variable as a value of the field's type."""
    kind = value_type(options, each)
    try:
        if kind is bool:
            return (*NO, *YES).index(text.lower()) >= len(NO)
        if typing.get_origin(kind) is tuple:
            return tuple(text.split(","))
        return kind(text)
    except ValueError as error:
        raise UsageError(f"`{text}` is no value for {each.name}; it takes {TYPE_WORDS[kind]}") from error


def typed(options: type[Any], each: Field[Any], value: Any) -> Any:
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
        raise UsageError(f"{each.name} can't be {value!r}; it takes {TYPE_WORDS.get(kind, 'a list of texts')}")
    return found


def checked(each: Field[Any], value: Any) -> Any:
    """The value, if it keeps to the limits of its field."""
    low, high, choices = (each.metadata.get(key) for key in ("min", "max", "choices"))
    if choices and value not in choices:
        raise UsageError(f"{each.name} is one of {', '.join(choices)}, not `{value}`")
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        if value != value:
            raise UsageError(f"{each.name} is not a number")
        if low is not None and value < low:
            raise UsageError(f"{each.name} is at least {low}, not {value}")
        if high is not None and value > high:
            raise UsageError(f"{each.name} is at most {high}, not {value}")
    return value


def _as_texts(value: Any) -> tuple[str, ...] | None:
    """A text by itself is a list of one."""
    texts = (value,) if isinstance(value, str) else value
    if isinstance(texts, (list, tuple)) and all(isinstance(each, str) for each in texts):
        return tuple(texts)
    return None


def default_of(each: Field[Any]) -> Any:
    return None if each.default is MISSING else each.default
