"""Modelfiles, Ollama's recipes for models: read, checked and written. Nothing that they name is looked at here."""

from __future__ import annotations

import difflib
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from llmasos.errors import BadInputError

ROLES = ("system", "user", "assistant")
IGNORED = ("REQUIRES", "RENDERER", "PARSER", "DRAFT")  # of Ollama's own: they say how its programs read the model
COMMANDS = ("FROM", "PARAMETER", "TEMPLATE", "SYSTEM", "ADAPTER", "LICENSE", "MESSAGE", *IGNORED)
LISTED = "stop"  # the parameter that may be given several times
_SPACES, _LINE_END = re.compile(r"[ \t]*"), re.compile(r"\r?\n|\r|\Z")
_WORD = re.compile(r"[^\s\"]+")
_GO = re.compile(
    r"\{\{-?\s*(?:(?:if|with|range|else if|template|block|define)\b[^}]*?)?\s*[($]*[.$][A-Za-z]|\{\{-?\s*end\s*-?\}\}"
)
_QUOTES = '"""'


@dataclass(frozen=True, slots=True)
class Recipe:
    """What a model is to be made of: `base` is a name, a reference or a path.

    Parameters have Ollama's names and JSON values; messages are pairs of a role and a text. None: as the base has it.
    `ignored` are commands that mean nothing here.
    """

    base: str
    parameters: Mapping[str, Any] = field(default_factory=dict)
    template: str | None = None
    system: str | None = None
    adapter: str | None = None
    licenses: tuple[str, ...] = ()
    messages: tuple[tuple[str, str], ...] = ()
    ignored: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class _Command:
    line: int
    name: str
    word: str  # what a PARAMETER or a MESSAGE is called
    value: str


def read_modelfile(text: str) -> Recipe:
    """The recipe that a Modelfile is. Raises BadInputError with the line of what is wrong."""
    commands = list(_commands(text))
    found = {name: [each for each in commands if each.name == name] for name in COMMANDS}
    if not found["FROM"]:
        raise BadInputError("the Modelfile names no model to begin with", hint="write a line such as `FROM smollm2`")
    for name in ("FROM", "ADAPTER"):
        if len(found[name]) > 1:
            raise _wrong(found[name][1].line, f"there is a {name} already in line {found[name][0].line}")
    return Recipe(
        found["FROM"][0].value,
        _parameters(found["PARAMETER"]),
        template=_last(found["TEMPLATE"]),
        system=_last(found["SYSTEM"]),
        adapter=_last(found["ADAPTER"]),
        licenses=tuple(each.value for each in found["LICENSE"]),
        messages=tuple(_message(each) for each in found["MESSAGE"]),
        ignored=tuple(dict.fromkeys(each.name for each in commands if each.name in IGNORED)),
    )


def modelfile_text(recipe: Recipe) -> str:
    """A Modelfile that is read as the same recipe."""
    lines = [f"FROM {recipe.base}"]
    lines += [f"{name} {_quoted(text)}" for name, text in _single_texts(recipe) if text is not None]
    for name, value in recipe.parameters.items():
        lines += [f"PARAMETER {name} {_written(each)}" for each in (value if isinstance(value, list) else [value])]
    lines += [f"MESSAGE {role} {_quoted(text)}" for role, text in recipe.messages]
    lines += [f"LICENSE {_quoted(text)}" for text in recipe.licenses]
    return "\n".join(lines) + "\n"


def is_go_template(text: str) -> bool:
    """True for a template in the language of Go, in which Ollama's are; prompts are made by those in Jinja."""
    return _GO.search(text) is not None


def _single_texts(recipe: Recipe) -> Sequence[tuple[str, str | None]]:
    return ("TEMPLATE", recipe.template), ("SYSTEM", recipe.system), ("ADAPTER", recipe.adapter)


def _commands(text: str) -> Iterator[_Command]:
    place = 0
    text = text.removeprefix("\ufeff")
    while place < len(text):
        line = text.count("\n", 0, place) + 1
        place = _after(_SPACES, text, place)
        end = _LINE_END.search(text, place)
        assert end is not None
        if place == end.start() or text[place] == "#":
            place = end.end()
            continue
        name, place = _word(text, place, line)
        name = name.upper()
        if name not in COMMANDS:
            raise _unknown(name, line)
        word = ""
        if name in ("PARAMETER", "MESSAGE"):
            word, place = _word(text, place, line)
        value, place = _value(text, place, line)
        if not value and name not in ("SYSTEM", "TEMPLATE", "MESSAGE"):
            raise _wrong(line, f"{name} has no value")
        yield _Command(line, name, word.lower(), value)


def _unknown(name: str, line: int) -> BadInputError:
    near = difflib.get_close_matches(name, COMMANDS, n=1)
    hint = f"did you mean {near[0]}?" if near else f"commands are {', '.join(COMMANDS)}"
    return _wrong(line, f"there is no command `{name}`", hint)


def _word(text: str, place: int, line: int) -> tuple[str, int]:
    match = _WORD.match(text, _after(_SPACES, text, place))
    if match is None:
        raise _wrong(line, "something is missing at its end")
    return match[0], match.end()


def _value(text: str, place: int, line: int) -> tuple[str, int]:
    """What stands to the end of the line, or between quotes, three of which may hold many lines; and where it ends."""
    place = _after(_SPACES, text, place)
    end = _LINE_END.search(text, place)
    assert end is not None
    for quotes in (_QUOTES, '"'):
        if not text.startswith(quotes, place):
            continue
        closing = text.find(quotes, place + len(quotes))
        if quotes == _QUOTES and closing < 0:
            raise _wrong(line, 'the text after `"""` does not end', 'close it with another `"""`')
        while quotes == _QUOTES and text.startswith('"', closing + len(quotes)):
            closing += 1  # a text may end with a quote of its own
        if quotes == '"' and not (closing >= 0 and not text[closing + 1 : end.start()].strip()):
            break  # a text that has quotes, and does not stand between them
        rest = _LINE_END.search(text, closing)
        assert rest is not None
        if behind := text[closing + len(quotes) : rest.start()].strip():
            raise _wrong(line, f"`{behind[:40]}` stands behind the text's closing quotes")
        return text[place + len(quotes) : closing], rest.end()
    return text[place : end.start()].strip(), end.end()


def _after(pattern: re.Pattern[str], text: str, place: int) -> int:
    match = pattern.match(text, place)
    return match.end() if match else place


def _parameters(commands: Sequence[_Command]) -> dict[str, Any]:
    values: dict[str, Any] = {}
    for each in commands:
        if each.word == LISTED:
            values.setdefault(LISTED, []).append(each.value)
        else:
            values[each.word] = _read(each.value)
    return values


def _read(value: str) -> Any:
    """A number or a truth value where it is one, else the text."""
    for kind in (int, float):
        try:
            number = kind(value)
        except ValueError:
            continue
        return number if math.isfinite(number) else value
    return {"true": True, "false": False}.get(value.lower(), value)


def _written(value: Any) -> str:
    return _quoted(value) if isinstance(value, str) else str(value).lower()


def _quoted(text: str) -> str:
    """A text as `_value` reads it back; where neither form can hold it, the quotes in it are parted by a blank."""
    is_plain = text and text == text.strip() and not re.search(r"[\r\n]", text) and '"' not in text
    return text if is_plain else _QUOTES + text.replace(_QUOTES, '" " "') + _QUOTES


def _message(command: _Command) -> tuple[str, str]:
    if command.word not in ROLES:
        raise _wrong(command.line, f"there is no role `{command.word}`", f"roles are {', '.join(ROLES)}")
    return command.word, command.value


def _last(commands: Sequence[_Command]) -> str | None:
    return commands[-1].value if commands else None


def _wrong(line: int, problem: str, hint: str | None = None) -> BadInputError:
    return BadInputError(f"line {line} of the Modelfile: {problem}", hint=hint)
