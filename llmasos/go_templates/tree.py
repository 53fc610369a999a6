"""Templates in the language of Go, as far as those of chats go: their text as a tree.

The language: https://pkg.go.dev/text/template. There are no definitions of templates by name here.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from llmasos.errors import BadInputError


@dataclass(frozen=True, slots=True)
class Value:
    """A literal as Jinja writes it too."""

    text: str


@dataclass(frozen=True, slots=True)
class Field:
    """Fields of what a dot means (`base` is "."), the whole data ("$"), a variable ("$name"), or an expression."""

    base: str | Expression
    names: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Call:
    function: str
    arguments: tuple[Expression, ...]


Expression = Value | Field | Call


@dataclass(frozen=True, slots=True)
class Print:
    value: Expression


@dataclass(frozen=True, slots=True)
class If:
    """`is_dot`: in its body, what was asked for is what a dot means (`with`)."""

    condition: Expression
    body: tuple[Node, ...]
    otherwise: tuple[Node, ...]
    is_dot: bool = False


@dataclass(frozen=True, slots=True)
class Range:
    """`variables` are for the value, or for index and value."""

    values: Expression
    variables: tuple[str, ...]
    body: tuple[Node, ...]
    otherwise: tuple[Node, ...]


@dataclass(frozen=True, slots=True)
class Set:
    """A variable is declared (`is_new`), or given another value."""

    name: str
    value: Expression
    is_new: bool


@dataclass(frozen=True, slots=True)
class Leave:
    """`break` or `continue`."""

    word: str


Node = str | Print | If | Range | Set | Leave  # a str is text that stands for itself

_BEGIN = re.compile(r"\{\{(-\s)?\s*")
_END = re.compile(r"\s*((?<=\s)-)?\}\}")
_COMMENT = re.compile(r"/\*.*?\*/", re.DOTALL)
_TOKEN = re.compile(
    r"""\s*(
    "(?:\\.|[^"\\\n])*" | `[^`]*` | -?\d+(?:\.\d+)?\b  # a literal
    | [.$][\w.$]*  # fields
    | \w+
    | := | [=|(,] | \)(?:\.\w+)*  # with the fields of what a parenthesis makes
    )""",
    re.VERBOSE,
)
_ESCAPES = re.compile(r'\\(?![nrtbf\\"]|x[0-9a-fA-F]{2}|u[0-9a-fA-F]{4})')
SHOWN = 40  # characters of an action that is not understood
_CONSTANTS = {"true": "true", "false": "false", "nil": "none"}


def parse(text: str) -> tuple[Node, ...]:
    """The nodes of a template. Raises BadInputError for what is none, and for what is not known here."""
    reader = _Reader(list(_pieces(text)))
    nodes, ending = reader.nodes()
    if ending:
        raise BadInputError(f"{{{{ {' '.join(ending)} }}}} ends nothing")
    return nodes


def _pieces(text: str) -> Iterator[str | list[str]]:
    """Text, and actions as lists of their tokens."""
    place, is_trimmed = 0, False
    while begin := _BEGIN.search(text, place):
        before = text[place : begin.start()]
        before = before.lstrip() if is_trimmed else before
        yield before.rstrip() if begin[1] else before
        tokens, end = _action(text, begin.end())
        if tokens is not None:
            yield tokens
        place, is_trimmed = end.end(), bool(end[1])
    yield text[place:].lstrip() if is_trimmed else text[place:]


def _action(text: str, place: int) -> tuple[list[str] | None, re.Match[str]]:
    """The tokens from a place on, none of a comment, and where they end."""
    begun, tokens = place, list[str]()
    if comment := _COMMENT.match(text, place):
        place = comment.end()
    while not (end := _END.match(text, place)):
        token = _TOKEN.match(text, place)
        if token is None or comment:
            raise BadInputError(f"{{{{ {text[begun : begun + SHOWN]} is not understood")
        tokens.append(token[1])
        place = token.end()
    return None if comment else tokens, end


class _Reader:
    """From pieces to nodes."""

    def __init__(self, pieces: Sequence[str | list[str]]) -> None:
        self._pieces = iter(pieces)

    def nodes(self) -> tuple[tuple[Node, ...], list[str]]:
        """What comes up to an `end` or `else`, and the tokens of that one; none at the end of the template."""
        found: list[Node] = []
        for piece in self._pieces:
            if isinstance(piece, str):
                found += [piece] if piece else []
            elif piece[:1] in (["end"], ["else"]):
                return tuple(found), piece
            else:
                found.append(self._node(piece))
        return tuple(found), []

    def _node(self, tokens: list[str]) -> Node:
        match tokens:
            case ["if" | "with", *_]:
                return self._if(tokens)
            case ["range", *rest]:
                variables, rest = _declared(rest)
                return Range(_expression(rest), variables, *self._branches())
            case ["break" | "continue" as word]:
                return Leave(word)
            case [name, ":=" | "=" as sign, *rest] if name.startswith("$"):
                return Set(name, _expression(rest), is_new=sign == ":=")
        return Print(_expression(tokens))

    def _if(self, tokens: list[str]) -> If:
        word, *condition = tokens
        return If(_expression(condition), *self._branches(), is_dot=word == "with")

    def _branches(self) -> tuple[tuple[Node, ...], tuple[Node, ...]]:
        """What follows up to the `end`, and after an `else`."""
        body, ending = self.nodes()
        otherwise: tuple[Node, ...] = ()
        if ending[:2] in (["else", "if"], ["else", "with"]):
            return body, (self._if(ending[1:]),)
        if ending == ["else"]:
            otherwise, ending = self.nodes()
        if ending != ["end"]:
            raise BadInputError("an {{ end }} is missing")
        return body, otherwise


def _declared(tokens: list[str]) -> tuple[tuple[str, ...], list[str]]:
    if ":=" not in tokens:
        return (), tokens
    place = tokens.index(":=")
    return tuple(token for token in tokens[:place] if token != ","), tokens[place + 1 :]


def _expression(tokens: list[str]) -> Expression:
    rest = list(tokens)
    found = _pipeline(rest)
    if rest:
        raise BadInputError(f"{{{{ {' '.join(tokens)} }}}} is not understood")
    return found


def _pipeline(rest: list[str]) -> Expression:
    """Takes the tokens of commands from the front; each is given what the one before it makes, as its last argument."""
    made = _command(rest, ())
    while rest[:1] == ["|"]:
        del rest[0]
        made = _command(rest, (made,))
    return made


def _command(rest: list[str], last: tuple[Expression, ...]) -> Expression:
    operands = []
    function = rest.pop(0) if rest and rest[0].isidentifier() and rest[0] not in _CONSTANTS else None
    while rest and rest[0][0] not in "|)":
        operands.append(_operand(rest))
    if function:
        return Call(function, (*operands, *last))
    if not operands:
        raise BadInputError("an action is empty")
    if len(operands) != 1 or last:
        raise BadInputError("a value is given arguments")
    return operands[0]


def _operand(rest: list[str]) -> Expression:
    token = rest.pop(0)
    if token == "(":
        inner = _pipeline(rest)
        if not rest:
            raise BadInputError("a parenthesis is not closed")
        names = _names(rest.pop(0)[1:])
        return Field(inner, names) if names else inner
    if token[0] in ".$":
        base = "." if token[0] == "." else token.partition(".")[0]
        return Field(base, _names(token.removeprefix(base) if base != "." else token))
    if token in _CONSTANTS:
        return Value(_CONSTANTS[token])
    if token[0] == "`":
        return Value(literal(token[1:-1]))
    if token[0] == '"' and not _ESCAPES.search(token.replace("\\\\", "")):
        return Value(token)
    if token[0].isdigit() or token[0] == "-":
        return Value(token)
    raise BadInputError(f"{token} is not known here")


def _names(path: str) -> tuple[str, ...]:
    return tuple(name for name in path.split(".") if name)


def literal(text: str) -> str:
    """A text as Go and Jinja both write it."""
    return '"' + re.sub(r'[\\"\x00-\x1f\x7f]', _escaped, text) + '"'


def _escaped(found: re.Match[str]) -> str:
    return f"\\{found[0]}" if found[0] in '\\"' else {"\n": "\\n", "\t": "\\t"}.get(found[0], f"\\x{ord(found[0]):02x}")
