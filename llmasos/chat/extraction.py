"""What a program wants of an answer: the code or the JSON in it, without the words around. Pure."""

from __future__ import annotations

import json
import re
from typing import NoReturn

from llmasos.errors import BadInputError, UsageError

EXTRACTS = ("code", "json")

# A fence opens on a line of its own and closes on one, with as many marks at least. One that never closes is no block:
# the answer was cut, and half a program is worse than none.
FENCED = re.compile(
    r"^(?P<indent>[ \t]*)(?P<fence>`{3,}(?=[^`\n]*\n)|~{3,})[^\n]*\n"
    r"(?P<inside>(?:[^\n]*\n)*?)"
    r"[ \t]*(?P=fence)[`~]*[ \t\r]*$",
    re.MULTILINE,
)
OPENING = re.compile(r'\{\s*["}]|\[')  # where an object or a list can begin


def require_known(kind: str) -> None:
    """Raises UsageError for what can't be extracted."""
    if kind not in EXTRACTS:
        raise UsageError(f"extract is one of {', '.join(EXTRACTS)}, not {kind}")


def extract(text: str, kind: str) -> str:
    """The inside of the first fenced block (`code`), or the first JSON value as it is written (`json`).

    Raises BadInputError if there is none.
    """
    try:
        found = _first_code(text) if kind == "code" else _first_json(text)
    except RecursionError:  # a thousand brackets that never close are no JSON, wherever one begins to read them
        found = None
    if found is None:
        wanted = "code in a fenced block" if kind == "code" else "JSON"
        raise BadInputError(f"there is no {wanted} in the answer")
    return found


def _first_code(text: str) -> str | None:
    found = FENCED.search(text)
    return None if found is None else _inside(found)


def _inside(found: re.Match[str]) -> str:
    """Without the newline before the closing fence, and without the fence's own indentation."""
    indent = found["indent"]
    lines = [line.removeprefix(indent) for line in found["inside"].split("\n")]
    return "\n".join(lines[:-1])


def _first_json(text: str) -> str | None:
    """The answer as a whole, the inside of a fenced block, or an object or a list among words."""
    for whole in (text, *map(_inside, FENCED.finditer(text))):
        if (whole := whole.strip()) and _ends_at(whole, 0) == len(whole):
            return whole
    position = 0
    while opening := OPENING.search(text, position):
        start = opening.start()
        if end := _ends_at(text, start):
            return text[start:end]
        if text[start] == "{":  # JSON that is broken or cut: what stands further inside is not what was meant
            return None
        position = start + 1
    return None


def _ends_at(text: str, start: int) -> int:
    """Where the JSON value that begins there ends; 0 if none does. Raises RecursionError for one that is too deep."""
    try:
        return json.JSONDecoder(parse_constant=_refuse).raw_decode(text, start)[1]
    except ValueError:
        return 0


def _refuse(constant: str) -> NoReturn:
    raise ValueError(f"{constant} is no JSON")
