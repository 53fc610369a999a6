"""How a model's makers sample from it: `generation_config.json`, as the keys that llama.cpp takes its defaults from."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from llmasos.conversion.config import LARGEST_NUMBER, read_json_object
from llmasos.errors import BadInputError
from llmasos.quantization.header import Typed

FILE = "generation_config.json"

# key of the GGUF -> its names in generation_config.json, and its kind; the order is llama.cpp's
SAMPLING: dict[str, tuple[tuple[str, ...], str]] = {
    "sequence": (("sequence",), "STRING"),
    "top_k": (("top_k",), "INT32"),
    "top_p": (("top_p",), "FLOAT32"),
    "min_p": (("min_p",), "FLOAT32"),
    "xtc_probability": (("xtc_probability",), "FLOAT32"),
    "xtc_threshold": (("xtc_threshold",), "FLOAT32"),
    "temp": (("temperature",), "FLOAT32"),
    "penalty_last_n": (("penalty_last_n",), "INT32"),
    "penalty_repeat": (("penalty_repeat", "repetition_penalty"), "FLOAT32"),
    "mirostat": (("mirostat",), "INT32"),
    "mirostat_tau": (("mirostat_tau",), "FLOAT32"),
    "mirostat_eta": (("mirostat_eta",), "FLOAT32"),
}
INT32_RANGE = range(-(2**31), 2**31)


def sampling_metadata(folder: Path) -> dict[str, Any]:
    """The keys `general.sampling.*` for what the file states; none if there is no file, or no JSON in it.

    A value of the wrong type counts for nothing: a model runs without.
    """
    stated = _read(folder / FILE)
    metadata = {}
    for key, (names, kind) in SAMPLING.items():
        value = next((stated[name] for name in names if name in stated), None)
        if (typed := _as_kind(value, kind)) is not None:
            metadata[f"general.sampling.{key}"] = typed
    return metadata


def _read(path: Path) -> dict[str, Any]:
    """Not every repository has a sound one, and a model runs without."""
    if not path.is_file():
        return {}
    try:
        return read_json_object(path)
    except BadInputError:
        return {}


def _as_kind(value: Any, kind: str) -> str | Typed | None:
    """The value as the kind says; None for one that can't be so."""
    if kind == "STRING":
        return value if isinstance(value, str) else None
    if type(value) not in (int, float) or not abs(value) <= LARGEST_NUMBER:  # NaN is not
        return None
    if kind == "FLOAT32":
        return Typed(float(value), kind)
    return Typed(int(value), kind) if value == int(value) and int(value) in INT32_RANGE else None
