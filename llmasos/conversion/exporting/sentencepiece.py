"""SentencePiece's BPE as `tokenizer.json` writes it: a list of merges in the place of scores.

llama.cpp joins the two neighbours whose join has the best score, the leftmost of equals. So there is a merge for every
pair of pieces that makes a piece, in the order of the scores. What a list can't say is that two different pairs that
make the same piece are equals: the better left half goes first.
"""

from __future__ import annotations

from llmasos.conversion.exporting.words import Json, Parts, bpe_model, special_ids
from llmasos.conversion.tokenizers.sentencepiece import ADD_SPACE, BYTES
from llmasos.conversion.tokenizers.table import SPACE
from llmasos.conversion.tokenizers.vocabulary import TokenType, Vocabulary
from llmasos.errors import BadInputError

TO_PIECES: Json = {"type": "Replace", "pattern": {"String": " "}, "content": SPACE}
TO_SPACES: Json = {"type": "Replace", "pattern": {"String": SPACE}, "content": " "}
FROM_BYTES: tuple[Json, ...] = ({"type": "ByteFallback"}, {"type": "Fuse"})
JOINED = (TokenType.NORMAL, TokenType.UNUSED)  # what joins can make; all others are found in a text before


def sentencepiece_parts(vocabulary: Vocabulary) -> Parts:
    """Raises BadInputError if a byte has no token."""
    model = bpe_model(
        vocabulary,
        merges=_written(merges_of(vocabulary)),
        unk_token=vocabulary.tokens[special_ids(vocabulary)["unk"]],
        fuse_unk=True,
        byte_fallback=True,
    )
    missing = BYTES - model["vocab"].keys()
    if missing:
        raise BadInputError(f"the tokenizer has no token for {len(missing)} of the 256 bytes")
    if not vocabulary.more.get(ADD_SPACE, True):
        return Parts(model, _sequence("decoders", TO_SPACES, *FROM_BYTES), TO_PIECES)
    prefix = {"type": "Prepend", "prepend": SPACE}
    strip = {"type": "Strip", "content": " ", "start": 1, "stop": 0}
    decoder = _sequence("decoders", TO_SPACES, *FROM_BYTES, strip)
    return Parts(model, decoder, _sequence("normalizers", prefix, TO_PIECES))


def _sequence(name: str, *parts: Json) -> Json:
    return {"type": "Sequence", name: list(parts)}


def merges_of(vocabulary: Vocabulary) -> list[tuple[str, str]]:
    """Every pair of pieces that makes a piece, the one with the best score first."""
    pieces = {
        str(text): number
        for number, (text, kind) in enumerate(zip(vocabulary.tokens, vocabulary.types, strict=True))
        if kind in JOINED
    }
    scores, found = vocabulary.scores, list[tuple[float, int, int, int]]()
    for text, number in pieces.items():
        for place in range(1, len(text)):
            left, right = pieces.get(text[:place]), pieces.get(text[place:])
            if left is not None and right is not None:
                found.append((-scores[number], number, left, right))
    texts = [str(text) for text in vocabulary.tokens]
    return [(texts[left], texts[right]) for _, _, left, right in sorted(found)]


def _written(merges: list[tuple[str, str]]) -> list[str] | list[list[str]]:
    """As `"a b"`, which every version of tokenizers reads, unless a piece holds a space."""
    if any(" " in left or " " in right for left, right in merges):
        return [[left, right] for left, right in merges]
    return [f"{left} {right}" for left, right in merges]
