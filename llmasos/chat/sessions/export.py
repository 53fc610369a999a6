"""A conversation for others: as Markdown to read, as JSON in the form of OpenAI's messages."""

from __future__ import annotations

import json
from typing import Any

from llmasos.chat.sessions.history import History

FORMS = ("md", "json")
SPEAKERS = {"user": "You", "assistant": "Answer"}


def export(history: History, name: str, form: str) -> str:
    """The path to the tip, whole, with what a model is no longer given; `form` is one of FORMS."""
    return _as_json(history, name) if form == "json" else _as_markdown(history, name)


def _as_markdown(history: History, name: str) -> str:
    parts = [f"# {name or 'Conversation'}"]
    if history.model:
        parts.append(f"Model: {history.model}")
    if history.system:
        parts += ["## System", history.system.strip()]
    for entry in history.path():
        parts += [f"## {SPEAKERS[entry.role]}", entry.content.strip()]
    return "\n\n".join(parts) + "\n"


def _as_json(history: History, name: str) -> str:
    system = [{"role": "system", "content": history.system}] if history.system else []
    messages: list[dict[str, Any]] = [*system]
    for entry in history.path():
        reasoning = {"reasoning_content": entry.reasoning} if entry.reasoning else {}
        messages.append({"role": entry.role, "content": entry.content, **reasoning})
    return json.dumps({"name": name, "model": history.model, "messages": messages}, ensure_ascii=False, indent=2) + "\n"
