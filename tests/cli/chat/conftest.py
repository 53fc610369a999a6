"""Chats with a tiny model, whose answers a grammar decides."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from conftest import command
from doubles.terminal import Terminal
from doubles.tiny import TinyModel


@pytest.fixture(scope="session")
def talker(make_tiny) -> Path:
    """A tiny model with room for a conversation: every letter is a token to it."""
    return make_tiny(TinyModel(context_length=4096))


@pytest.fixture
def open_chat(talker: Path) -> Iterator[Callable[..., Terminal]]:
    """A chat in a terminal: `open_chat("--no-save", columns=20)`; it is ready for typing."""
    with ExitStack() as stack:

        def start(*arguments: str, columns: int = 80, rows: int = 24, **environment: str) -> Terminal:
            words = command("chat", talker, *arguments)
            terminal = stack.enter_context(Terminal(words, columns=columns, rows=rows, environment=environment))
            terminal.wait_for(lambda screen: "other.gguf ·" in screen or "/help" in screen and "dumb" in environment)
            return terminal

        yield start
