"""Conversations for tests: strategies of what people and models do in one, and how that is done to a session."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass

from hypothesis import strategies

from llmasos.chat.sessions.history import BEGINNING, Event, History, move

texts = strategies.text(max_size=30)  # half surrogate pairs and line separators too


@dataclass(frozen=True)
class Deed:
    """Something that is done in a conversation; `number` chooses among what there is."""

    kind: str
    text: str = ""
    number: int = 0


KINDS = ["say", "answer", "undo", "regenerate", "edit", "branch", "system", "model", "forget", "piece"]
deeds = strategies.builds(Deed, strategies.sampled_from(KINDS), texts, strategies.integers(0, 20))


def do(deed: Deed, history: History, record: Callable[[Event], None]) -> None:
    """Does it as the chat does, where there is something to do it to."""
    path, question = history.path(), history.last("user")
    if deed.kind == "say":
        record(history.message("user", deed.text))
    elif deed.kind == "answer":
        record(history.message("assistant", deed.text, deed.text[:5], "stop"))
    elif deed.kind in ("undo", "regenerate") and question:
        record(move(question.parent if deed.kind == "undo" else question.id))
    elif deed.kind == "edit" and path:
        record(move(path[deed.number % len(path)].parent))
        record(history.message("user", deed.text))
    elif deed.kind == "branch":
        leaves = [BEGINNING, *history.leaves()]
        record(move(leaves[deed.number % len(leaves)]))
    elif deed.kind == "system":
        record({"event": "system", "content": deed.text})
    elif deed.kind == "model":
        record({"event": "model", "name": deed.text})
    elif deed.kind == "forget" and path:
        record({"event": "forgotten", "through": path[deed.number % len(path)].id, "summary": deed.text})
    elif deed.kind == "piece":
        record({"event": "piece", "said": deed.text})


def answering(text: str) -> tuple[str, ...]:
    """Flags that make a model answer just that."""
    return "--temperature", "0", "--grammar", f"root ::= {json.dumps(text, ensure_ascii=False)}"
