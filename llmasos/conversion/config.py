"""A checkpoint's `config.json`: one dictionary, whatever the age and the nesting of the file.

Multimodal checkpoints keep the language model's numbers under `text_config`; the rotary embedding's numbers stand in
three places, by the version of the library that wrote the file. Here they stand in one.
"""

from __future__ import annotations

import json
import math
import reprlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeGuard

from llmasos.errors import BadInputError

NESTED = ("text_config", "llm_config", "lm_config", "language_config")

# One name -> the names that it has had at the root of `config.json`.
ROPE_NAMES: Mapping[str, tuple[str, ...]] = {
    "rope_theta": ("rope_theta", "rotary_emb_base", "rope_global_theta", "global_rope_theta"),
    "partial_rotary_factor": ("partial_rotary_factor", "rope_pct", "rotary_pct", "rope_percent"),
    "original_max_position_embeddings": ("original_max_position_embeddings",),
}
STRETCHED_ROPES = ("llama3", "yarn", "longrope")  # kinds that need the length which the model learned first
ROPE_NUMBERS = (
    *("rope_theta", "factor", "original_max_position_embeddings", "partial_rotary_factor"),
    *("low_freq_factor", "high_freq_factor", "attention_factor", "attn_factor", "beta_fast", "beta_slow"),
    "extrapolation_factor",
)
LARGEST_INTEGER = 2**31 - 1  # llama.cpp holds counts in 32 bits
LARGEST_NUMBER = 3.4028235e38  # and other numbers in float32
LAYER_KINDS = ("full_attention", "sliding_attention")
LOCAL_THETA_NAMES = ("rope_local_base_freq", "local_rope_theta", "rope_local_theta", "swa_rope_theta")


class Config:
    """What `config.json` says, over the defaults that its architecture gives to what it leaves out."""

    def __init__(
        self, values: Mapping[str, Any], defaults: Mapping[str, Any] | None = None, *, folder: Path | None = None
    ) -> None:
        nested: Mapping[str, Any] = next((values[name] for name in NESTED if isinstance(values.get(name), dict)), {})
        self.stated = {**values, **{name: value for name, value in nested.items() if value is not None}}
        if values.get("architectures"):  # the whole's class tells what its tensors are called
            self.stated["architectures"] = values["architectures"]
        self.folder = folder
        self._values = {**(defaults or {}), **self.stated}

    def with_defaults(self, defaults: Mapping[str, Any]) -> Config:
        return Config(self.stated, defaults, folder=self.folder)

    def beside(self, name: str) -> Any:
        """What a JSON file next to config.json holds; None if there is none. Raises BadInputError naming the file."""
        path = None if self.folder is None else self.folder / name
        return read_json(path) if path is not None and path.is_file() else None

    @property
    def classes(self) -> tuple[str, ...]:
        """The names of the model's class, as `architectures` lists them."""
        listed = self.stated.get("architectures")
        return tuple(str(name) for name in listed) if isinstance(listed, list) else ()

    def get(self, *names: str, default: Any = None) -> Any:
        """The value under the first of the names that has one (null counts as none)."""
        return next((value for name in names if (value := self._values.get(name)) is not None), default)

    def require(self, *names: str) -> Any:
        """As `get`. Raises BadInputError if there is none."""
        value = self.get(*names)
        if value is None:
            raise BadInputError(f"config.json says nothing of `{names[0]}`, which this architecture needs")
        return value

    def integer(self, *names: str) -> int:
        """A whole number that counts something: at least 1. Raises BadInputError for anything else."""
        value = self.require(*names)
        if not isinstance(value, int) or isinstance(value, bool) or value < 1:
            raise BadInputError(f"config.json has `{names[0]}` = {shown(value)}, which is no positive whole number")
        if value > LARGEST_INTEGER:
            raise BadInputError(f"config.json has `{names[0]}` = {shown(value)}, which is too large for llama.cpp")
        return value

    def number(self, *names: str) -> float:
        """Raises BadInputError if there is none, or no number."""
        value = self.require(*names)
        if not _is_number(value):
            raise BadInputError(f"config.json has `{names[0]}` = {shown(value)}, which is no number")
        return float(value)

    def flag(self, *names: str, default: bool = False) -> bool:
        return bool(self.get(*names, default=default))

    @property
    def head_dim(self) -> int:
        """The width of an attention head: stated, or the model's width shared among the heads."""
        if self.get("head_dim") is not None:
            return self.integer("head_dim")
        return self.integer("hidden_size", "n_embd") // self.integer("num_attention_heads", "n_head")

    @property
    def rope(self) -> dict[str, Any]:
        """The rotary embedding of the layers that attend to everything: `rope_theta`, `rope_type`, `factor`, …"""
        stated = self._stated_rope()
        rope = dict(stated.get("full_attention") or stated)
        for name, synonyms in ROPE_NAMES.items():
            if rope.get(name) is None and (value := self.get(*synonyms)) is not None:
                rope[name] = value
        if "rope_type" not in rope and "type" in rope:
            rope["rope_type"] = rope["type"]
        if rope.get("rope_type") in STRETCHED_ROPES and (length := self.get("max_position_embeddings")) is not None:
            rope.setdefault("original_max_position_embeddings", length)
        return _with_numbers(rope)

    def rope_number(self, name: str) -> float:
        """A number of that rotary embedding. Raises BadInputError if there is none, or no number."""
        value = self.rope.get(name)
        if not _is_number(value):
            raise BadInputError(
                f"config.json has `{name}` = {shown(value)} for the rotary embedding, which is no number"
            )
        return float(value)

    @property
    def local_rope(self) -> dict[str, Any]:
        """The rotary embedding of the layers with a sliding window; empty if they have none of their own."""
        local = dict(self._stated_rope().get("sliding_attention") or {})
        if local.get("rope_theta") is None and (theta := self.get(*LOCAL_THETA_NAMES)) is not None:
            local["rope_theta"] = theta
        return _with_numbers(local)

    def _stated_rope(self) -> dict[str, Any]:
        stated = self.get("rope_scaling") or self.get("rope_parameters") or {}
        if not isinstance(stated, dict) or not all(isinstance(stated.get(name) or {}, dict) for name in LAYER_KINDS):
            raise BadInputError("config.json has rotary parameters that are no object")
        return stated


def _with_numbers(rope: dict[str, Any]) -> dict[str, Any]:
    """The rotary embedding's parameters without those that are null. Raises BadInputError for a number that is none."""
    for name in ROPE_NUMBERS:
        value = rope.get(name)
        if value is not None and not _is_number(value):
            raise BadInputError(
                f"config.json has `{name}` = {shown(value)} for its rotary embedding, which is no number"
            )
    return {name: value for name, value in rope.items() if value is not None}


def shown(value: Any) -> str:
    """A stranger's value for a message: not a long one."""
    return reprlib.repr(value)


def _is_number(value: Any) -> TypeGuard[float]:
    """True for what float32 holds: JSON as Python reads it has NaN and infinities too."""
    is_numeric = isinstance(value, (int, float)) and not isinstance(value, bool)
    return is_numeric and not math.isnan(value) and abs(value) <= LARGEST_NUMBER


def read_json(path: Path) -> Any:
    """A JSON file. Raises BadInputError naming it if it can't be read or is no JSON."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise BadInputError(f"{path.parent} has no {path.name}") from error
    except OSError as error:
        raise BadInputError(f"{path} can't be read: {error.strerror}") from error
    except (ValueError, RecursionError) as error:
        raise BadInputError(f"{path} is no JSON: {error}") from error


def read_json_object(path: Path) -> dict[str, Any]:
    """A JSON file that holds an object. Raises BadInputError naming the file."""
    value = read_json(path)
    if not isinstance(value, dict):
        raise BadInputError(f"{path} holds no JSON object")
    return value


def read_config(folder: Path) -> Config:
    """The checkpoint's configuration. Raises BadInputError if there is none that can be read."""
    return Config(read_json_object(folder / "config.json"), folder=folder)
