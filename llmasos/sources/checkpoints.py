"""Which of a repository's files make a checkpoint that can be converted: weights once, tokenizer and configuration."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import PurePosixPath

from llmasos.errors import BadInputError
from llmasos.formats.checkpoint_names import WeightFiles, find_weights

COMPANION = re.compile(
    r"config\.json|generation_config\.json|tokenizer[^/]*|vocab\.(json|txt)|merges\.txt|[^/]*\.(model|tiktoken)"
    r"|chat_template\.(jinja|json)|additional_chat_templates/[^/]+\.jinja|special_tokens_map\.json|added_tokens\.json"
    r"|modules\.json|config_sentence_transformers\.json|sentence_bert_config\.json|\d+_\w*Pooling/config\.json"
)


def choose_checkpoint_files(names: Iterable[str], where: str) -> list[str]:
    """The files that a conversion needs, by name. Safetensors are taken before PyTorch's own format.

    Raises BadInputError if there is no checkpoint, saying what is there instead, or if a part of it is missing.
    """
    present = sorted(names)
    weights = find_weights(present)
    if not weights or "config.json" not in present:
        is_adapter = "adapter_config.json" in present
        hint = "an adapter is made by `llmasos convert --lora DIR --base MODEL`" if is_adapter else None
        raise BadInputError(
            f"{where} has neither GGUF files nor a checkpoint in safetensors with its config.json;"
            f" {describe_files(present)}",
            hint=hint or "another repository may have the model in one of them",
        )
    _require_all_parts(weights, where)
    index = [weights.index] if weights.index else []
    return sorted([*(name for name in present if COMPANION.fullmatch(name)), *weights.present, *index])


def describe_files(names: Sequence[str]) -> str:
    """`3 .onnx, 2 .json`: what a repository holds, in short."""
    counts = Counter(PurePosixPath(name).suffix.lower() or PurePosixPath(name).name for name in names)
    kinds = [f"{count} {kind}" for kind, count in counts.most_common(6)]
    return f"it holds {', '.join(kinds)}" if kinds else "it holds no files"


def _require_all_parts(weights: WeightFiles, where: str) -> None:
    if weights.missing:
        more = f" and {len(weights.missing) - 1} more" if len(weights.missing) > 1 else ""
        raise BadInputError(f"the checkpoint of {where} is not complete: it lacks {weights.missing[0]}{more}")
