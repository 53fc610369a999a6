"""A conversation with all its branches, as plain data that grows by events. Knows nothing of files or models.

Messages form a tree: each names the one that it follows. The conversation is the path from the beginning (0) to `tip`;
taking back, answering again and editing move the tip, so nothing that was said is ever lost.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from llmasos.chat.messages import Message
from llmasos.errors import BadInputError

BEGINNING = 0
ROLES = ("user", "assistant")
CUT = "cut"  # why an answer ended that nobody saw the end of
Event = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Entry:
    """A message in its place. `finish_reason` of an answer says why it ended."""

    id: int
    parent: int
    role: str
    content: str
    reasoning: str = ""
    finish_reason: str = ""


@dataclass(slots=True)
class History:
    """`forgotten` says of a message that the model is no longer given it or what stands before, but a summary.

    `growing` is what has come of an answer that is not whole yet: what is said, and what is thought.
    """

    entries: dict[int, Entry] = field(default_factory=dict)
    tip: int = BEGINNING
    system: str | None = None
    model: str = ""
    forgotten: dict[int, str] = field(default_factory=dict)
    growing: tuple[str, str] = ("", "")

    def apply(self, event: Event) -> None:
        """Raises BadInputError for what is no event; then nothing has changed."""
        try:
            change = _CHANGES[event["event"]]
            change(self, event)
        except (KeyError, TypeError, ValueError) as error:
            raise BadInputError("it is no event of a conversation") from error

    def path(self, tip: int | None = None) -> list[Entry]:
        """The messages from the beginning to the tip, or to another one."""
        found = []
        place = self.tip if tip is None else tip
        while place != BEGINNING:
            found.append(self.entries[place])
            place = found[-1].parent
        return found[::-1]

    def leaves(self) -> list[int]:
        """The last message of every branch, in the order in which they were said."""
        followed = {entry.parent for entry in self.entries.values()}
        return [number for number in sorted(self.entries) if number not in followed]

    def last(self, role: str) -> Entry | None:
        """The last message of that role on the path."""
        return next((entry for entry in reversed(self.path()) if entry.role == role), None)

    def remembered(self) -> tuple[list[Entry], str]:
        """The messages of the path that a model is given, and the summary of those before; empty if there is none."""
        path = self.path()
        for index in range(len(path) - 1, -1, -1):
            if path[index].id in self.forgotten:
                return path[index + 1 :], self.forgotten[path[index].id]
        return path, ""

    # What may happen, as events.

    def message(self, role: str, content: str, reasoning: str = "", finish_reason: str = "") -> Event:
        """Something is said at the tip."""
        number = max(self.entries, default=BEGINNING) + 1
        event = {"event": "message", "id": number, "parent": self.tip, "role": role, "content": content}
        more = {"reasoning": reasoning, "finish_reason": finish_reason}
        return event | {name: value for name, value in more.items() if value}

    def unfinished(self) -> Event | None:
        """The message that a cut off answer makes, if there is one."""
        said, thought = self.growing
        return self.message("assistant", said, thought, CUT) if said or thought else None


def move(tip: int) -> Event:
    """The conversation goes on from another message."""
    return {"event": "tip", "id": tip}


def messages_of(entries: list[Entry], system: str | None, summary: str = "") -> list[Message]:
    """What a model is given: turns that alternate, as most templates insist, behind the system prompt and the summary.

    A question that got no answer becomes one with the next.
    """
    told = [part for part in (system, f"What was said before, in short:\n{summary}" if summary else "") if part]
    messages: list[dict[str, Any]] = [{"role": "system", "content": "\n\n".join(told)}] if told else []
    for entry in entries:
        if messages and messages[-1]["role"] == entry.role:
            messages[-1] = {"role": entry.role, "content": f"{messages[-1]['content']}\n\n{entry.content}"}
        else:
            messages.append({"role": entry.role, "content": entry.content})
    return list(messages)


def _add_message(history: History, event: Event) -> None:
    number, parent, role = event["id"], event["parent"], event["role"]
    texts = [event["content"], event.get("reasoning", ""), event.get("finish_reason", "")]
    if type(number) is not int or number <= BEGINNING or number in history.entries or role not in ROLES:
        raise ValueError
    if type(parent) is not int or not all(isinstance(text, str) for text in texts):
        raise ValueError
    if parent not in history.entries and parent != BEGINNING:
        parent = history.tip  # the line of what it follows was damaged
    history.entries[number] = Entry(number, parent, role, *texts)
    history.tip, history.growing = number, ("", "")


def _move_tip(history: History, event: Event) -> None:
    if event["id"] != BEGINNING and event["id"] not in history.entries:
        raise ValueError
    history.tip, history.growing = event["id"], ("", "")


def _set_system(history: History, event: Event) -> None:
    content = event["content"]
    if not (content is None or isinstance(content, str)):
        raise ValueError
    history.system = content


def _set_model(history: History, event: Event) -> None:
    if not isinstance(event["name"], str):
        raise ValueError
    history.model = event["name"]


def _forget(history: History, event: Event) -> None:
    through, summary = event["through"], event["summary"]
    if through not in history.entries or not isinstance(summary, str):
        raise ValueError
    history.forgotten[through] = summary


def _grow(history: History, event: Event) -> None:
    said, thought = event.get("said", ""), event.get("thought", "")
    if not (isinstance(said, str) and isinstance(thought, str)):
        raise ValueError
    history.growing = (history.growing[0] + said, history.growing[1] + thought)


_CHANGES = {
    "message": _add_message,
    "tip": _move_tip,
    "system": _set_system,
    "model": _set_model,
    "forgotten": _forget,
    "piece": _grow,
}
