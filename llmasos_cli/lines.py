"""`run --lines`: every line of the input is a prompt and gets a line of the output, in order, many at a time.

A thread reads the lines and no more; so many are taken in ahead of the next answer as keep the engine full. All else,
tokens and output too, is the main thread's, whom a signal may stop at any time.
"""

from __future__ import annotations

import collections
import contextlib
import os
import queue
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from llmasos.engine.debias import sequence_count
from llmasos.errors import BadInputError, LlmasosError, UsageError
from llmasos.files import opened_output
from llmasos_cli import output
from llmasos_cli.answers import extracted, facts_of, notes_on
from llmasos_cli.asking import Wanted
from llmasos_cli.choices import Answering, Chosen
from llmasos_cli.prompts import decode

if TYPE_CHECKING:
    from llmasos.chat.asked import Asked
    from llmasos.engine.figures import Figures

AT_A_TIME = 8  # lines that are worked on
AHEAD = 64  # lines that are read before the first of them is answered
TOKENS_EACH = 1024  # room for so many of each that is worked on, if memory allows
READ_BYTES = 65536


@dataclass(eq=False, slots=True)
class Line:
    """A line of the input with what came of it; an empty one is answered as it is."""

    number: int
    content: bytes
    asked: Asked | None = None
    error: BadInputError | None = None
    has_ended: bool = False

    @property
    def is_empty(self) -> bool:
        return not self.content.strip()

    @property
    def is_done(self) -> bool:
        return self.is_empty or self.has_ended


def answer_lines(chosen: Chosen, wanted: Wanted, files: list[Path], prompt_of: Callable[[str], str]) -> None:
    """Answers every line of the files, or of the pipe where there are none; `prompt_of` makes a prompt of a line.

    Raises LlmasosError at the end if there were lines that could not be answered.
    """
    with contextlib.ExitStack() as opened:
        sources = _open(files, opened)
        parallel = max(sequence_count(chosen.sampling, chosen.beams), AT_A_TIME)
        answering = opened.enter_context(
            chosen.answering(wanted, parallel=parallel, cells=parallel * TOKENS_EACH, kept=parallel)
        )
        # The time of --max-seconds begins when a line is submitted: then none may wait for its turn.
        ahead = AHEAD if chosen.limits.max_seconds is None else AT_A_TIME
        work = _Work(answering, chosen, wanted, prompt_of, ahead)
        if wanted.to_file is None:
            work.answer(whole_lines(sources), output.write)
        else:
            file = opened.enter_context(opened_output(wanted.to_file))
            work.answer(whole_lines(sources), file.write)
    if work.failed:
        raise LlmasosError(f"{work.failed} of {work.count} lines could not be answered", hint=work.hint)


def _open(files: list[Path], opened: contextlib.ExitStack) -> list[int]:
    """Where lines come from, as descriptors: a thread that waits in a file object would hold up the program's end."""
    if not files and sys.stdin.isatty():
        raise UsageError("there are no lines to read", hint="name a file with -f FILE, or pipe lines in")
    if not files:
        return [sys.stdin.fileno()]
    descriptors = []
    for path in files:
        try:
            descriptors.append(os.open(path, os.O_RDONLY))
        except OSError as error:
            raise BadInputError(f"can't read {path}: {error.strerror}") from error
        opened.callback(os.close, descriptors[-1])
    return descriptors


def whole_lines(descriptors: Iterable[int]) -> Iterator[bytes]:
    """Lines without their ends, each as soon as it is whole; at the end of a file the last one may lack its newline."""
    for descriptor in descriptors:
        begun: list[bytes] = []
        while piece := os.read(descriptor, READ_BYTES):
            first, *others = piece.split(b"\n")
            begun.append(first)
            for other in others:
                yield b"".join(begun).removesuffix(b"\r")
                begun = [other]
        if last := b"".join(begun):
            yield last.removesuffix(b"\r")


class _Work:
    """All lines on their way from the input to the output."""

    def __init__(
        self,
        answering: Answering,
        chosen: Chosen,
        wanted: Wanted,
        prompt_of: Callable[[str], str],
        ahead: int,
    ) -> None:
        self.count = self.failed = 0
        self.hint: str | None = None
        self._answering = answering
        self._chosen, self._wanted = chosen, wanted
        self._prompt_of = prompt_of
        self._events: queue.SimpleQueue[Line | BaseException | None] = queue.SimpleQueue()
        self._room = threading.Semaphore(ahead)
        self._statistics = _Statistics()

    def answer(self, lines: Iterable[bytes], write: Callable[[str], Any]) -> None:
        threading.Thread(target=self._read, args=(lines,), daemon=True).start()
        waiting: collections.deque[Line] = collections.deque()
        is_over = False
        while waiting or not is_over:
            event = self._events.get()
            if isinstance(event, BaseException):
                raise event
            if event is None:
                is_over = True
            elif not event.has_ended:
                if not event.is_empty:
                    self._submit(event)
                waiting.append(event)
            while waiting and waiting[0].is_done:
                write(self._written(waiting.popleft()))
                self._room.release()
        if self._wanted.with_stats:
            output.note(self._statistics.text(self.count))

    def _read(self, lines: Iterable[bytes]) -> None:
        """In a thread of its own: each line becomes an event, then None, or what went wrong."""
        try:
            for number, content in enumerate(lines, 1):
                self._room.acquire()
                self._events.put(Line(number, content))
            self._events.put(None)
        except BaseException as error:  # whatever it is, the main thread is not to wait for more
            self._events.put(error)

    def _submit(self, line: Line) -> None:
        """Asks for a line's answer; what can't be asked for is done."""
        try:
            text = self._prompt_of(decode(line.content, "the line"))
            line.asked = self._answering.ask(
                text,
                self._chosen.sampling,
                lambda note: output.note(f"note: line {line.number}: {note}"),
                ended=partial(self._end, line),
            )
        except BadInputError as error:
            line.error, line.has_ended = error, True

    def _end(self, line: Line) -> None:
        """In a thread of whoever answers."""
        line.has_ended = True
        self._events.put(line)

    def _written(self, line: Line) -> str:
        """The output's line for one of the input; one that failed is told, and leaves its place empty."""
        self.count += 1
        try:
            facts = {"text": ""} if line.is_empty else self._facts(line)
        except BadInputError as error:
            self.failed += 1
            self.hint = error.hint or self.hint
            output.note(f"error: line {line.number}: {error.message}")
            facts = {"error": error.message}
        if self._wanted.as_json:
            return output.json_line({"line": line.number, **facts})
        return in_one_line(facts.get("text", "")) + "\n"

    def _facts(self, line: Line) -> dict[str, Any]:
        if line.error:
            raise line.error
        assert line.asked is not None
        told = line.asked.told()
        self._statistics.add(told.figures)
        has_shape, context_length = self._chosen.sampling.grammar is not None, self._answering.context_length
        for note in notes_on(told, has_shape=has_shape, context_length=context_length):
            output.note(f"note: line {line.number}: {note}")
        return facts_of(extracted(told.reply, self._wanted.extract), told.figures)


def in_one_line(text: str) -> str:
    """The text with a space for each of its line ends, and for empty lines and the white space around them."""
    return " ".join(stripped for line in text.splitlines() if (stripped := line.strip()))


class _Statistics:
    """What `--stats` says of all lines together."""

    def __init__(self) -> None:
        self._started = time.monotonic()
        self._read = self._cached = self._made = 0

    def add(self, figures: Figures) -> None:
        self._read += figures.prompt_tokens
        self._cached += figures.cached_tokens
        self._made += figures.completion_tokens

    def text(self, count: int) -> str:
        seconds = time.monotonic() - self._started
        return (
            f"{count} lines in {seconds:.2f} s: prompts {self._read} tokens, {self._cached} of them cached, "
            f"answers {self._made} tokens ({self._made / seconds:.1f}/s)"
        )
