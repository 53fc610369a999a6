"""Reads the values in a pickle without being able to run anything: plain values, containers, and calls we know.

A pickle is a program, and Python's own module runs it. This is a reader of its own: it imports nothing, finds no class,
and knows two dozen of the instructions, those that PyTorch writes for a dictionary of tensors. A name in the pickle is
looked up among the caller's stand-ins and refused if it is not there; what is "called" is a function of the caller's
with plain values. Instructions, and with them memory, have a limit.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

MOST_BYTES = 64 * 1024**2
MOST_INSTRUCTIONS = 5_000_000  # a tensor takes about 35
LONGEST_INTEGER = 8  # in bytes
LONGEST_NAME = 1024

VALUES: Final[Mapping[bytes, Any]] = {b"N": None, b"\x88": True, b"\x89": False, b")": ()}
CONTAINERS: Final[Mapping[bytes, Callable[[], Any]]] = {b"]": list, b"}": dict}
NUMBERS: Final = {b"K": "<B", b"M": "<H", b"J": "<i", b"G": ">d"}
TEXTS: Final = {b"U": "<B", b"X": "<I", b"\x8c": "<B", b"\x8d": "<Q"}
TUPLES: Final = {b"\x85": 1, b"\x86": 2, b"\x87": 3}
STORE: Final = {b"q": "<B", b"r": "<I"}
RECALL: Final = {b"h": "<B", b"j": "<I"}
SKIPPED: Final = {b"\x80": 1, b"\x95": 8}  # the version, the length of what follows
STOP: Final = b"."


class BrokenPickleError(Exception):
    """The reason that a pickle is refused as damaged."""


class RefusedPickleError(Exception):
    """What a pickle asks for that no dictionary of tensors needs."""


@dataclass(frozen=True, slots=True)
class Constructor:
    """Stands for something callable that a pickle names: `make` takes the tuple of arguments.

    It may raise BrokenPickleError.
    """

    make: Callable[[tuple[Any, ...]], Any]


def read_pickle(content: bytes, names: Mapping[str, Any], find: Callable[[Any], Any]) -> Any:
    """The value of a pickle.

    `names` gives the stand-in for each name (`torch.FloatStorage`) that may appear; only a Constructor is ever called.
    `find` answers to persistent ids. Raises BrokenPickleError if the pickle is damaged or too long,
    RefusedPickleError if it asks for anything that is not in `names`.
    """
    if len(content) > MOST_BYTES:
        raise BrokenPickleError(f"it describes its tensors in {len(content)} bytes; {MOST_BYTES} are allowed")
    machine = _Machine(content, names, find)
    try:
        return machine.run()
    except (struct.error, IndexError, UnicodeDecodeError) as error:
        raise BrokenPickleError(f"its description of tensors breaks off at byte {machine.position}") from error


class _Machine:
    def __init__(self, content: bytes, names: Mapping[str, Any], find: Callable[[Any], Any]) -> None:
        self.content, self.names, self.find = content, names, find
        self.position = 0
        self.stack: list[Any] = []
        self.marked: list[list[Any]] = []  # the stacks that lie below a mark
        self.memo: dict[int, Any] = {}

    def run(self) -> Any:
        for _ in range(MOST_INSTRUCTIONS):
            instruction = self.take(1)
            if instruction == STOP:
                return self.stack.pop()
            self.step(instruction)
        raise BrokenPickleError(f"its description of tensors has more than {MOST_INSTRUCTIONS} steps")

    def step(self, instruction: bytes) -> None:
        if instruction in ACTIONS:
            ACTIONS[instruction](self)
        elif instruction in RECALL:
            self.recall(self.number(RECALL[instruction]))
        elif instruction in STORE:
            self.memo[self.number(STORE[instruction])] = self.stack[-1]
        elif instruction in SKIPPED:
            self.take(SKIPPED[instruction])
        else:
            self.stack.append(self.value(instruction))

    def value(self, instruction: bytes) -> Any:
        """What an instruction puts onto the stack."""
        if instruction in VALUES:
            return VALUES[instruction]
        if instruction in CONTAINERS:
            return CONTAINERS[instruction]()
        if instruction in NUMBERS:
            return self.number(NUMBERS[instruction])
        if instruction in TEXTS:
            return self.take(self.number(TEXTS[instruction])).decode("utf-8")
        if instruction in TUPLES:
            return tuple(reversed([self.stack.pop() for _ in range(TUPLES[instruction])]))
        raise RefusedPickleError(f"it uses the pickle instruction {ascii(instruction)[1:]}")

    def take(self, count: int) -> bytes:
        start = self.position
        if count > len(self.content) - start:
            raise IndexError
        self.position += count
        return self.content[start : self.position]

    def number(self, code: str) -> Any:
        return struct.unpack(code, self.take(struct.calcsize(code)))[0]

    def recall(self, index: int) -> None:
        if index not in self.memo:
            raise BrokenPickleError("its description of tensors refers to what is not there")
        self.stack.append(self.memo[index])

    def memoize(self) -> None:
        self.memo[len(self.memo)] = self.stack[-1]

    def mark(self) -> None:
        self.marked.append(self.stack)
        self.stack = []

    def since_mark(self) -> list[Any]:
        values, self.stack = self.stack, self.marked.pop()
        return values

    def collect(self) -> None:
        values = tuple(self.since_mark())
        self.stack.append(values)

    def long(self) -> None:
        content = self.take(self.number("<B"))
        if len(content) > LONGEST_INTEGER:
            raise BrokenPickleError("its description of tensors holds an integer that no tensor has")
        self.stack.append(int.from_bytes(content, "little", signed=True))

    def name(self) -> None:
        module, attribute = self.line(), self.line()
        self.stack.append(self.stand_in(module, attribute))

    def line(self) -> str:
        end = self.content.find(b"\n", self.position, self.position + LONGEST_NAME)
        if end < 0:
            raise IndexError
        return self.take(end + 1 - self.position)[:-1].decode("utf-8")

    def name_on_stack(self) -> None:
        attribute, module = self.stack.pop(), self.stack.pop()
        self.stack.append(self.stand_in(module, attribute))

    def stand_in(self, module: Any, attribute: Any) -> Any:
        name = f"{module}.{attribute}" if isinstance(module, str) and isinstance(attribute, str) else "?"
        if name not in self.names:
            shown = ascii(name)[1:-1][:80]
            raise RefusedPickleError(f"it asks for `{shown}`")
        return self.names[name]

    def call(self) -> None:
        arguments, constructor = self.stack.pop(), self.stack.pop()
        if not isinstance(constructor, Constructor) or not isinstance(arguments, tuple):
            raise BrokenPickleError("its description of tensors calls what can't be called")
        self.stack.append(constructor.make(arguments))

    def persistent(self) -> None:
        self.stack.append(self.find(self.stack.pop()))

    def append(self) -> None:
        self.extend_list([self.stack.pop()])

    def appends(self) -> None:
        self.extend_list(self.since_mark())

    def extend_list(self, values: list[Any]) -> None:
        if not isinstance(self.stack[-1], list):
            raise BrokenPickleError("its description of tensors appends to what is no list")
        self.stack[-1].extend(values)

    def set_item(self) -> None:
        value, key = self.stack.pop(), self.stack.pop()
        self.update_dict([key, value])

    def set_items(self) -> None:
        self.update_dict(self.since_mark())

    def update_dict(self, values: list[Any]) -> None:
        target = self.stack[-1]
        # Only plain keys: hashing a nest of tuples that share their parts would take for ever.
        if not isinstance(target, dict) or len(values) % 2 or not all(type(key) in (str, int) for key in values[::2]):
            raise BrokenPickleError("its description of tensors sets what can't be set")
        target.update(zip(values[::2], values[1::2], strict=True))

    def drop_state(self) -> None:
        """A state dict's own attributes (`_metadata`): nothing that a tensor needs."""
        self.stack.pop()
        if not isinstance(self.stack[-1], dict):
            raise BrokenPickleError("its description of tensors changes what is no dictionary")

    def pop(self) -> None:
        self.stack.pop()


ACTIONS: Final[Mapping[bytes, Callable[[_Machine], None]]] = {
    b"(": _Machine.mark,
    b"t": _Machine.collect,
    b"\x8a": _Machine.long,
    b"c": _Machine.name,
    b"\x93": _Machine.name_on_stack,
    b"R": _Machine.call,
    b"Q": _Machine.persistent,
    b"a": _Machine.append,
    b"e": _Machine.appends,
    b"s": _Machine.set_item,
    b"u": _Machine.set_items,
    b"b": _Machine.drop_state,
    b"\x94": _Machine.memoize,
    b"0": _Machine.pop,
}
