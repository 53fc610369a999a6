"""Stored models as Ollama's interface tells of them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from llmasos.create import recipe_of
from llmasos.formats.gguf import GgufHeader, SkippedArray, read_header
from llmasos.formats.purpose import Purpose
from llmasos.modelfile import Recipe, modelfile_text
from llmasos.ollama.asked import timestamp
from llmasos.store.manifests import Manifest
from llmasos.store.store import ModelStore
from llmasos.units import format_count

MIDDLE_KEYS = ("tokenizer.ggml.fim_mid_token_id", "tokenizer.ggml.middle_token_id")
MIDDLES = frozenset((  # by these names llama.cpp knows the token behind which a model fills in
    "<|fim_middle|>", "<fim-middle>", "<fim_middle>", "<｜fim▁end｜>", "<MID>", "▁<MID>", "<|code_middle|>",
    "<|middle|>",
))  # fmt: skip
TOKENS = "tokenizer.ggml.tokens"
THINKING_MARKS = ("<think>", "enable_thinking", "reasoning_content")


def described(manifest: Manifest) -> dict[str, Any]:
    """An entry of `/api/tags`."""
    return {
        "name": manifest.name.with_tag,
        "model": manifest.name.with_tag,
        "modified_at": timestamp(manifest.created_at),
        "size": manifest.size,
        "digest": digest_of(manifest),
        "details": details_of(manifest),
    }


def digest_of(manifest: Manifest) -> str:
    return manifest.digest.removeprefix("sha256:")


def details_of(manifest: Manifest) -> dict[str, Any]:
    facts = manifest.facts
    return {
        "parent_model": "",
        "format": "gguf",
        "family": facts.architecture,
        "families": [facts.architecture],
        "parameter_size": format_count(facts.parameters) if facts.parameters else "unknown",
        "quantization_level": facts.quantization,
        "context_length": facts.context_length,
    }


def shown(manifest: Manifest, store: ModelStore, *, is_verbose: bool) -> dict[str, Any]:
    """What `/api/show` answers. Lists of the tokenizer, which are long, are null unless `is_verbose`."""
    recipe, header = recipe_of(manifest, store), _header(store.paths(manifest)[0], is_verbose=is_verbose)
    template = recipe.template or str(header.metadata.get("tokenizer.chat_template", ""))
    answer = {
        "license": "\n".join(recipe.licenses) or manifest.license or "",
        "modelfile": modelfile_text(recipe),
        "parameters": _lines(recipe),
        "template": template,
        "system": recipe.system or "",
        "details": details_of(manifest),
        "messages": [{"role": role, "content": text} for role, text in recipe.messages],
        "model_info": _info(header),
        "capabilities": capabilities(manifest, template, can_fill=_can_fill(store.paths(manifest)[0])),
        "modified_at": timestamp(manifest.created_at),
    }
    if is_verbose:
        answer["tensors"] = [
            {"name": tensor.name, "type": tensor.type_name, "shape": list(tensor.shape)} for tensor in header.tensors
        ]
    return {name: value for name, value in answer.items() if value or name in ("details", "model_info", "capabilities")}


def capabilities(manifest: Manifest, template: str, *, can_fill: bool) -> list[str]:
    """What a model can do, as far as its header and its template tell."""
    if manifest.facts.purpose == Purpose.EMBEDDING.value:
        return ["embedding"]
    found = ["completion"]
    if "tools" in template:
        found.append("tools")
    if can_fill:
        found.append("insert")
    if any(mark in template for mark in THINKING_MARKS):
        found.append("thinking")
    return found


def _can_fill(path: Path) -> bool:
    metadata = read_header(path, whole=[TOKENS]).metadata
    return any(key in metadata for key in MIDDLE_KEYS) or not MIDDLES.isdisjoint(map(str, metadata.get(TOKENS, ())))


def _header(path: Path, *, is_verbose: bool) -> GgufHeader:
    header = read_header(path)
    if not is_verbose:
        return header
    return read_header(path, whole=[name for name, value in header.metadata.items() if isinstance(value, SkippedArray)])


def _info(header: GgufHeader) -> Mapping[str, Any]:
    """The header's metadata, as far as JSON can hold it; arrays that were not kept are null."""
    info: dict[str, Any] = {}
    for name, value in sorted(header.metadata.items()):
        if name != "tokenizer.chat_template":
            info[name] = None if isinstance(value, SkippedArray) else value
    info["general.parameter_count"] = header.parameter_count
    sound: dict[str, Any] = json.loads(json.dumps(info, default=str))
    return sound


def _lines(recipe: Recipe) -> str:
    """Parameters as `ollama show` writes them: a name, blanks and a value on each line."""
    rows = [
        (name, each)
        for name, value in recipe.parameters.items()
        for each in (value if isinstance(value, list) else [value])
    ]
    return "\n".join(f"{name:<30} {json.dumps(value)}" for name, value in rows)
