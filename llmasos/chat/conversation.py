"""From the messages of a conversation to the tokens of a prompt."""

from __future__ import annotations

from collections.abc import Sequence

from llmasos.chat.template import ChatTemplate, Message
from llmasos.engine.model import Model
from llmasos.errors import BadInputError

ROLES = ("system", "user", "assistant", "tool")


def prompt_tokens(model: Model, template: ChatTemplate, messages: Sequence[Message]) -> list[int]:
    """The prompt at whose end the model's next message begins. Raises BadInputError for messages that are none.

    Where a template knows no system message, its text goes before the first question.
    """
    _require_messages(messages)
    rendered = _render(model, template, messages)
    bos = model.special_text("bos")
    begins_with_bos = bool(bos) and rendered.startswith(bos)
    return model.tokenize(rendered, add_special=not begins_with_bos, parse_special=True)


def _require_messages(messages: Sequence[Message]) -> None:
    if not messages:
        raise BadInputError("there are no messages", hint='such as [{"role": "user", "content": "Hello"}]')
    for number, message in enumerate(messages):
        if message.get("role") not in ROLES or not isinstance(message.get("content"), str):
            raise BadInputError(
                f"message {number} is none", hint=f"it needs a role ({', '.join(ROLES)}) and a content that is text"
            )


def _render(model: Model, template: ChatTemplate, messages: Sequence[Message]) -> str:
    bos, eos = model.special_text("bos"), model.special_text("eos")
    try:
        return template.render(messages, bos=bos, eos=eos)
    except BadInputError:
        if len(messages) < 2 or messages[0]["role"] != "system":
            raise
        system, first, *rest = messages
        joined = {**first, "content": f"{system['content']}\n\n{first['content']}"}
        return template.render([joined, *rest], bos=bos, eos=eos)
