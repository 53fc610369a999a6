"""What a chat is made of: a session, a model that speaks, options in force; and how a turn of it goes."""

from __future__ import annotations

import time
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from llmasos.chat.answers.reader import Part, Said, Thought
from llmasos.chat.asked import Piece, Told
from llmasos.chat.fitting import fit_conversation
from llmasos.chat.sessions.history import messages_of, move
from llmasos.chat.sessions.session import Session
from llmasos.chat.sessions.shelf import drop_old_caches
from llmasos.engine.figures import Figures
from llmasos.errors import LlmasosError
from llmasos_cli import output
from llmasos_cli.chat.keyboard import stopped_by_ctrl_c

if TYPE_CHECKING:
    from llmasos_cli.chat.screen.views import View
    from llmasos_cli.chat.speaker import Speaker

SEEDS = 2**32 - 1  # the one beyond means a random seed to llama.cpp
SECONDS_BETWEEN_NOTES = 0.5  # after so long, what has come of an answer is written down
SHOWN_LINES = 5  # of a message that is shown again
ENDS = {
    "context": "the answer ended because the context of {context:,} tokens is full; /set on_overflow shift goes on",
    "length": "the answer was cut at max_tokens",
    "time": "the answer was cut at max_seconds",
    "cancelled": "stopped; what came is kept",
}


class LeaveChat(Exception):  # noqa: N818  # no error
    """The person wants to go."""


@dataclass(slots=True)
class Dialogue:
    """All that slash commands may look at and change.

    `flags` are the options given so far, on the command line and by `/set`; `server` is the one that was named there.
    `attached` are files that go with the next message. `make_view` makes the view for an answer, `ask_editor` opens a
    text in the person's editor.
    """

    session: Session
    speaker: Speaker
    flags: dict[str, Any]
    server: str | None
    offline: bool
    verbose: bool
    saves: bool
    make_view: Callable[[bool], View]
    ask_editor: Callable[[str], str]
    is_interactive: bool
    attached: list[tuple[str, str]] = field(default_factory=list)
    _measured: tuple[object, int | None] = (None, 0)  # of what, and how many tokens that takes, if that is known

    @property
    def system(self) -> str | None:
        own = self.session.history.system
        return self.speaker.own_system if own is None else own or None

    def say(self, text: str, *, before: int | None = None) -> None:
        """A message of the person, with the files that were read for it, and the answer.

        If none comes the conversation is where it was, or at `before`.
        """
        history = self.session.history
        before = history.tip if before is None else before
        files = [attachment(name, content) for name, content in self.attached]
        with self.going_back_without_answer(before):
            self.session.record(history.message("user", "\n\n".join([*files, text])))
            self.answer()
        if history.tip != before:
            self.attached.clear()

    @contextmanager
    def going_back_without_answer(self, before: int) -> Iterator[None]:
        """Moves the conversation back to that place if no answer comes, for whatever reason.

        What had come when somebody lost patience is kept, and everything if the program is ended.
        """
        history = self.session.history
        try:
            yield
        except Exception:
            self.session.record(move(before))
            raise
        except KeyboardInterrupt:
            self.session.record(history.unfinished() or move(before))
            raise
        if history.path()[-1].role == "user":
            self.session.record(move(before))

    def answer(self, *, seed: int | None = None) -> None:
        """The model's answer at the tip, which is a message of the person."""
        speaker = self.speaker
        entries, summary = self._fit()
        messages = messages_of(entries, self.system, summary)
        shows_thought = output.is_seen() if (think := speaker.chosen.chatting.think) is None else think
        view = self.make_view(shows_thought)
        reading = _Reading(view, self.session)
        seed = speaker.chosen.sampling.seed if seed is None else seed
        prompt_tokens = speaker.count_prompt(messages)
        with stopped_by_ctrl_c(is_on=self.is_interactive) as stopping:
            pieces = speaker.answer(messages, stopping, seed=seed)
            try:
                told = self._follow(pieces, reading, prompt_tokens)
            except BaseException:
                reading.note()
                raise
            finally:
                view.finish()
                if self.is_interactive:
                    output.write_line()
        self._end(told.figures, reading)
        speaker.save(self.session.cache if self.saves else None, waits=False)

    def _follow(self, pieces: Generator[Piece | None, None, Told], reading: _Reading, prompt_tokens: int) -> Told:
        """Shows the pieces and returns what the generator does."""
        progress = _Progress(self.speaker.name, self.speaker.context_length, prompt_tokens)
        while True:
            try:
                piece = next(pieces)
            except StopIteration as end:
                return end.value  # type: ignore[no-any-return]
            if piece:
                progress.note(piece)
                reading.feed(piece.parts)
            reading.view.tick(progress.line)

    def _end(self, figures: Figures, reading: _Reading) -> None:
        """Takes the answer into the conversation, and says why it ended where that is of concern."""
        history = self.session.history
        if not (reading.said or reading.thought):
            if figures.finish_reason == "cancelled":
                output.note("note: stopped before anything came; the message is taken back")
                return
            output.note("note: the answer is empty")
        self.session.record(history.message("assistant", reading.said, reading.thought, figures.finish_reason))
        self._measured = (self._place, self.speaker.usage.all)
        if figures.shifted_tokens:
            output.note(f"note: the context was full; the oldest {figures.shifted_tokens:,} tokens were forgotten")
        if ending := ENDS.get(figures.finish_reason):
            output.note(f"note: {ending.format(context=self.speaker.context_length)}")
        elif reading.thought and not reading.said:
            output.note("note: the answer ended before the model was done thinking; /think off makes it short")

    def _fit(self) -> tuple[list[Any], str]:
        """The messages that are given to the model, and the summary before them."""
        history, limits = self.session.history, self.speaker.chosen.limits
        entries, summary = history.remembered()
        fitted = fit_conversation(
            entries,
            summary,
            self.speaker.context_length,
            limits.on_overflow,
            self.speaker.fitting(self.system),
            answer_tokens=limits.max_tokens,
        )
        if fitted.note:
            output.note(f"note: {fitted.note}")
        if fitted.dropped:
            through = entries[fitted.dropped - 1].id
            self.session.record({"event": "forgotten", "through": through, "summary": fitted.summary})
        elif summary != fitted.summary:
            self.session.record({"event": "forgotten", "through": entries[0].parent, "summary": fitted.summary})
        return entries[fitted.dropped :], fitted.summary

    def show_end(self) -> None:
        """The last turn of a conversation that goes on, for whoever has forgotten it."""
        for entry in self.session.history.path()[-2:]:
            if entry.role == "user":
                shown = output.visible(entry.content).strip().split("\n")
                more = [f"  … {len(shown) - SHOWN_LINES} more lines"] if len(shown) > SHOWN_LINES else []
                output.write_line("\n".join(["> " + "\n  ".join(shown[:SHOWN_LINES]), *more]))
            else:
                view = self.make_view(False)
                view.feed(Said(entry.content))
                view.finish()
                output.write_line()

    def another_seed(self) -> int | None:
        """For answering once more: the next of a fixed one, by how many answers there are."""
        fixed = self.speaker.chosen.sampling.seed
        if fixed is None:
            return None
        history = self.session.history
        answers = sum(entry.parent == history.tip for entry in history.entries.values())
        return (fixed + answers) % SEEDS

    def status(self) -> str:
        """One line: the model, how full its context is, how fast it was, what goes with the next message."""
        usage, length = self.speaker.usage, self.speaker.context_length
        used = self._used()
        parts = [self.speaker.name, f"{'?' if used is None else f'{used:,}'} of {length:,} tokens"]
        if usage.tokens_per_second:
            parts.append(f"{usage.tokens_per_second:.0f} tokens/s")
        if self.attached:
            parts.append(f"{len(self.attached)} file{'s' if len(self.attached) > 1 else ''} to send")
        return " · ".join(parts)

    def _used(self) -> int | None:
        """Tokens of the conversation; counted anew where it has moved since the last answer. None if they can't be."""
        if self._measured[0] != self._place:
            entries, summary = self.session.history.remembered()
            try:
                count = self.speaker.count_messages(entries, self.system, summary)
            except LlmasosError:  # the next turn tells it
                count = None
            self._measured = (self._place, count)
        return self._measured[1]

    @property
    def _place(self) -> object:
        """All that the length of the conversation depends on."""
        return (self.session.path, self.session.history.tip, self.speaker.name, self.system)

    def names(self) -> list[str]:
        """Of the models that the conversation could go on with."""
        return self.speaker.chosen.names()

    def leave(self) -> None:
        """Keeps what was read, and frees the model."""
        try:
            if self.saves and self.session.history.entries:
                self.speaker.save(self.session.cache, waits=True)
                drop_old_caches()
        finally:
            self.speaker.close()
            self.session.close()


class _Reading:
    """An answer as it comes: shown, gathered, and written down now and then, in case that this is the end."""

    def __init__(self, view: View, session: Session) -> None:
        self.view = view
        self.said = self.thought = ""
        self._session = session
        self._noted, self._noted_at = (0, 0), time.monotonic()

    def feed(self, parts: Sequence[Part]) -> None:
        for part in parts:
            if isinstance(part, Said):
                self.said += part.text
            elif isinstance(part, Thought):
                self.thought += part.text
            self.view.feed(part)
        if time.monotonic() - self._noted_at >= SECONDS_BETWEEN_NOTES:
            self.note()

    def note(self) -> None:
        """Writes down what has come since the last time."""
        said, thought = self.said[self._noted[0] :], self.thought[self._noted[1] :]
        self._noted, self._noted_at = (len(self.said), len(self.thought)), time.monotonic()
        if said or thought:
            self._session.record({"event": "piece", "said": said, "thought": thought})


class _Progress:
    """The line below an answer that grows."""

    def __init__(self, name: str, context_length: int, prompt_tokens: int) -> None:
        self._name, self._context, self._prompt = name, context_length, prompt_tokens
        self._tokens = 0
        self._began, self._first = time.monotonic(), 0.0

    def note(self, piece: Piece) -> None:
        self._first = self._first or time.monotonic()
        self._tokens = piece.completion_tokens

    @property
    def line(self) -> str:
        if not self._tokens:
            waited = time.monotonic() - self._began
            return f"{self._name} · reading {self._prompt:,} tokens · {waited:.0f} s · Ctrl-C stops"
        seconds = time.monotonic() - self._first
        speed = f" · {(self._tokens - 1) / seconds:.0f} tokens/s" if seconds > 0.2 and self._tokens > 1 else ""
        return f"{self._name} · {self._prompt + self._tokens:,} of {self._context:,} tokens{speed} · Ctrl-C stops"


def attachment(name: str, content: str) -> str:
    """A file as a part of a message, between fences that are longer than any of its own."""
    fence = "```"
    while fence in content:
        fence += "`"
    return f"{name}:\n{fence}\n{content.rstrip()}\n{fence}"
