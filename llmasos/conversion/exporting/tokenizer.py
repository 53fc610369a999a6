"""The tokenizer of a GGUF as files of a checkpoint: one that gives the ids that llama.cpp gives to the same text.

`tokenizer.json` says everything; `tokenizer_config.json` only what the special tokens are called. What llama.cpp does
not do is not written either: no text is normalized, not even to NFC, whatever the family's own repositories do.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from llmasos.conversion.exporting.byte_level import adds_bos, byte_level_parts
from llmasos.conversion.exporting.sentencepiece import sentencepiece_parts
from llmasos.conversion.exporting.words import Json, special_ids
from llmasos.conversion.tokenizers.chat_templates import JINJA_FILE, MORE_FOLDER, NAMED_TEMPLATE, TEMPLATE
from llmasos.conversion.tokenizers.letters import as_decoded
from llmasos.conversion.tokenizers.sentencepiece import ADD_SPACE
from llmasos.conversion.tokenizers.special import ADD_KEYS
from llmasos.conversion.tokenizers.table import check_distinct
from llmasos.conversion.tokenizers.tokenizer_files import TOKENIZER, TOKENIZER_CONFIG
from llmasos.conversion.tokenizers.vocabulary import TokenType, Vocabulary
from llmasos.errors import BadInputError

MODELS = ("gpt2", "llama")  # llama.cpp's names of byte-level BPE and of SentencePiece's
NAMED_KINDS = ("bos", "eos", "unk", "sep", "pad", "mask")
FOUND_FIRST = (TokenType.CONTROL, TokenType.USER_DEFINED, TokenType.UNKNOWN)  # before a text is cut


def vocabulary_of(metadata: Mapping[str, Any]) -> Vocabulary:
    """The vocabulary of a GGUF whose arrays were kept whole; `more` has all other keys of the tokenizer.

    Raises BadInputError for one that is missing, broken, or of a kind that can't be exported.
    """
    values = {key.removeprefix("tokenizer.ggml."): value for key, value in metadata.items()}
    model = values.get("model")
    if model not in MODELS:
        raise BadInputError(f"the tokenizer is of the kind `{model}`; {' and '.join(MODELS)} can be exported")
    tokens, types = values.get("tokens"), values.get("token_type")
    scores, merges = values.get("scores") or [], values.get("merges") or []
    if not isinstance(tokens, list) or not tokens:
        raise BadInputError("the file has no tokens")
    types = types if isinstance(types, list) else [int(TokenType.NORMAL)] * len(tokens)
    if len(types) != len(tokens) or (model == "llama" and len(scores) != len(tokens)):
        raise BadInputError("the file has not as many types or scores as tokens")
    check_distinct(tokens)
    more = {key: value for key, value in metadata.items() if key.startswith("tokenizer.") and not _is_array(value)}
    return Vocabulary(model, str(values.get("pre") or ""), tokens, types, scores, merges, more)


def tokenizer_files(vocabulary: Vocabulary, context_length: int) -> dict[str, Json | str]:
    """File name -> what it holds: JSON, or text. Raises BadInputError for a rule of cutting text nobody knows."""
    parts = byte_level_parts(vocabulary) if vocabulary.model == "gpt2" else sentencepiece_parts(vocabulary)
    tokenizer = {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": _added_tokens(vocabulary),
        "normalizer": parts.normalizer,
        "pre_tokenizer": parts.pre_tokenizer,
        "post_processor": _post_processor(vocabulary),
        "decoder": parts.decoder,
        "model": parts.model,
    }
    return {
        TOKENIZER: tokenizer,
        TOKENIZER_CONFIG: _tokenizer_config(vocabulary, context_length),
        **_template_files(vocabulary),
    }


def _added_tokens(vocabulary: Vocabulary) -> list[Json]:
    return [
        {
            "id": number,
            "content": text,
            "single_word": False,
            "lstrip": False,
            "rstrip": False,
            "normalized": vocabulary.model == "gpt2" and as_decoded(text) != text,  # see `byte_level._rows`
            "special": kind != TokenType.USER_DEFINED,
        }
        for number, (text, kind) in enumerate(zip(vocabulary.tokens, vocabulary.types, strict=True))
        if isinstance(text, str) and kind in FOUND_FIRST
    ]


def _post_processor(vocabulary: Vocabulary) -> Json | None:
    """What is put around a text, by token; None if nothing is."""
    ids = special_ids(vocabulary)
    bos, eos = (ids.get(kind) if _is_added(kind, vocabulary) else None for kind in ("bos", "eos"))
    if bos is None and eos is None:
        return None
    first, last = _pieces(bos, vocabulary), _pieces(eos, vocabulary)
    between = _pieces(bos, vocabulary, 1) if _starts_twice(vocabulary, bos, ids.get("eos")) else []
    texts = [str(vocabulary.tokens[number]) for number in dict.fromkeys((bos, eos)) if number is not None]
    return {
        "type": "TemplateProcessing",
        "single": [*first, _sequence("A", 0), *last],
        "pair": [*first, _sequence("A", 0), *between, _sequence("B", 1), *_pieces(eos, vocabulary, 1)],
        "special_tokens": {
            text: {"id": text, "ids": [vocabulary.tokens.index(text)], "tokens": [text]} for text in texts
        },
    }


def _is_added(kind: str, vocabulary: Vocabulary) -> bool:
    default = kind == "bos" and (vocabulary.model == "llama" or adds_bos(vocabulary.pre))
    return bool(vocabulary.more.get(ADD_KEYS[kind], default))


def _starts_twice(vocabulary: Vocabulary, bos: int | None, eos: int | None) -> bool:
    """Llama's way with pairs, which shows in a GGUF as a separator that is denied."""
    return bos is not None and bos != eos and vocabulary.more.get(ADD_KEYS["sep"]) is False


def _pieces(number: int | None, vocabulary: Vocabulary, sequence: int = 0) -> list[Json]:
    if number is None:
        return []
    return [{"SpecialToken": {"id": vocabulary.tokens[number], "type_id": sequence}}]


def _sequence(name: str, number: int) -> Json:
    return {"Sequence": {"id": name, "type_id": number}}


def _tokenizer_config(vocabulary: Vocabulary, context_length: int) -> Json:
    """The class is the one that follows tokenizer.json, where families' own make their tokenizer anew."""
    ids = special_ids(vocabulary)
    return {
        **{f"{kind}_token": vocabulary.tokens[ids[kind]] for kind in NAMED_KINDS if kind in ids},
        **{f"add_{kind}_token": vocabulary.more[key] for kind, key in ADD_KEYS.items() if key in vocabulary.more},
        **_space_prefix(vocabulary),
        "clean_up_tokenization_spaces": False,
        **({"model_max_length": context_length} if context_length else {}),
        "tokenizer_class": "PreTrainedTokenizerFast",
    }


def _space_prefix(vocabulary: Vocabulary) -> Json:
    """Byte-level BPE puts no space in front, whatever the metadata says."""
    stated = vocabulary.more.get(ADD_SPACE)
    return {} if stated is None or (stated and vocabulary.model == "gpt2") else {"add_prefix_space": bool(stated)}


def _template_files(vocabulary: Vocabulary) -> dict[str, str]:
    prefix = NAMED_TEMPLATE.format(name="")
    texts = {key: value for key, value in vocabulary.more.items() if isinstance(value, str)}
    named = {key.removeprefix(prefix): text for key, text in texts.items() if key.startswith(prefix)}
    return {
        **({JINJA_FILE: texts[TEMPLATE]} if TEMPLATE in texts else {}),
        **{f"{MORE_FOLDER}/{name}.jinja": text for name, text in named.items() if _is_file_name(name)},
    }


def _is_file_name(name: str) -> bool:
    return name.replace("_", "").isalnum()


def _is_array(value: Any) -> bool:
    return isinstance(value, Sequence) and not isinstance(value, str)
