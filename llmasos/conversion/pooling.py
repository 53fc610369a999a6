"""How a sentence's embedding is made from those of its tokens, as sentence-transformers' `modules.json` has it."""

from __future__ import annotations

from pathlib import Path, PurePosixPath
from typing import Any

from llmasos.conversion.architecture import Metadata
from llmasos.conversion.config import read_json, read_json_object
from llmasos.errors import BadInputError
from llmasos.formats.purpose import Pooling

FLAGS = {  # each is true or false; the first that is true counts
    "pooling_mode_mean_tokens": Pooling.MEAN,
    "pooling_mode_cls_token": Pooling.CLS,
    "pooling_mode_lasttoken": Pooling.LAST,
}
MODES = {"mean": Pooling.MEAN, "cls": Pooling.CLS, "lasttoken": Pooling.LAST}  # of `pooling_mode`


def pooling_metadata(folder: Path) -> Metadata:
    """The key `pooling_type`, if the checkpoint has a pooling. Raises BadInputError for one that llama.cpp lacks."""
    place = _pooling_place(folder / "modules.json")
    if place is None:
        return {}
    stated = read_json_object(folder / place / "config.json")
    flagged = (pooling for name, pooling in FLAGS.items() if stated.get(name))
    pooling = next(flagged, None) or MODES.get(str(stated.get("pooling_mode")))
    if pooling is None:
        raise BadInputError(f"{folder / place / 'config.json'} asks for a pooling other than mean, cls and lasttoken")
    return {"pooling_type": int(pooling)}


def _pooling_place(path: Path) -> PurePosixPath | None:
    """Where the pooling's configuration lies, from the checkpoint's folder on."""
    for module in _modules(path):
        if str(module.get("type")).endswith("Pooling"):
            place = PurePosixPath(str(module.get("path", "")))
            if place.is_absolute() or ".." in place.parts:
                raise BadInputError(f"{path} names a folder outside the checkpoint: {place}")
            return place
    return None


def _modules(path: Path) -> list[dict[str, Any]]:
    modules = read_json(path) if path.is_file() else []
    if not isinstance(modules, list) or not all(isinstance(module, dict) for module in modules):
        raise BadInputError(f"{path} holds no list of modules")
    return modules
