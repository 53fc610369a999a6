"""How a text is cut into windows before it is scored. Pure: tokens in, windows out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from llmasos.errors import BadInputError
from llmasos.evaluation.scorer import Window

CHUNKS, ROLLING = "chunks", "rolling"
MODES = (CHUNKS, ROLLING)
FEWEST_CHUNKS = 2  # llama-perplexity wants so many


@dataclass(frozen=True, slots=True)
class Vocabulary:
    """What of a model's vocabulary counts here: its token for the beginning, and whether texts get that.

    `prefix` stands before a text of which each token is to be scored: the beginning, or where there is none the end.
    """

    beginning: int | None
    adds_beginning: bool
    prefix: int | None


def chunks(tokens: Sequence[int], context: int, vocabulary: Vocabulary) -> list[Window]:
    """llama-perplexity's: as many pieces of `context` tokens as there are whole ones; the second half is scored.

    The first token of each gives its place to the one for the beginning, if texts get that one. The tokens are of the
    whole text, with what the model wants around it. Of the second half the first token is not scored: it is the context
    of the next. Raises BadInputError for a text that has not two chunks.
    """
    if len(tokens) < FEWEST_CHUNKS * context:
        raise BadInputError(
            f"the text has {len(tokens)} tokens and {FEWEST_CHUNKS} chunks of {context} are the least",
            hint=f"give a longer text, or --context {max(1, len(tokens) // FEWEST_CHUNKS)} or less",
        )
    windows = []
    for start in range(0, len(tokens) - context + 1, context):
        chunk = list(tokens[start : start + context])
        if vocabulary.adds_beginning and vocabulary.beginning is not None:
            chunk[0] = vocabulary.beginning
        windows.append(Window(chunk, context // 2 + 1, alone=True))
    return windows


def rolling(tokens: Sequence[int], context: int, vocabulary: Vocabulary, stride: int | None = None) -> list[Window]:
    """lm-evaluation-harness's: every token once, each with as many before it as `context` and `stride` allow.

    The tokens are of the text alone. The first window begins with the prefix, every later one scores the `stride`
    tokens that follow (as many as the context holds, if none is given), and the last one is as long as the others.
    """
    stride = min(stride or context, context)
    if vocabulary.prefix is not None:
        tokens = [vocabulary.prefix, *tokens]
    elif len(tokens) < 2:
        raise BadInputError("the text is but one token, and nothing stands before it", hint="give a longer text")
    end = min(context + 1, len(tokens))  # of `context` tokens that are read each gives the next one a score
    windows = [Window(tokens[:end], 1, alone=True)]
    while end < len(tokens):
        scored = min(stride, len(tokens) - end)
        end += scored
        start = end - context - 1
        windows.append(Window(tokens[start:end], end - start - scored, alone=True))
    return windows
