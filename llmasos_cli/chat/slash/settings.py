"""Slash commands about the model and its options: /set, /show, /model, /system, /tokens, /think."""

from __future__ import annotations

import typing
from dataclasses import Field, fields
from typing import Any

from llmasos.chat.sessions.history import messages_of
from llmasos.engine.options import ALL_OPTIONS
from llmasos.errors import LlmasosError, UsageError
from llmasos.settings import accepted, canonical_name, default_of, parse_value, value_type
from llmasos_cli import output
from llmasos_cli.chat.dialogue import Dialogue
from llmasos_cli.choices import Chosen, choose

DEFAULT, NOTHING = "default", "none"
KINDS: dict[str, tuple[type[Any], Field[Any]]] = {
    each.name: (kind, each) for kind in ALL_OPTIONS for each in fields(kind)
}
PLACES = ("sampling", "limits", "loading", "beams", "chatting")  # of the options in a Chosen
BAR_LENGTH = 40


def set_option(dialogue: Dialogue, argument: str) -> None:
    if not argument:
        for name, value in dialogue.flags.items():
            output.write_line(f"{name} = {_shown(value)}")
        if not dialogue.flags:
            output.note("no option was changed")
        return
    key, _, text = argument.partition(" ")
    name = option_name(key)
    if not text.strip():
        kind, each = KINDS[name]
        output.write_line(f"{name} = {_shown(_in_force(dialogue.speaker.chosen, name))}")
        output.note(each.metadata["help"])
        return
    flags = {other: value for other, value in dialogue.flags.items() if other != name}
    if text.strip() != DEFAULT:
        flags[name] = parse_option(name, text.strip())
    apply_flags(dialogue, flags)
    output.note(f"{name} = {_shown(_in_force(dialogue.speaker.chosen, name))}")


def option_name(key: str) -> str:
    """The option that a person means: dashes and other programs' names are understood."""
    name = canonical_name(key.lower().lstrip("-").replace("-", "_"))
    if name not in KINDS:
        import difflib

        near = difflib.get_close_matches(name, KINDS, n=2)
        hint = f"did you mean {' or '.join(near)}?" if near else "TAB behind /set offers all of them"
        raise UsageError(f"there is no option `{key}`", hint=hint)
    return name


def parse_option(name: str, text: str) -> Any:
    """The value as a flag of that name would take it."""
    kind, each = KINDS[name]
    if typing.get_origin(value_type(kind, each)) is tuple:
        text = text.encode("utf-8", "surrogatepass").decode("unicode_escape") if text in (r"\n", r"\t") else text
        return accepted(kind, each, [text], name)
    return accepted(kind, each, parse_value(kind, each, text, name), name)


def apply_flags(dialogue: Dialogue, flags: dict[str, Any], model: str | None = None) -> None:
    """Options, or another model, come into force; the model is loaded anew if that takes it.

    If that fails the old one is loaded again, and what failed is raised.
    """
    old = dialogue.speaker.chosen
    chosen = choose(model or old.reference, flags, offline=dialogue.offline, server=dialogue.server)
    if chosen.is_loaded_like(old):
        dialogue.speaker.chosen = chosen
        dialogue.flags = flags
        return
    if dialogue.saves and dialogue.session.history.entries:
        dialogue.speaker.save(dialogue.session.cache, waits=True)
    dialogue.speaker.close()
    try:
        dialogue.speaker = chosen.speaker(verbose=dialogue.verbose)
    except (LlmasosError, KeyboardInterrupt):
        dialogue.speaker = old.speaker(verbose=dialogue.verbose)
        raise
    dialogue.flags = flags


def change_model(dialogue: Dialogue, argument: str) -> None:
    if not argument:
        for name in dialogue.speaker.chosen.names():
            output.write_line(f"{'*' if name == dialogue.speaker.name else ' '} {name}")
        return
    apply_flags(dialogue, dialogue.flags, argument)
    speaker = dialogue.speaker
    dialogue.session.record({"event": "model", "name": speaker.chosen.reference})
    output.note(f"{speaker.name}, context {speaker.context_length:,}; the conversation goes on")


def system(dialogue: Dialogue, argument: str) -> None:
    if not argument:
        if dialogue.system:
            output.write_text(dialogue.system)
        else:
            output.note("there is no system prompt")
        return
    content = "" if argument == NOTHING else argument.strip('"').strip() if argument.startswith('"""') else argument
    dialogue.session.record({"event": "system", "content": content})
    output.note(f"the system prompt has {dialogue.speaker.count(content):,} tokens" if content else "no system prompt")


def think(dialogue: Dialogue, argument: str) -> None:
    if argument not in ("on", "off"):
        state = {None: "left to the model", True: "on", False: "off"}[dialogue.speaker.chosen.chatting.think]
        raise UsageError(f"/think is on or off; it is {state} now")
    apply_flags(dialogue, dialogue.flags | {"think": argument == "on"})
    output.note(f"reasoning is {argument}")


def show(dialogue: Dialogue, argument: str) -> None:
    speaker, session = dialogue.speaker, dialogue.session
    place = str(session.path) if dialogue.saves and session.path else "not kept"
    facts = {
        "model": speaker.name,
        "context": f"{speaker.context_length:,} tokens",
        "session": place,
        "messages": str(len(session.history.path())),
        "branches": str(len(session.history.leaves())),
        "system": dialogue.system or NOTHING,
    }
    width = max(map(len, KINDS))
    for fact, text in facts.items():
        output.write_line(f"{fact:{width}}  {output.visible_line(text)}")
    for name, (_, each) in KINDS.items():
        if (value := _in_force(speaker.chosen, name)) != default_of(each):
            output.write_line(f"{name:{width}}  {output.visible_line(_shown(value))}")
    output.note("all other options have their defaults; /set KEY says what one does")


def tokens(dialogue: Dialogue, _: str) -> None:
    speaker = dialogue.speaker
    entries, summary = dialogue.session.history.remembered()
    told = messages_of([], dialogue.system, summary)
    system_tokens = sum(speaker.count(message["content"]) for message in told)
    roles = {
        role: sum(speaker.count(each.content) for each in entries if each.role == role)
        for role in ("user", "assistant")
    }
    whole = speaker.count_messages(entries, dialogue.system, summary)
    length = speaker.context_length
    rows = {
        "system prompt" + (" and summary" if summary else ""): system_tokens,
        "your messages": roles["user"],
        "answers": roles["assistant"],
        "the template": max(0, whole - system_tokens - sum(roles.values())),
        "free": max(0, length - whole),
    }
    width = max(map(len, rows))
    for name, count in rows.items():
        bar = "#" * round(BAR_LENGTH * count / length)
        output.write_line(f"{name.ljust(width)}  {count:7,}  {bar}".rstrip())
    left_out = len(dialogue.session.history.path()) - len(entries)
    if left_out:
        output.note(f"{left_out} older messages are no longer given to the model")
    usage = speaker.usage
    if usage.all:
        read = f"{usage.prompt - usage.cached:,} tokens read, {usage.cached:,} remembered"
        output.note(f"the last answer: {read}, {usage.completion:,} written")


def _in_force(chosen: Chosen, name: str) -> Any:
    return next(getattr(part, name) for place in PLACES if hasattr(part := getattr(chosen, place), name))


def _shown(value: Any) -> str:
    if value is None:
        return "not set"
    if isinstance(value, bool):
        return "on" if value else "off"
    return ", ".join(map(repr, value)) or NOTHING if isinstance(value, (tuple, list)) else str(value)
