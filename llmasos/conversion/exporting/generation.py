"""How a model is sampled from, as `generation_config.json`: its makers' settings, and all tokens that end an answer."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from llmasos.conversion.exporting.described import shortest
from llmasos.conversion.exporting.words import special_ids
from llmasos.conversion.generation import SAMPLING
from llmasos.conversion.tokenizers.chat_templates import TEMPLATE
from llmasos.conversion.tokenizers.vocabulary import TokenType, Vocabulary

ENDING_KINDS = ("eos", "eot", "eom")
# Marks that end a turn in the families' templates: llama.cpp knows them by their texts.
TURN_ENDS = ("<|im_end|>", "<|eot_id|>", "<|eom_id|>", "<end_of_turn>", "<|end|>")


def generation_config(metadata: Mapping[str, Any], vocabulary: Vocabulary) -> dict[str, Any]:
    """Special tokens' ids, and the keys `general.sampling.*` under the names that they come from."""
    ids = special_ids(vocabulary)
    ends = _end_ids(vocabulary)
    sampling = {
        names[-1]: shortest(value) if isinstance(value, float) else value
        for key, (names, _) in SAMPLING.items()
        if (value := metadata.get(f"general.sampling.{key}")) is not None
    }
    return {
        **{f"{kind}_token_id": ids[kind] for kind in ("bos", "pad") if kind in ids},
        **({"eos_token_id": ends if len(ends) > 1 else ends[0]} if ends else {}),
        **({"do_sample": True} if sampling else {}),
        **sampling,
    }


def _end_ids(vocabulary: Vocabulary) -> list[int]:
    """The tokens named as ends, then those that the chat template ends a turn with."""
    ids = special_ids(vocabulary)
    found = [ids[kind] for kind in ENDING_KINDS if kind in ids]
    template = str(vocabulary.more.get(TEMPLATE) or "")
    for number, (text, kind) in enumerate(zip(vocabulary.tokens, vocabulary.types, strict=True)):
        if kind == TokenType.CONTROL and text in TURN_ENDS and str(text) in template:
            found.append(number)
    return list(dict.fromkeys(found))
