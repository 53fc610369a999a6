"""Which of a repository's files make a checkpoint that can be converted: weights once, tokenizer and configuration."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import PurePosixPath

from llmasos.errors import BadInputError
from llmasos.formats.checkpoint_names import LAYOUTS, NOT_WEIGHTS

COMPANION = re.compile(
    r"config\.json|generation_config\.json|tokenizer.*|vocab\.(json|txt)|merges\.txt|.*\.model|.*\.tiktoken"
    r"|chat_template\.(jinja|json)|special_tokens_map\.json|added_tokens\.json"
    r"|modules\.json|config_sentence_transformers\.json|sentence_bert_config\.json|\d+_\w*Pooling/config\.json"
)


def choose_checkpoint_files(names: Iterable[str], where: str) -> list[str]:
    """The files that a conversion needs, by name. Safetensors are taken before PyTorch's own format.

    Raises BadInputError if there is no checkpoint, saying what is there instead, or if a part of it is missing.
    """
    present = sorted(names)
    weights = find_weights(present, where)
    if not weights or "config.json" not in present:
        hint = "name the model that it was made from" if "adapter_config.json" in present else None
        raise BadInputError(
            f"{where} has neither GGUF files nor a checkpoint in safetensors with its config.json;"
            f" {describe_files(present)}",
            hint=hint or "another repository may have the model in one of them",
        )
    return sorted([*(name for name in present if COMPANION.fullmatch(name)), *weights])


def find_weights(names: Sequence[str], where: str) -> list[str]:
    """The files with the weights, and the index of split ones."""
    at_top = [name for name in names if "/" not in name and not NOT_WEIGHTS.fullmatch(name)]
    for suffix, pattern in LAYOUTS:
        matches = [match for name in at_top if (match := pattern.fullmatch(name))]
        whole = [match.string for match in matches if match["index"] is None]
        if whole:
            return whole
        if matches:
            _require_all_parts(matches, where)
            indices = [name for name in at_top if name.endswith(f"{suffix}.index.json")]
            return [match.string for match in matches] + indices
        if suffix == ".safetensors" and (others := [name for name in at_top if name.endswith(suffix)]):
            return others + [name for name in at_top if name.endswith(f"{suffix}.index.json")]
    return []


def describe_files(names: Sequence[str]) -> str:
    """`3 .onnx, 2 .json`: what a repository holds, in short."""
    counts = Counter(PurePosixPath(name).suffix.lower() or PurePosixPath(name).name for name in names)
    kinds = [f"{count} {kind}" for kind, count in counts.most_common(6)]
    return f"it holds {', '.join(kinds)}" if kinds else "it holds no files"


def _require_all_parts(matches: Sequence[re.Match[str]], where: str) -> None:
    found = sorted(int(match["index"]) for match in matches)
    count = int(matches[0]["count"])
    if found != list(range(1, count + 1)):
        raise BadInputError(f"the checkpoint of {where} is not complete: parts {found} of {count}")
