"""An answer's text, piece by piece, into what it says, what was thought before, and the calls of functions.

Only what may become a mark, and white space that may be cut off, is held back. What looks like a call and is none stays
text. All comes to the same however the text is cut into pieces.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from llmasos.chat.answers.calls import Tools
from llmasos.chat.answers.cursor import Cursor, MismatchError, Reading
from llmasos.chat.answers.families import AnswerForm, Family
from llmasos.chat.messages import Reply, ToolCall
from llmasos.engine.text import beginning_at_end

_BRACKET = r"[{\[]"
_NOTHING = "(?!)"


@dataclass(frozen=True, slots=True)
class Said:
    """A piece of what an answer says."""

    text: str


@dataclass(frozen=True, slots=True)
class Thought:
    """A piece of the reasoning before it."""

    text: str


Part = Said | Thought | ToolCall


class AnswerReader:
    """Reads one answer: `feed` it the text as it comes, then `finish`."""

    def __init__(self, form: AnswerForm) -> None:
        self._cursor = Cursor()
        self._parts: list[Part] = []
        self._reading = self._read(form)

    def feed(self, text: str) -> list[Part]:
        """What can be shown now."""
        if text:
            self._cursor.text += text
            next(self._reading)
        return self._take()

    def finish(self) -> list[Part]:
        """What was held back, now that nothing follows."""
        self._cursor.is_whole = True
        for _ in self._reading:
            raise AssertionError("a reader waits for text that will never come")
        return self._take()

    def _take(self) -> list[Part]:
        parts, self._parts = self._parts, []
        return parts

    def _read(self, form: AnswerForm) -> Reading[None]:
        has_thought = yield from self._read_reasoning(form)
        voice = _Voice(lambda text: self._parts.append(Said(text)), skips_space=has_thought)
        family = form.family
        if family is None:
            yield from self._say_until(voice, [])
        else:
            marks, is_bare = list(family.openers), family.bare is not None
            while opener := (yield from self._say_until(voice, marks, or_bracket=is_bare)):
                yield from self._read_calls(voice, opener, family, form.tools)
        voice.end()

    def _read_reasoning(self, form: AnswerForm) -> Reading[bool]:
        """The reasoning at the answer's beginning, white space around it left out; whether there is one."""
        if form.reasoning is None:
            return False
        cursor, start = self._cursor, self._cursor.position
        yield from cursor.space()
        is_marked = yield from cursor.accepts(form.reasoning.opener)
        if not (is_marked or form.is_reasoning):
            cursor.position = start
            return False
        voice = _Voice(lambda text: self._parts.append(Thought(text)), skips_space=True)
        yield from self._say_until(voice, [form.reasoning.closer])
        return True

    def _say_until(self, voice: _Voice, marks: Sequence[str], *, or_bracket: bool = False) -> Reading[str]:
        """Says what stands before the first of the marks, or bracket that begins a line, and takes that; empty: all."""
        cursor = self._cursor
        options = [*map(re.escape, marks), *([_BRACKET] if or_bracket else [])]
        pattern = re.compile("|".join(options) or _NOTHING)
        while True:
            if found := pattern.search(cursor.text, cursor.position):
                voice.say(cursor.text[cursor.position : found.start()])
                cursor.position = found.end()
                if found[0] in marks or voice.begins_line:
                    return found[0]
                voice.say(found[0])
                continue
            held = 0 if cursor.is_whole else beginning_at_end(cursor.text[cursor.position :], marks)
            end = len(cursor.text) - held
            voice.say(cursor.text[cursor.position : end])
            cursor.position = end
            if cursor.is_whole:
                return ""
            cursor.forget()
            yield

    def _read_calls(self, voice: _Voice, opener: str, family: Family, tools: Tools) -> Reading[None]:
        """What an opener leads to: calls, or text after all."""
        cursor, start = self._cursor, self._cursor.position
        read = family.openers.get(opener) or family.bare
        assert read is not None
        if opener not in family.openers:
            cursor.position -= 1  # the bracket is part of the call
        try:
            calls = yield from read(cursor, tools)
        except MismatchError:
            cursor.position = start
            voice.say(opener)
            return
        self._parts += calls
        voice.pause()
        yield from self._skip_closers(family)

    def _skip_closers(self, family: Family) -> Reading[None]:
        while True:
            start = self._cursor.position
            yield from self._cursor.space()
            for closer in family.closers:
                if (yield from self._cursor.accepts(closer)):
                    break
            else:
                self._cursor.position = start
                return


class _Voice:
    """Shows text, white space only when more follows: what stands around calls and reasoning is cut off.

    A text that goes on after a call does so behind the white space that stood before the call.
    """

    def __init__(self, show: Callable[[str], None], *, skips_space: bool) -> None:
        self._show = show
        self._held = ""
        self._skips_space = skips_space
        self._has_spoken = False

    @property
    def begins_line(self) -> bool:
        return not self._has_spoken or self._skips_space or "\n" in self._held

    def say(self, text: str) -> None:
        if self._skips_space:
            text = text.lstrip()
        spoken = text.rstrip()
        if spoken:
            self._show(self._held + spoken)
            self._held, self._has_spoken, self._skips_space = "", True, False
        self._held += text[len(spoken) :]

    def pause(self) -> None:
        """Here stands a call."""
        self._held = self._held if self._has_spoken else ""
        self._skips_space = True

    def end(self) -> None:
        """Nothing follows: white space at the end of a text that says something belongs to it."""
        if self._held and not self._skips_space:
            self._show(self._held)


def read_reply(text: str, form: AnswerForm) -> Reply:
    """A whole answer's text as a message."""
    reader = AnswerReader(form)
    return as_reply([*reader.feed(text), *reader.finish()])


def as_reply(parts: Iterable[Part]) -> Reply:
    """All the parts of an answer as one message."""
    given = list(parts)
    return Reply(
        content="".join(part.text for part in given if isinstance(part, Said)),
        reasoning="".join(part.text for part in given if isinstance(part, Thought)),
        tool_calls=tuple(part for part in given if isinstance(part, ToolCall)),
    )
