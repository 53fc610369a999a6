"""Go's templates as Jinja's, so that whoever stored one need not know the other language.

A template sees what Ollama shows it: `.Messages` with all system prompts in `.System`, or, one that knows no messages,
`.System`, `.Prompt` and `.Response` turn by turn, and the last turn up to `.Response`.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from llmasos.errors import BadInputError
from llmasos.go_templates.tree import Call, Expression, Field, If, Leave, Node, Print, Range, Set, Value, literal, parse

DATA: Final = {
    "System": "go.system",
    "Messages": "go.said",
    "Tools": "(tools or [])",
    "Prompt": "prompt",
    "Response": "response",
    "Suffix": "''",
    "First": "go.is_first",
    "Think": "(enable_thinking or false)",
    "IsThinkSet": "(enable_thinking is defined)",
    "ThinkLevel": "''",
}
OF_A_TURN: Final = {**DATA, "System": "system", "Tools": "[]"}
FIELDS: Final = {
    name: "".join(f"_{letter.lower()}" if letter.isupper() else letter for letter in name).removeprefix("_")
    for name in (
        *("Role", "Content", "Images", "ToolCalls", "ToolName", "Function", "Name", "Arguments", "Parameters"),
        *("Properties", "Description", "Type", "Required", "Items", "Enum"),
    )
} | {"Thinking": "reasoning_content", "ID": "id", "ToolCallID": "tool_call_id"}
MAPS: Final = {"Properties", "Arguments"}  # whose keys Go puts in order

# Neighbours of one role become one message, and system prompts are known together.
GATHERED: Final = """
{%- set go = namespace(systems=[], said=[], is_first=true) -%}
{%- for message in messages -%}
  {%- set content = message.content or '' -%}
  {%- if message.role == 'system' -%}
    {%- set go.systems = go.systems + [content] -%}
  {%- endif -%}
  {%- if go.said and go.said[-1].role == message.role and message.role != 'tool' -%}
    {%- set go.said = go.said[:-1] + [dict(go.said[-1], content=go.said[-1].content ~ '\\n\\n' ~ content)] -%}
  {%- else -%}
    {%- set go.said = go.said + [dict(message, content=content)] -%}
  {%- endif -%}
{%- endfor -%}
{%- set go.system = go.systems | join('\\n\\n') -%}
{%- macro show(value) -%}
  {%- if value is string or not value and value is not boolean -%}{{- value or '' -}}
  {%- else -%}{{- value | tojson(separators=(',', ':')) -}}{%- endif -%}
{%- endmacro -%}
"""
BY_TURNS: Final = """
{%- set turn = namespace(system='', prompt='', response='') -%}
{%- for message in go.said -%}
  {%- if message.role == 'system' and (turn.prompt or turn.response) or message.role == 'user' and turn.response -%}
    {{- whole(turn.system, turn.prompt, turn.response) -}}
    {%- set turn.system = '' -%}{%- set turn.prompt = '' -%}{%- set turn.response = '' -%}
    {%- set go.is_first = false -%}
  {%- endif -%}
  {%- if message.role == 'system' -%}{%- set turn.system = message.content -%}
  {%- elif message.role == 'user' -%}{%- set turn.prompt = message.content -%}
  {%- elif message.role == 'assistant' -%}{%- set turn.response = message.content -%}{%- endif -%}
{%- endfor -%}
{{- begun(turn.system, turn.prompt, turn.response) -}}
"""
OPERATORS: Final = {"ne": "!=", "lt": "<", "le": "<=", "gt": ">", "ge": ">="}
_VERBS: Final = re.compile("%[svd%]")
RESPONSE: Final = Print(Field(".", ("Response",)))


def jinja_of(text: str) -> str:
    """The same template in Jinja. For one that is not understood, a template that says so when it is used."""
    try:
        return _translated(parse(text))
    except (BadInputError, RecursionError) as error:
        reason = f"it is written in Go, and in it {error}" if isinstance(error, BadInputError) else "it is too deep"
        return f"{{{{ raise_exception({literal(reason)}) }}}}"


def _translated(nodes: tuple[Node, ...]) -> str:
    used = set(_fields(nodes))
    if "Messages" in used:
        return GATHERED + "{%- set prompt = '' -%}{%- set response = '' -%}" + _Writer().write(nodes)
    if "Response" not in used:
        nodes = (*nodes, RESPONSE)
    head = "{%- macro {name}(system, prompt, response) -%}"
    macros = [
        head.replace("{name}", name) + _Writer(OF_A_TURN).write(each) + "{%- endmacro -%}"
        for name, each in (("whole", nodes), ("begun", _until_response(nodes)[0]))
    ]
    return GATHERED + "".join(macros) + BY_TURNS


def _fields(nodes: Sequence[Node]) -> Iterator[str]:
    """The names of all fields that a template asks for."""
    for node in nodes:
        match node:
            case Print(value) | Set(_, value):
                yield from _names(value)
            case If(condition, body, otherwise) | Range(condition, _, body, otherwise):
                yield from (*_names(condition), *_fields(body), *_fields(otherwise))


def _names(expression: Expression) -> Iterator[str]:
    match expression:
        case Field(base, names):
            yield from names
            yield from () if isinstance(base, str) else _names(base)
        case Call(_, arguments):
            for each in arguments:
                yield from _names(each)


def _until_response(nodes: Sequence[Node]) -> tuple[tuple[Node, ...], bool]:
    """What stands before the first action with `.Response`, conditions aside, and whether there is one."""
    kept: list[Node] = []
    for node in nodes:
        if isinstance(node, Print | Set) and "Response" in _names(node.value):
            return tuple(kept), True
        if isinstance(node, If):
            body, is_over = _until_response(node.body)
            otherwise, is_over_too = ((), True) if is_over else _until_response(node.otherwise)
            kept.append(If(node.condition, body, otherwise, node.is_dot))
            if is_over or is_over_too:
                return tuple(kept), True
        else:
            kept.append(node)
    return tuple(kept), False


@dataclass(slots=True)
class _Writer:
    """Writes nodes. What Go's variables are called is known by their scopes; each has a place of its own in Jinja."""

    data: Mapping[str, str] = field(default_factory=lambda: DATA)
    _numbers: Iterator[int] = field(default_factory=itertools.count)

    def write(self, nodes: Sequence[Node]) -> str:
        return "{%- set its = namespace() -%}" + self._all(nodes, None, {})

    def _all(self, nodes: Sequence[Node], dot: str | None, variables: Mapping[str, str]) -> str:
        """`dot` is what a dot means, None for the whole data. Variables declared here are known until the last node."""
        known = dict(variables)
        return "".join(self._node(node, dot, known) for node in nodes)

    def _node(self, node: Node, dot: str | None, known: dict[str, str]) -> str:
        match node:
            case str():
                return f"{{{{- {literal(node)} -}}}}"
            case Print(value):
                return f"{{{{- show({self._value(value, dot, known)}) -}}}}"
            case Set(name, value, is_new):
                place = self._new_place() if is_new else _known(name, known)
                written = f"{{%- set {place} = {self._value(value, dot, known)} -%}}"
                known[name] = place
                return written
            case If():
                return self._if(node, dot, known)
            case Range():
                return self._range(node, dot, known)
            case Leave(word):
                return f"{{%- {word} -%}}"

    def _if(self, node: If, dot: str | None, known: Mapping[str, str]) -> str:
        condition, inner, before = self._value(node.condition, dot, known), dot, ""
        if node.is_dot:
            inner = self._new_place()
            before, condition = f"{{%- set {inner} = {condition} -%}}", inner
        otherwise = f"{{%- else -%}}{self._all(node.otherwise, dot, known)}" if node.otherwise else ""
        return f"{before}{{%- if {condition} -%}}{self._all(node.body, inner, known)}{otherwise}{{%- endif -%}}"

    def _range(self, node: Range, dot: str | None, known: Mapping[str, str]) -> str:
        number = next(self._numbers)
        item, key = f"item{number}", "loop.index0"
        values, loop = self._value(node.values, dot, known), item
        if isinstance(node.values, Field) and node.values.names[-1:] and node.values.names[-1] in MAPS:
            values, loop, key = f"({values} or {{}})|dictsort(true)", f"key{number}, {item}", f"key{number}"
        names, inner = dict(known), ""
        for name, value in zip(reversed(node.variables), (item, key), strict=False):
            names[name] = self._new_place()
            inner += f"{{%- set {names[name]} = {value} -%}}"
        body = inner + self._all(node.body, item, names)
        otherwise = f"{{%- else -%}}{self._all(node.otherwise, dot, known)}" if node.otherwise else ""
        return f"{{%- for {loop} in {values} or [] -%}}{body}{otherwise}{{%- endfor -%}}"

    def _new_place(self) -> str:
        return f"its.v{next(self._numbers)}"

    def _value(self, expression: Expression, dot: str | None, known: Mapping[str, str]) -> str:
        match expression:
            case Value(text):
                return text
            case Call(function, arguments):
                return _called(function, [self._value(each, dot, known) for each in arguments])
            case Field(base, names):
                return self._field(base, names, dot, known)

    def _field(self, base: str | Expression, names: Sequence[str], dot: str | None, known: Mapping[str, str]) -> str:
        if base == "$" or (base == "." and dot is None):
            if not names:
                raise BadInputError("all of the data is asked for at once")
            made, names = _one_of(self.data, names[0]), names[1:]
        elif base == ".":
            made = str(dot)
        else:
            made = _known(base, known) if isinstance(base, str) else self._value(base, dot, known)
        return "".join([made, *(f".{_one_of(FIELDS, name)}" for name in names)])


def _called(function: str, given: list[str]) -> str:
    match function, given:
        case (("and" | "or"), [_, *_]):
            return f"({f' {function} '.join(given)})"
        case "not", [value]:
            return f"(not {value})"
        case "eq", [value, *others] if others:
            return f"({value} in [{', '.join(others)}])"
        case (("ne" | "lt" | "le" | "gt" | "ge"), [left, right]):
            return f"({left} {OPERATORS[function]} {right})"
        case "len", [value]:
            return f"(({value} or '')|length)"
        case "index", [value, *keys] if keys:
            return f"{value}{''.join(f'[{key}]' for key in keys)}"
        case "slice", [value, *bounds] if len(bounds) in (1, 2):
            return f"{value}[{bounds[0]}:{bounds[1] if len(bounds) > 1 else ''}]"
        case "json", [value]:
            return f"({value}|tojson(separators=(',', ':')))"
        case "printf", [form, *values] if _VERBS.sub("", form).count("%") == 0:
            return f"({_VERBS.sub(_verb, form)}|format({', '.join(values)}))"
    raise BadInputError(f"{function} is not known here")


def _verb(found: re.Match[str]) -> str:
    return "%s" if found[0] == "%v" else found[0]


def _known(name: str, known: Mapping[str, str]) -> str:
    if name not in known:
        raise BadInputError(f"{name} is not declared")
    return known[name]


def _one_of(names: Mapping[str, str], name: str) -> str:
    if name not in names:
        raise BadInputError(f".{name} is not known here")
    return names[name]
