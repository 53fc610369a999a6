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
    from llmasos.chat.answers.families import AnswerForm
    from llmasos.chat.answers.reader import Part
    from llmasos.chat.messages import Reply
    from llmasos.engine.engine import Engine
    from llmasos.engine.model import Model
    from llmasos.engine.sequence import Answer, Sequence, TokenScore

CUTS = {"length": "--max-tokens", "time": "--max-seconds"}  # what ends an answer that would have gone on
BETWEEN_ANSWERS = "---\n"


@dataclass(frozen=True, slots=True)
class Writing:
    """How answers are read (`form`) and written; of a beam search `most` of the best.

    Of an answer of which `extract` is wanted nothing is shown before it is whole.
    """

    form: AnswerForm
    shows_thought: bool
    as_json: bool
    with_stats: bool
    to_file: Path | None
    most: int
    extract: str | None = None

    @property
    def is_plain(self) -> bool:
        """Whether answers go to standard output as text, with a line between two of them."""
        return not self.as_json and self.to_file is None

    @property
    def shows_text(self) -> bool:
        """Whether an answer is shown while it grows."""
        return self.is_plain and self.extract is None


def write_answers(engine: Engine, sequences: list[Sequence], writing: Writing) -> list[Answer]:
    """Answers to standard output or a file; reasoning, which is no data, to standard error if it is shown at all."""
    from llmasos.chat.answers.reader import read_reply

    texts: list[str] = []
    answers: list[Answer] = []
    for sequence in sequences:
        for answer, has_been_shown in _answers_of(engine, sequence, writing, is_first=not texts):
            answers.append(answer)
            reply = read_reply(answer.text, writing.form)
            if has_been_shown:
                output.write("\n")
            for note in notes_on(engine, sequence, answer, reply):
                output.note(f"note: {note}")
            reply = extracted(reply, writing.extract)
            if texts and not writing.as_json:
                texts.append(BETWEEN_ANSWERS)
            facts = facts_of(answer, reply, engine.model)
            texts.append(output.json_line(facts) if writing.as_json else f"{reply.content}\n")
            if writing.to_file is None and not has_been_shown:
                output.write(texts[-1])
            if writing.with_stats:
                output.note(_stats(answer))
    if writing.to_file:
        write_output(writing.to_file, "".join(texts))
    return answers


def _answers_of(
    engine: Engine, sequence: Sequence, writing: Writing, *, is_first: bool
) -> Iterator[tuple[Answer, bool]]:
    """One answer, or the best of a beam search; and whether its text has been shown as it grew."""
    from llmasos.chat.prompt import follow
    from llmasos.engine.sequence import Answer, Chunk

    shown = _Shown(writing)
    if writing.is_plain and not is_first:
        output.write(BETWEEN_ANSWERS)
    try:
        for piece in follow(engine, sequence):
            if isinstance(piece, Chunk):
                shown.feed(piece.text)
    except KeyboardInterrupt:
        if writing.shows_text:
            output.write_line()  # the shell's prompt begins on a line of its own
        raise
    assert isinstance(piece, Answer)
    shown.finish()
    yield piece, writing.shows_text and sequence.beams is None
    for other in piece.others[: writing.most - 1]:
        if writing.is_plain:
            output.write(BETWEEN_ANSWERS)
        yield other, False


class _Shown:
    """An answer while it grows: what it says on standard output, and beside that what is thought."""

    def __init__(self, writing: Writing) -> None:
        from llmasos.chat.answers.reader import AnswerReader

        self._writing = writing
        self._reader = AnswerReader(writing.form)
        self._is_thinking = False

    def feed(self, text: str) -> None:
        self._show(self._reader.feed(text))

    def finish(self) -> None:
        self._show(self._reader.finish())
        self._end_thought()

    def _show(self, parts: Iterable[Part]) -> None:
        from llmasos.chat.answers.reader import Said, Thought

        for part in parts:
            if isinstance(part, Thought) and self._writing.shows_thought and not self._writing.as_json:
                output.write_aside(part.text)
                self._is_thinking = True
            elif isinstance(part, Said) and self._writing.shows_text:
                self._end_thought()
                output.write(part.text)

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


def notes_on(engine: Engine, sequence: Sequence, answer: Answer, reply: Reply) -> Iterator[str]:
    """What is to be said if the answer would have gone on, where that is not just what was asked for."""
    if answer.finish_reason in CUTS and sequence.sampling.grammar:
        yield f"the answer was cut at {CUTS[answer.finish_reason]}, so it does not fit its grammar or schema"
    elif answer.finish_reason == "time":
        yield "the answer was cut at --max-seconds"
    if answer.finish_reason == "context":
        yield f"the answer ended because the context of {engine.context.length} tokens is full"
    elif reply.reasoning and not reply.content and answer.finish_reason != "cancelled":
        yield "the answer ended before the model was done thinking; --no-think makes it short"


def facts_of(answer: Answer, reply: Reply, model: Model) -> dict[str, Any]:
    """The documented JSON of an answer."""
    return {
        "text": reply.content,
        "reasoning": reply.reasoning or None,
        "finish_reason": answer.finish_reason,
        "stop": answer.stop,
        "tokens": {
            "prompt": answer.prompt_tokens,
            "completion": len(answer.tokens),
            "cached": answer.cached_tokens,
            "shifted": answer.shifted_tokens,
            "guessed": answer.guessed_tokens,
            "spared": answer.spared_passes,
        },
        "timings": {
            "prompt_seconds": answer.prompt_seconds,
            "completion_seconds": answer.completion_seconds,
            "prompt_tokens_per_second": answer.prompt_tokens_per_second,
            "tokens_per_second": answer.tokens_per_second,
        },
        "seed": answer.seed,
        **({} if answer.score is None else {"score": answer.score}),
        **({"logprobs": [_scored(each, model) for each in answer.token_scores]} if answer.token_scores else {}),
    }


def _scored(score: TokenScore, model: Model) -> dict[str, Any]:
    """A token of the answer with its log-probability, and the likeliest in its place."""

    def entry(token: int, log_probability: float) -> dict[str, Any]:
        return {"token": model.piece(token, special=True).decode("utf-8", "replace"), "id": token,
                "logprob": log_probability}  # fmt: skip

    return {**entry(score.token, score.log_probability), "top": [entry(*each) for each in score.top]}


def _stats(answer: Answer) -> str:
    cached = f", {answer.cached_tokens} of them cached" if answer.cached_tokens else ""
    return (
        f"prompt {answer.prompt_tokens} tokens{cached} in {answer.prompt_seconds:.2f} s "
        f"({answer.prompt_tokens_per_second:.1f}/s), "
        f"answer {len(answer.tokens)} tokens in {answer.completion_seconds:.2f} s ({answer.tokens_per_second:.1f}/s), "
        f"ended by {answer.finish_reason}, seed {answer.seed}"
    )
