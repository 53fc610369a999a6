"""Byte-level BPE as `tokenizer.json` writes it: the name of llama.cpp's rule of cutting text becomes the rule again."""

from __future__ import annotations

from llmasos.conversion.exporting.words import Json, Parts, bpe_model
from llmasos.conversion.tokenizers.byte_level import ADDING_BOS
from llmasos.conversion.tokenizers.pre_tokenizers import DIGIT, DIGITS, FAMILIES, GPT_2, PUNCTUATION, Steps
from llmasos.conversion.tokenizers.vocabulary import Vocabulary
from llmasos.errors import BadInputError

# Names that llama.cpp takes for others of its own.
SYNONYMS = {
    **dict.fromkeys(("llama3", "llama-v3", "pixtral", "midm-2.0"), "llama-bpe"),
    **dict.fromkeys(("jina-es", "jina-de", "gigachat", "jina-v2-es", "jina-v2-de", "a.x-4.0", "mellum"), "gpt-2"),
    **dict.fromkeys(("kormo", "f2llmv2"), "qwen2"),
    **dict.fromkeys(("kanana2", "talkie"), "gpt-4o"),
    "llada-moe": "bailingmoe",
    "glm5": "glm4",
}
# Names for which llama.cpp makes a word of the vocabulary one token, whether or not merges lead to it.
IGNORING_MERGES = frozenset(("llama-bpe", "falcon3", "falcon-h1", "lfm2", "glm4", "tekken", "youtu", "minicpm5"))

BYTES: Json = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": False}


def adds_bos(pre: str) -> bool:
    """Whether llama.cpp puts a BOS in front of texts that are cut by that rule, unless it is told not to."""
    return SYNONYMS.get(pre, pre) in ADDING_BOS


def byte_level_parts(vocabulary: Vocabulary) -> Parts:
    """Raises BadInputError for a name that is not known."""
    name = SYNONYMS.get(vocabulary.pre, vocabulary.pre)
    steps = next((family.steps for family in FAMILIES if family.name == name), None)
    if steps is None:
        stated = f"of the name `{vocabulary.pre}`" if vocabulary.pre else "without a name"
        raise BadInputError(f"the tokenizer cuts texts by a rule {stated}, which can't be exported")
    model = bpe_model(vocabulary, merges=list(vocabulary.merges), ignore_merges=name in IGNORING_MERGES)
    _check_merges(vocabulary, model["vocab"])
    return Parts(model, {**BYTES, "use_regex": True}, pre_tokenizer=_pre_tokenizer(steps))


def _pre_tokenizer(steps: Steps) -> Json:
    """The inverse of `pre_tokenizers.steps_of`: bytes become letters with GPT-2's step, or after all the others."""
    parts = [_part(step) for step in steps]
    if GPT_2 not in steps:
        parts.append(BYTES)
    return parts[0] if len(parts) == 1 else {"type": "Sequence", "pretokenizers": parts}


def _part(step: str) -> Json:
    if step == GPT_2:
        return {**BYTES, "use_regex": True}
    if step in (DIGIT, DIGITS):
        return {"type": "Digits", "individual_digits": step == DIGIT}
    if step == PUNCTUATION:
        return {"type": "Punctuation", "behavior": "Contiguous"}
    return {"type": "Split", "pattern": {"Regex": step}, "behavior": "Isolated", "invert": False}


def _check_merges(vocabulary: Vocabulary, words: dict[str, int]) -> None:
    if not vocabulary.merges:
        raise BadInputError("the tokenizer has no merges")
    for merge in vocabulary.merges:
        left, _, right = merge.partition(" ")
        if left not in words or right not in words or left + right not in words:
            raise BadInputError(f"the tokenizer merges {left!r} and {right!r}, and not all that this takes are tokens")
