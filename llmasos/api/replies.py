"""Messages of a chat: what is asked of the engine for one, and a stream of text as its parts.

Leaving a stream early ends the answer behind it.
"""

from __future__ import annotations

import contextlib
from collections.abc import AsyncGenerator, Generator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from llmasos.api.requests import Chatting, Request, make_request, require_one, split_chatting
from llmasos.chat.answers.families import AnswerForm
from llmasos.chat.answers.reader import AnswerReader, Part, Said
from llmasos.chat.conversation import Chat, ChatPrompt
from llmasos.chat.messages import Message, as_messages, stored_messages
from llmasos.engine.options import ChatOptions
from llmasos.locate import Located
from llmasos.settings import configured, layered

Conversation = str | Sequence[Message]  # a question, or all messages


def ask(
    chat: Chat, messages: Conversation, wanted: Chatting, own: Mapping[str, Any], located: Located
) -> tuple[ChatPrompt, Request]:
    """The prompt of a conversation, and what is asked of the one answer to it.

    `own` are the model's own options; its own system prompt and messages, if it was `located` with such, go before a
    question that comes without others.
    """
    chosen, others = split_chatting(wanted)
    request = make_request(others, own, draws=True)
    require_one(request)
    system = chosen.pop("system", None)
    if isinstance(messages, str):
        messages = as_messages(
            messages, located.system if system is None else system, stored_messages(located.messages)
        )
    elif system is not None:
        messages = [{"role": "system", "content": system}, *messages]
    think = layered(ChatOptions, own, *configured(ChatOptions), chosen).think
    has_shape = request.sampling.grammar is not None
    prompt = chat.prompt(messages, **{**chosen, "think": think}, has_shape=has_shape)
    sampling = replace(request.sampling, grammar=prompt.grammar) if prompt.grammar else request.sampling
    return prompt, replace(request, sampling=sampling, shown=prompt.shown, question_at=prompt.question_at)


def parts_of(pieces: Generator[str], form: AnswerForm) -> Generator[Part]:
    reader = AnswerReader(form)
    with contextlib.closing(pieces):
        for piece in pieces:
            yield from reader.feed(piece)
    yield from reader.finish()


async def parts_of_async(pieces: AsyncGenerator[str], form: AnswerForm) -> AsyncGenerator[Part]:
    reader = AnswerReader(form)
    async with contextlib.aclosing(pieces):
        async for piece in pieces:
            for part in reader.feed(piece):
                yield part
    for part in reader.finish():
        yield part


def said(parts: Generator[Part]) -> Generator[str]:
    """What a message says, without its reasoning and its calls."""
    with contextlib.closing(parts):
        for part in parts:
            if isinstance(part, Said):
                yield part.text


async def said_async(parts: AsyncGenerator[Part]) -> AsyncGenerator[str]:
    """`said` for asyncio."""
    async with contextlib.aclosing(parts):
        async for part in parts:
            if isinstance(part, Said):
                yield part.text
