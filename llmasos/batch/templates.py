"""A prompt with places for the fields of a row: `Summarize: {title}`."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

from llmasos.errors import BadInputError, UsageError

PLACE = re.compile(r"\{(\w+(?:[ -]\w+)*)\}")  # what looks otherwise, such as JSON, stands for itself


class PromptTemplate:
    """Raises UsageError for a template without a place."""

    def __init__(self, text: str) -> None:
        self._text = text
        self.places = frozenset(PLACE.findall(text))
        if not self.places:
            raise UsageError("the template has no place for a field", hint="such as 'Summarize: {line}'")

    def fill(self, row: Mapping[str, Any]) -> str:
        """The prompt of a row, in which what is no text stands as JSON. Raises BadInputError for a missing field."""
        if missing := sorted(self.places - row.keys()):
            there = ", ".join(sorted(row)) or "nothing"
            raise BadInputError(f"there is no field `{missing[0]}`; there is {there}")
        return PLACE.sub(lambda place: _as_text(row[place[1]]), self._text)


def _as_text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
