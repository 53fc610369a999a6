"""A model of a server that speaks in a chat. What it has read the server keeps, as long as it likes."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from llmasos.chat.messages import Message
from llmasos.chat.template import ChatTemplate
from llmasos.client.served import Question, ServedAsked, ServedModel
from llmasos.engine.figures import Figures
from llmasos.errors import BadInputError
from llmasos.formats.purpose import Purpose
from llmasos_cli.chat.speaker import PLAIN_STOP, PLAIN_TEMPLATE
from llmasos_cli.remote import ServerModel

if TYPE_CHECKING:
    from llmasos_cli.choices import Chosen


class ServerVoice:
    """`close` leaves the server (`speaker.Voice`)."""

    def __init__(self, model: ServerModel) -> None:
        with contextlib.ExitStack() as opened:
            self._model: ServedModel = opened.enter_context(model.connected(Purpose.TEXT, patient=True))
            self._opened = opened.pop_all()

    @property
    def has_template(self) -> bool:
        return self._model.about.has_template

    @property
    def own_system(self) -> str | None:
        return self._model.about.system if self.has_template else None

    @property
    def context_length(self) -> int:
        return self._model.about.context_length

    def ask(self, messages: Sequence[Message], chosen: Chosen, seed: int | None) -> ServedAsked:
        assert isinstance(chosen, ServerModel)
        return self._model.ask(self._question(messages, {**chosen.given, "seed": seed}))

    def ended(self, figures: Figures) -> None:
        pass

    def shorten(self, request: str, longest: int) -> str:
        options = {"temperature": 0, "max_tokens": longest, "think": False}
        asked = self._model.ask(self._question([{"role": "user", "content": request}], options))
        try:
            for _ in asked.pieces():  # Ctrl-C ends it
                pass
        except BadInputError:  # the turns are longer than the context
            return ""
        return asked.told().reply.content.strip()

    def count(self, text: str) -> int:
        return self._model.count(text)

    def count_prompt(self, messages: Sequence[Message], chosen: Chosen) -> int:
        if not self.has_template:
            return self.count(_plain(messages))
        has_shape = chosen.sampling.grammar is not None  # which leaves no room to think
        return self._model.count_prompt(self._conversation(messages), False if has_shape else chosen.chatting.think)

    def restore(self, path: Path | None) -> int:
        return 0

    def save(self, path: Path | None, *, waits: bool) -> None:
        pass

    def close(self) -> None:
        self._opened.close()

    def _question(self, messages: Sequence[Message], options: dict[str, Any]) -> Question:
        if self.has_template:
            return Question(self._conversation(messages), options)
        return Question(_plain(messages), {**options, "stop": [*options.get("stop", ()), PLAIN_STOP]})

    def _conversation(self, messages: Sequence[Message]) -> list[Message]:
        """The conversation knows its system prompt, the model's own too: the server is to add none."""
        has_system = any(message["role"] == "system" for message in messages)
        return list(messages) if has_system else self._model.conversation(messages, "")


def _plain(messages: Sequence[Message]) -> str:
    return ChatTemplate(PLAIN_TEMPLATE).render(messages)
