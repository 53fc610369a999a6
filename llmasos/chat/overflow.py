"""What happens to a prompt that the context can't hold: refused, cut, or summarized. Never silently."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from llmasos.errors import PromptTooLongError

ANSWER_SHARE = 4  # of the context, this part (one in four) is kept for the answer when the prompt is cut
SUMMARY_REQUEST = "Summarize the following text. Keep every fact, name and number that matters."
LONGEST_PASSES = 6  # summaries of summaries; each pass shortens

Build = Callable[[str], list[int]]  # the text that a person gave -> the tokens of the whole prompt


@dataclass(frozen=True, slots=True)
class FittedPrompt:
    """Tokens that fit, and a line that says what was done to them, or None."""

    tokens: list[int]
    note: str | None = None


@dataclass(frozen=True, slots=True)
class Tools:
    """What fitting needs of an engine, as functions: text to prompt, text to tokens and back, and a short answer."""

    build: Build
    tokenize: Callable[[str], list[int]]
    detokenize: Callable[[list[int]], str]
    summarize: Callable[[str, int], str]  # text and most tokens of the summary -> summary


def fit_prompt(text: str, context_length: int, policy: str, tools: Tools) -> FittedPrompt:
    """The prompt for `text`, brought to fit by `policy`: `error`, `truncate`, `shift` or `summarize`.

    `shift` cuts the prompt as `truncate` does; the engine then goes on shifting as the answer grows. Raises
    PromptTooLongError under `error`, or where even an empty text does not fit.
    """
    tokens = tools.build(text)
    if len(tokens) < context_length:
        return FittedPrompt(tokens)
    longest = context_length - max(1, context_length // ANSWER_SHARE)
    room = longest - len(tools.build(""))
    if policy != "error" and room > 0:
        fit = _summarized if policy == "summarize" else _truncated
        if fitted := fit(text, room, longest, tools):
            return fitted
    raise PromptTooLongError(len(tokens), context_length)


def _truncated(text: str, room: int, longest: int, tools: Tools) -> FittedPrompt | None:
    """Keeps the end of the text: there the question stands."""
    tokens = tools.tokenize(text)
    while room > 0:
        prompt = tools.build(tools.detokenize(tokens[-room:]))
        if len(prompt) <= longest:  # cutting can split a word into more tokens than it had
            return FittedPrompt(prompt, f"the first {len(tokens) - room} of the prompt's {len(tokens)} tokens were cut")
        room = min(room - 1, room * longest // len(prompt))  # a template may also repeat the text
    return None


def _summarized(text: str, room: int, longest: int, tools: Tools) -> FittedPrompt | None:
    """Piece by piece, each to a share of its length, until the pieces' summaries together fit."""
    length = len(tools.tokenize(text))
    for _ in range(LONGEST_PASSES):
        pieces = _pieces(tools.tokenize(text), room)
        share = max(16, room // (len(pieces) + 1))
        text = "\n\n".join(tools.summarize(tools.detokenize(piece), share) for piece in pieces)
        prompt = tools.build(text)
        if len(prompt) <= longest:
            return FittedPrompt(prompt, f"the prompt's {length} tokens were summarized to {len(prompt)}")
    return None


def _pieces(tokens: list[int], room: int) -> list[list[int]]:
    """Cut so that a piece, the request for a summary and the summary itself fit."""
    size = max(16, room // 2)
    return [tokens[start : start + size] for start in range(0, len(tokens), size)]
