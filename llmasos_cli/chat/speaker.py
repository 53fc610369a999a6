"""Who speaks in a chat: asked for one answer at a time, with what is left in the context known.

A `Voice` is the model itself, in this process (`local_voice`) or at a server (`server_voice`).
"""

from __future__ import annotations

import threading
from collections.abc import Generator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from llmasos.chat.asked import Asked, Piece, Told
from llmasos.chat.fitting import Tools
from llmasos.chat.messages import Message
from llmasos.chat.overflow import SUMMARY_REQUEST
from llmasos.chat.sessions.history import Entry, messages_of
from llmasos.engine.figures import Figures
from llmasos_cli import output
from llmasos_cli.choices import Chosen

SECONDS_BETWEEN_TICKS = 0.05
PLAIN_TEMPLATE = (
    "{% for message in messages %}{{ message['role'] | capitalize }}: {{ message['content'] }}\n\n{% endfor %}"
    "{% if add_generation_prompt %}Assistant:{% endif %}"
)
PLAIN_STOP = "\nUser:"  # of a model without a template, which gets this one


@dataclass(frozen=True, slots=True)
class Usage:
    """How the context was used by the last answer, in tokens."""

    prompt: int = 0
    cached: int = 0
    completion: int = 0
    tokens_per_second: float = 0.0

    @property
    def all(self) -> int:
        return self.prompt + self.completion


class Voice(Protocol):
    """A model that answers messages. `own_system` is the system prompt that it brings."""

    @property
    def has_template(self) -> bool: ...
    @property
    def own_system(self) -> str | None: ...
    @property
    def context_length(self) -> int: ...
    def ask(self, messages: Sequence[Message], chosen: Chosen, seed: int | None) -> Asked:
        """Begins an answer, with the options of `chosen`."""

    def ended(self, figures: Figures) -> None:
        """Told of each answer that was asked for."""

    def shorten(self, request: str, longest: int) -> str:
        """What is answered to a request for a summary, in so many tokens; empty if it can't be made."""

    def count(self, text: str) -> int:
        """Tokens of a text."""

    def count_prompt(self, messages: Sequence[Message], chosen: Chosen) -> int:
        """Tokens of the prompt that messages make, a person's among them."""

    def restore(self, path: Path | None) -> int:
        """Takes in what a file holds of an earlier run; of how many tokens that is."""

    def save(self, path: Path | None, *, waits: bool) -> None:
        """Keeps what was read in a file, if that is worth it. Only the last time `waits` for the seconds it takes."""

    def close(self) -> None: ...


class Speaker:
    """A voice with the options in force (`chosen`) and the figures of its last answer (`usage`)."""

    def __init__(self, chosen: Chosen, voice: Voice) -> None:
        self.chosen = chosen
        self.usage = Usage()
        self.voice = voice

    @property
    def name(self) -> str:
        return self.chosen.name

    @property
    def own_system(self) -> str | None:
        return self.voice.own_system

    @property
    def context_length(self) -> int:
        return self.voice.context_length

    def answer(
        self, messages: Sequence[Message], stopping: threading.Event, *, seed: int | None
    ) -> Generator[Piece | None, None, Told]:
        """The pieces of an answer, None now and then while there is none; at last the whole is returned.

        `stopping` ends it, and so does leaving early; what came stays.
        """
        asked = self.voice.ask(messages, self.chosen, seed)
        for piece in asked.pieces(SECONDS_BETWEEN_TICKS):
            if stopping.is_set():
                asked.cancel()
            yield piece
        told = asked.told()
        self.voice.ended(told.figures)
        self.usage = self._usage(told.figures, messages)
        return told

    def _usage(self, figures: Figures, messages: Sequence[Message]) -> Usage:
        """A server does not tell the figures of an answer that was cut off."""
        prompt = figures.prompt_tokens or self.count_prompt(messages)
        return Usage(prompt, figures.cached_tokens, figures.completion_tokens, figures.tokens_per_second)

    # Counting and summarizing.

    def count(self, text: str) -> int:
        return self.voice.count(text)

    def count_prompt(self, messages: Sequence[Message]) -> int:
        """Tokens of the prompt that messages make; of none at all, 0."""
        if not any(message["role"] == "user" for message in messages):
            return sum(self.count(message["content"]) for message in messages)
        return self.voice.count_prompt(messages, self.chosen)

    def count_messages(self, entries: Sequence[Entry], system: str | None, summary: str = "") -> int:
        return self.count_prompt(messages_of(list(entries), system, summary))

    def fitting(self, system: str | None) -> Tools:
        return Tools(
            count=lambda entries, summary: self.count_messages(entries, system, summary), summarize=self._summarize
        )

    def _summarize(self, entries: Sequence[Entry], summary: str, longest: int) -> str:
        output.note("note: the context is full; the oldest turns are being summarized")
        told = [f"Before: {summary}"] if summary else []
        text = "\n\n".join([*told, *(f"{entry.role.capitalize()}: {entry.content}" for entry in entries)])
        return self.voice.shorten(f"{SUMMARY_REQUEST}\n\n{text}", longest) or summary

    # What was read, from one run to the next.

    def restore(self, path: Path | None) -> int:
        return self.voice.restore(path)

    def save(self, path: Path | None, *, waits: bool) -> None:
        self.voice.save(path, waits=waits)

    def close(self) -> None:
        self.voice.close()
