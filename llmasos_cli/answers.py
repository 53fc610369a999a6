"""Answers as a command shows them: as they grow, as JSON, or into a file; and what is to be said of them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from llmasos.errors import BadInputError
from llmasos.files import write_output
from llmasos_cli import output

if TYPE_CHECKING:
    from llmasos.chat.answers.reader import Part
    from llmasos.chat.asked import Asked, Told
    from llmasos.chat.messages import Reply
    from llmasos.engine.figures import Figures

CUTS = {"length": "--max-tokens", "time": "--max-seconds"}  # what ends an answer that would have gone on
BETWEEN_ANSWERS = "---\n"


@dataclass(frozen=True, slots=True)
class Writing:
    """How answers are written; of a beam search `most` of the best.

    `has_shape`: a grammar rules over them. Of an answer of which `extract` is wanted nothing is shown before it is
    whole.
    """

    shows_thought: bool
    as_json: bool
    with_stats: bool
    to_file: Path | None
    most: int
    has_shape: bool
    context_length: int
    extract: str | None = None

    @property
    def is_plain(self) -> bool:
        """Whether answers go to standard output as text, with a line between two of them."""
        return not self.as_json and self.to_file is None

    @property
    def shows_text(self) -> bool:
        """Whether an answer is shown while it grows."""
        return self.is_plain and self.extract is None


def write_answers(asked: list[Asked], writing: Writing) -> None:
    """Answers to standard output or a file; reasoning, which is no data, to standard error if it is shown at all."""
    texts: list[str] = []
    for each in asked:
        for told, has_been_shown in _answers_of(each, writing, is_first=not texts):
            if has_been_shown:
                output.write("\n")
            for note in notes_on(told, has_shape=writing.has_shape, context_length=writing.context_length):
                output.note(f"note: {note}")
            reply = extracted(told.reply, writing.extract)
            if texts and not writing.as_json:
                texts.append(BETWEEN_ANSWERS)
            facts = facts_of(reply, told.figures)
            texts.append(output.json_line(facts) if writing.as_json else f"{reply.content}\n")
            if writing.to_file is None and not has_been_shown:
                output.write(texts[-1])
            if writing.with_stats:
                output.note(_stats(told.figures))
    if writing.to_file:
        write_output(writing.to_file, "".join(texts))


def _answers_of(asked: Asked, writing: Writing, *, is_first: bool) -> Iterator[tuple[Told, bool]]:
    """One answer, or the best of a beam search; and whether its text has been shown as it grew."""
    shown = _Shown(writing)
    if writing.is_plain and not is_first:
        output.write(BETWEEN_ANSWERS)
    try:
        for piece in asked.pieces():
            if piece:
                shown.show(piece.parts)
    except KeyboardInterrupt:
        if writing.shows_text:
            output.write_line()  # the shell's prompt begins on a line of its own
        raise
    shown.finish()
    told = asked.told()
    yield told, writing.shows_text
    for other in told.others[: writing.most - 1]:
        if writing.is_plain:
            output.write(BETWEEN_ANSWERS)
        yield other, False


class _Shown:
    """An answer while it grows: what it says on standard output, and beside that what is thought."""

    def __init__(self, writing: Writing) -> None:
        self._writing = writing
        self._is_thinking = False

    def show(self, parts: Iterable[Part]) -> None:
        from llmasos.chat.answers.reader import Said, Thought

        for part in parts:
            if isinstance(part, Thought) and self._writing.shows_thought and not self._writing.as_json:
                output.write_aside(part.text)
                self._is_thinking = True
            elif isinstance(part, Said) and self._writing.shows_text:
                self._end_thought()
                output.write(part.text)

    def finish(self) -> None:
        self._end_thought()

    def _end_thought(self) -> None:
        if self._is_thinking:
            output.write_aside("\n\n")
            self._is_thinking = False


def extracted(reply: Reply, kind: str | None) -> Reply:
    """The reply with what is wanted of it alone; one that has none of it is told whole, and raises BadInputError."""
    if kind is None:
        return reply
    from llmasos.chat.extraction import extract

    try:
        return replace(reply, content=extract(reply.content, kind))
    except BadInputError:
        output.note(reply.content)
        raise


def notes_on(told: Told, *, has_shape: bool, context_length: int) -> Iterator[str]:
    """What is to be said if the answer would have gone on, where that is not just what was asked for."""
    reply, reason = told.reply, told.figures.finish_reason
    if reason in CUTS and has_shape:
        yield f"the answer was cut at {CUTS[reason]}, so it does not fit its grammar or schema"
    elif reason == "time":
        yield "the answer was cut at --max-seconds"
    if reason == "context":
        yield f"the answer ended because the context of {context_length} tokens is full"
    elif reply.reasoning and not reply.content and reason != "cancelled":
        yield "the answer ended before the model was done thinking; --no-think makes it short"


def facts_of(reply: Reply, figures: Figures) -> dict[str, Any]:
    """The documented JSON of an answer."""
    return {"text": reply.content, "reasoning": reply.reasoning or None, **figures.as_json()}


def _stats(figures: Figures) -> str:
    cached = f", {figures.cached_tokens} of them cached" if figures.cached_tokens else ""
    return (
        f"prompt {figures.prompt_tokens} tokens{cached} in {figures.prompt_seconds:.2f} s "
        f"({figures.prompt_tokens_per_second:.1f}/s), "
        f"answer {figures.completion_tokens} tokens in {figures.completion_seconds:.2f} s "
        f"({figures.tokens_per_second:.1f}/s), ended by {figures.finish_reason}, seed {figures.seed}"
    )
