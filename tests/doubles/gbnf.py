"""Reads GBNF as strictly as llama.cpp does, writes random texts from a grammar, and judges texts by it."""

from __future__ import annotations

import json
import random
import re
from functools import cached_property
from typing import Any

REPETITIONS_AT_MOST = 2000  # MAX_REPETITION_THRESHOLD in llama-grammar.cpp
CLOSE_CALLS = '"\\{}[]:,. \n\t/-+_0159aezAZ~\x7f\x80é\u2028\ud7ff\ue000😀\U0010ffff'

Node = tuple[Any, ...]  # ("set", negated, ranges) ("rule", name) ("series", parts) ("choice", options) ("repeat", …)


class Grammar:
    """`write` gives a random text, `accepts` judges one. A grammar that llama.cpp would refuse raises ValueError."""

    def __init__(self, text: str) -> None:
        self.rules: dict[str, Node] = {}
        for line in text.splitlines():
            name, assign, body = line.partition(" ::= ")
            if not assign or not re.fullmatch(r"[a-zA-Z0-9-]+", name) or name in self.rules:
                raise ValueError(f"not a rule: {line}")
            self.rules[name] = _Parser(body).rule()
        for name, node in self.rules.items():
            if missing := _names(node) - self.rules.keys():
                raise ValueError(f"{name} uses {missing}, which is nowhere")
            self._refuse_left_recursion(name, ())

    def write(self, chance: random.Random, *, depth: int = 8) -> str:
        written: list[str] = []
        todo: list[tuple[Node, int]] = [(("rule", "root"), depth)]
        while todo:
            node, depth = todo.pop()
            if node[0] == "set":
                written.append(_character(node, chance))
            else:
                todo.extend(self._expanded(node, chance, depth))
        return "".join(written)

    def accepts(self, text: str) -> bool:
        return len(text) in _Matcher(self.rules, text).ends(("rule", "root"), frozenset([0]))

    def _expanded(self, node: Node, chance: random.Random, depth: int) -> list[tuple[Node, int]]:
        """What to write instead of the node, last part first; beyond `depth` what is over soonest."""
        if node[0] == "rule":
            return [(self.rules[node[1]], depth - 1)]
        if node[0] == "series":
            return [(part, depth) for part in reversed(node[1])]
        if node[0] == "choice":
            return [(chance.choice(node[1]) if depth > 0 else min(node[1], key=self._height), depth)]
        _, part, least, most = node
        more = 0 if depth <= 0 else chance.choice([0, 0, 1, 2, 3, 9 if most is None else most - least])
        return [(part, depth)] * (least + more if most is None else min(most, least + more))

    def _height(self, node: Node) -> float:
        return _height(node, self._heights)

    @cached_property
    def _heights(self) -> dict[str, float]:
        """How many rules deep the smallest text of each rule is."""
        heights = dict.fromkeys(self.rules, float("inf"))
        while True:
            found = {name: 1 + _height(node, heights) for name, node in self.rules.items()}
            if found == heights:
                return heights
            heights = found

    def _refuse_left_recursion(self, name: str, trail: tuple[str, ...]) -> None:
        if name in trail:
            raise ValueError(f"left recursion of {name}")
        for other in self._leftmost(self.rules[name]):
            self._refuse_left_recursion(other, (*trail, name))

    def _leftmost(self, node: Node) -> set[str]:
        if node[0] == "rule":
            return {node[1]}
        if node[0] == "choice":
            return set().union(*map(self._leftmost, node[1]))
        if node[0] == "repeat":
            return self._leftmost(node[1])
        found: set[str] = set()
        for part in node[1] if node[0] == "series" else ():
            found |= self._leftmost(part)
            if not self._is_nullable(part):
                break
        return found

    def _is_nullable(self, node: Node) -> bool:
        if node[0] == "rule":
            return self._is_nullable(self.rules[node[1]])
        if node[0] in ("series", "choice"):
            return (all if node[0] == "series" else any)(map(self._is_nullable, node[1]))
        return node[0] == "repeat" and (node[2] == 0 or self._is_nullable(node[1]))


def _height(node: Node, heights: dict[str, float]) -> float:
    if node[0] == "rule":
        return heights[node[1]]
    if node[0] in ("series", "choice"):
        return (max if node[0] == "series" else min)([_height(part, heights) for part in node[1]], default=0)
    return _height(node[1], heights) if node[0] == "repeat" and node[2] > 0 else 0


def _names(node: Node) -> set[str]:
    if node[0] == "rule":
        return {node[1]}
    children = {"series": node[1], "choice": node[1], "repeat": node[1:2]}.get(node[0], ())
    return set().union(*map(_names, children))


def _matches(node: Node, character: str) -> bool:
    _, is_negated, ranges = node
    return any(first <= ord(character) <= last for first, last in ranges) != is_negated


def _character(node: Node, chance: random.Random) -> str:
    """Mostly the edges of the set, and what is next to be special in JSON."""
    _, is_negated, ranges = node
    if not is_negated:
        first, last = chance.choice(ranges)
        return chr(chance.choice([first, last, chance.randint(first, last)]))
    return chance.choice([character for character in CLOSE_CALLS if _matches(node, character)])


class _Matcher:
    def __init__(self, rules: dict[str, Node], text: str) -> None:
        self.rules = rules
        self.text = text
        self.known: dict[tuple[str, int], frozenset[int]] = {}

    def ends(self, node: Node, starts: frozenset[int]) -> frozenset[int]:
        """Where a match of `node` that began at one of `starts` may end."""
        if node[0] == "set":
            inside = (start for start in starts if start < len(self.text))
            return frozenset(start + 1 for start in inside if _matches(node, self.text[start]))
        if node[0] == "rule":
            return frozenset().union(*(self._rule_ends(node[1], start) for start in starts))
        if node[0] == "choice":
            return frozenset().union(*(self.ends(option, starts) for option in node[1]))
        if node[0] == "repeat":
            return self._repeat_ends(node, starts)
        for part in node[1]:
            starts = self.ends(part, starts)
        return starts

    def _rule_ends(self, name: str, start: int) -> frozenset[int]:
        if (name, start) not in self.known:
            self.known[name, start] = self.ends(self.rules[name], frozenset([start]))
        return self.known[name, start]

    def _repeat_ends(self, node: Node, starts: frozenset[int]) -> frozenset[int]:
        _, part, least, most = node
        found = starts if least == 0 else frozenset()
        count = 0
        while starts and count != most:
            starts, count = self.ends(part, starts), count + 1
            if count > least and starts <= found:
                break
            found |= starts if count >= least else frozenset()
        return found


class _Parser:
    TOKEN = re.compile(r' *("(?:[^"\\]|\\.)*"|\[(?:[^\]\\]|\\.)*\]|[a-zA-Z0-9-]+|[()|*+?.]|\{(\d+)(,?)(\d*)\})')
    ESCAPE = re.compile(r'\\x([0-9A-F]{2})|\\u([0-9A-F]{4})|\\U([0-9A-F]{8})|\\([trn\\"\[\]-])|([^\\])', re.DOTALL)

    def __init__(self, text: str) -> None:
        self.text = text.rstrip()
        self.position = 0

    def rule(self) -> Node:
        node = self._choice()
        if self.position != len(self.text):
            raise ValueError(f"not expected: {self.text[self.position :]}")
        return node

    def _peek(self) -> re.Match[str] | None:
        return self.TOKEN.match(self.text, self.position)

    def _choice(self) -> Node:
        options = [self._series()]
        while (token := self._peek()) and token[1] == "|":
            self.position = token.end()
            options.append(self._series())
        return options[0] if len(options) == 1 else ("choice", options)

    def _series(self) -> Node:
        parts: list[Node] = []
        while (token := self._peek()) and token[1] not in ("|", ")"):
            self.position = token.end()
            if token[1][0] in "*+?{":
                parts[-1] = self._repeat(parts[-1], token)
            else:
                parts.append(self._one(token[1]))
        return ("series", parts)

    def _one(self, token: str) -> Node:
        if token == "(":
            node = self._choice()
            if not (closing := self._peek()) or closing[1] != ")":
                raise ValueError("a group without )")
            self.position = closing.end()
            return node
        if token == ".":
            return ("set", True, [])
        if token[0] == '"':
            return ("series", [("set", False, [(code, code)]) for code, _ in self._codes(token[1:-1])])
        if token[0] == "[":
            is_negated = token[1] == "^"
            return ("set", is_negated, self._ranges(token[1 + is_negated : -1]))
        return ("rule", token)

    def _repeat(self, part: Node, token: re.Match[str]) -> Node:
        if part == ("series", []):
            raise ValueError("nothing to repeat")
        if token[1] in "*+?":
            least, most = {"*": (0, None), "+": (1, None), "?": (0, 1)}[token[1]]
        else:
            least, most = int(token[2]), int(token[4] or token[2]) if token[4] or not token[3] else None
        if max(least, most or 0) * (1 if part[0] in ("set", "rule") else 20) > REPETITIONS_AT_MOST:
            raise ValueError(f"llama.cpp does not repeat {part[0]} {token[1]}")
        return ("repeat", part, least, most)

    def _codes(self, text: str) -> list[tuple[int, bool]]:
        """Code points, and whether each was escaped."""
        found = []
        position = 0
        while position < len(text):
            match = self.ESCAPE.match(text, position)
            if not match:
                raise ValueError(f"unknown escape in {text}")
            number = match[1] or match[2] or match[3]
            plain = {"t": "\t", "r": "\r", "n": "\n"}.get(match[4], match[4]) or match[5]
            found.append((int(number, 16) if number else ord(plain or ""), match[5] is None))
            position = match.end()
        return found

    def _ranges(self, text: str) -> list[tuple[int, int]]:
        codes = self._codes(text)
        ranges = []
        while codes:
            first, _ = codes.pop(0)
            is_range = len(codes) > 1 and codes[0] == (ord("-"), False)
            ranges.append((first, codes[1][0] if is_range else first))
            codes = codes[2:] if is_range else codes
        return ranges


def canonical(document: Any) -> str:
    """The document as `json.dumps` writes it, with characters beyond ASCII as they are."""
    return json.dumps(document, ensure_ascii=False)
