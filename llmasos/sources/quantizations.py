"""Which of a repository's GGUF files are one model: the quantizations it offers, by name, and the choice among them."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import PurePosixPath

from llmasos.errors import BadInputError
from llmasos.sources.source import SHARD, sort_shards

# Good quality for the room first, then ever smaller or larger ones, and unquantized weights last.
PREFERENCE = (
    "Q4_K_M", "Q4_K_S", "Q4_K_XL", "Q4_K_L", "Q4_K", "IQ4_XS", "IQ4_NL", "Q4_0", "Q4_1", "MXFP4", "MXFP4_MOE",
    "Q5_K_M", "Q5_K_S", "Q5_K_XL", "Q5_K_L", "Q5_K", "Q5_0", "Q5_1", "Q6_K", "Q6_K_L", "Q6_K_XL", "Q8_0", "Q8_K_XL",
    "Q3_K_M", "Q3_K_L", "Q3_K_XL", "Q3_K_S", "Q3_K", "IQ3_M", "IQ3_S", "IQ3_XS", "IQ3_XXS",
    "Q2_K", "Q2_K_L", "Q2_K_XL", "Q2_K_S", "IQ2_M", "IQ2_S", "IQ2_XS", "IQ2_XXS", "IQ1_M", "IQ1_S", "TQ2_0", "TQ1_0",
    "BF16", "F16", "F32",
)  # fmt: skip

QUANTIZATION = r"(?:I?Q\d[A-Z0-9]*(?:_[A-Z0-9]+)*|TQ\d_\d|MXFP4(?:_MOE)?|NVFP4|BF16|FP?16|FP?32)"
LABEL = re.compile(rf"(?<![A-Z0-9])(?P<prefix>UD-|I1-)?(?P<quantization>{QUANTIZATION})(?![A-Z0-9])", re.IGNORECASE)
ADAPTER = re.compile(r"(?<![a-z0-9])(lora|adapter)s?(?![a-z0-9])")


def find_variants(names: Iterable[str]) -> dict[str, tuple[str, ...]]:
    """The GGUF models among a repository's files, by label; the files of a split one in order.

    Projectors, importance matrices and adapters are left out. A second model of the same quantization, and one whose
    name tells none, is labelled with its file name.
    """
    models: dict[tuple[str, str], list[str]] = {}
    for name in names:
        if is_model_file(name):
            models.setdefault(_stem_and_count(name), []).append(name)
    variants: dict[str, tuple[str, ...]] = {}
    for (stem, _), files in sorted(models.items(), key=lambda model: (len(model[0][0]), model[0])):
        label = read_label(files[0]) or ""
        if not label or label in variants:
            label = _free_label(stem, variants)
        variants[label] = tuple(sorted(files))
    return variants


def pick_variant(variants: Mapping[str, Sequence[str]], wanted: str | None, where: str) -> str:
    """The label that is asked for, or the first by preference; `where` is what the variants were found in.

    `Q4_K_XL` means `UD-Q4_K_XL` too where there is no plain one. Raises BadInputError for a label that is not there, or
    whose files are not complete.
    """
    ranked = sorted(variants, key=_rank)
    fitting = ranked if wanted is None else _matching(ranked, wanted)
    if not fitting:
        raise BadInputError(f"{where} has no quantization {wanted}", hint=f"it has {', '.join(ranked)}")
    sort_shards(list(variants[fitting[0]]))  # says so if one is missing
    return fitting[0]


def read_label(name: str) -> str | None:
    """`Q4_K_M` of `model.q4_k_m.gguf`, `Q4_K_M/model-00001-of-00002.gguf` and the like; None if it tells nothing."""
    path = PurePosixPath(name)
    for part in (_without_shard(path.name), *(folder.name for folder in path.parents)):
        if found := list(LABEL.finditer(part)):
            quantization = found[-1]["quantization"].upper().replace("FP16", "F16").replace("FP32", "F32")
            return (found[-1]["prefix"] or "").upper() + quantization
    return None


def is_model_file(name: str) -> bool:
    """True for a GGUF file that is, or is a part of, a language model, as far as its name tells."""
    base = PurePosixPath(name).name.lower()
    if not base.endswith(".gguf") or "mmproj" in base or base.startswith("imatrix"):
        return False
    if "imatrix" in base and LABEL.search(base) is None:  # `model-imatrix-Q4_K_M.gguf` was made with one
        return False
    return ADAPTER.search(base) is None or "merged" in base


def _matching(labels: Sequence[str], wanted: str) -> list[str]:
    asked = wanted.upper().replace("FP16", "F16").replace("FP32", "F32")
    exact = [label for label in labels if label.upper() in (wanted.upper(), asked)]
    return exact or [label for label in labels if label.upper().endswith(f"-{asked}")]


def _rank(label: str) -> tuple[int, bool, str]:
    """Position in the order of preference; a plain label before a prefixed one, names that tell nothing last."""
    match = LABEL.fullmatch(label)
    quantization = match["quantization"].upper() if match else ""
    place = PREFERENCE.index(quantization) if quantization in PREFERENCE else len(PREFERENCE)
    return place, bool(match and match["prefix"]), label


def _stem_and_count(name: str) -> tuple[str, str]:
    """What the parts of one split model have in common: the name without the part's number, and how many there are."""
    path = PurePosixPath(name)
    match = SHARD.fullmatch(path.name)
    return str(path.with_name(_without_shard(path.name))), match["count"] if match else ""


def _without_shard(base: str) -> str:
    match = SHARD.fullmatch(base)
    return match["stem"] if match else re.sub(r"\.gguf$", "", base, flags=re.IGNORECASE)


def _free_label(stem: str, taken: Mapping[str, object]) -> str:
    """The file's name as a label that can be typed in a reference."""
    label = re.sub(r"[^\w.-]+", "-", PurePosixPath(stem).name, flags=re.ASCII)
    return label if label not in taken else re.sub(r"[^\w.-]+", "-", stem, flags=re.ASCII)
