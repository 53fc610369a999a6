"""What happens to a conversation that outgrows the context: refused, its oldest turns dropped, or summarized.

Never silently. `overflow` does the same for one prompt. Pure: counting and summarizing are passed in.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from llmasos.chat.sessions.history import Entry
from llmasos.errors import PromptTooLongError

ANSWER_SHARE = 8  # of the context, this part (one in eight) has to be left for an answer, unless less is asked for
KEPT_SHARE = 0.7  # what is dropped makes room for more than one turn: what stays has to be read again
SUMMARY_SHARE = 8
SHORTEST_SUMMARY = 32  # tokens
HINT = "/set on_overflow shift, or summarize, goes on without the oldest; /set context_length N makes more room"


@dataclass(frozen=True, slots=True)
class Fitted:
    """Of the messages the first `dropped` are left out, for which `summary` stands. `note` says so, or is None."""

    dropped: int
    summary: str
    note: str | None = None


@dataclass(frozen=True, slots=True)
class Tools:
    """What fitting needs of a model, as functions."""

    count: Callable[[Sequence[Entry], str], int]  # messages and a summary -> tokens of the prompt
    summarize: Callable[[Sequence[Entry], str, int], str]  # messages, summary before them, most tokens -> summary


def fit_conversation(
    entries: Sequence[Entry],
    summary: str,
    context_length: int,
    policy: str,
    tools: Tools,
    *,
    answer_tokens: int | None = None,
) -> Fitted:
    """Brings the messages, before which `summary` stands, into the context by `policy`.

    `error` refuses; `shift` (and `truncate`) drops whole turns, the oldest first; `summarize` has them told in short.
    The system prompt, which `Tools.count` counts along, always stays, as does the last message. Raises
    PromptTooLongError where that alone is too long.
    """
    needed = tools.count(entries, summary)
    if policy == "error":
        if needed >= context_length:
            raise PromptTooLongError(needed, context_length, name="the conversation", hint=HINT)
        return Fitted(0, summary)
    room = max(1, min(context_length // ANSWER_SHARE, answer_tokens or context_length))
    if needed <= context_length - room:
        return Fitted(0, summary)
    is_summarized = policy == "summarize"
    share = max(SHORTEST_SUMMARY, context_length // SUMMARY_SHARE)
    longest = int(context_length * KEPT_SHARE) - (share if is_summarized else 0)
    dropped = _fewest_dropped(entries, longest, tools)
    kept = tools.count(entries[dropped:], "")
    if kept >= context_length:
        raise PromptTooLongError(kept, context_length, name="the last message with the system prompt", hint=HINT)
    what = f"the context of {context_length:,} tokens is full: {_turns(entries[:dropped])}"
    if is_summarized and dropped:
        told = tools.summarize(entries[:dropped], summary, share)
        length = tools.count(entries[dropped:], told)
        if length < context_length:
            return Fitted(dropped, told, f"{what} summarized; the prompt has {length:,} tokens now, not {needed:,}")
    if not dropped and not summary:
        return Fitted(0, "")  # one long message, for whose answer little room is left
    return Fitted(dropped, "", f"{what} dropped; the prompt has {kept:,} tokens now, not {needed:,}")


def _fewest_dropped(entries: Sequence[Entry], longest: int, tools: Tools) -> int:
    """How many messages have to go, whole turns of them, for the others to fit; all but the last turn if none does."""
    starts = [index for index, entry in enumerate(entries) if entry.role == "user"] or [0]
    found = bisect_left(starts, True, key=lambda start: tools.count(entries[start:], "") <= longest)
    return starts[min(found, len(starts) - 1)]


def _turns(entries: Sequence[Entry]) -> str:
    count = sum(entry.role == "user" for entry in entries)
    if count == 0:
        return "the summary was"
    return "the oldest turn was" if count == 1 else f"the oldest {count} turns were"
