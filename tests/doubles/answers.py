"""What the stand-in hub answers, as values; and which part of an answer a `Range` header asks for (RFC 9110, 14)."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from .content import Content, content_of

_SINGLE_RANGE = re.compile(r"bytes=(\d*)-(\d*)")


@dataclass(frozen=True, slots=True)
class Answer:
    status: int
    content: Content
    headers: Mapping[str, str] = field(default_factory=dict)
    start: int = 0
    stop: int | None = None  # None: to the end

    @property
    def end(self) -> int:
        return self.content.size if self.stop is None else self.stop


def text_answer(status: int, text: str, **headers: str) -> Answer:
    """Headers are given as keyword arguments, with underscores for dashes."""
    return _answer(status, text.encode(), {"Content-Type": "text/plain; charset=utf-8"}, headers)


def json_answer(status: int, value: object, **headers: str) -> Answer:
    return _answer(status, json.dumps(value).encode(), {"Content-Type": "application/json; charset=utf-8"}, headers)


def redirect(status: int, location: str, **headers: str) -> Answer:
    return text_answer(status, f"Redirecting to {location}", Location=location, **headers)


def file_answer(content: Content, etag: str, **headers: str) -> Answer:
    own = {"Content-Type": "application/octet-stream", "Accept-Ranges": "bytes", "ETag": f'"{etag}"'}
    return Answer(200, content, own | _with_dashes(headers))


def part_of(answer: Answer, range_header: str | None, if_range: str | None) -> Answer:
    """The answer cut to the range asked for; whole where the range does not apply or cannot be understood."""
    asked = _SINGLE_RANGE.fullmatch(range_header or "")
    if asked is None or answer.status != 200 or "Accept-Ranges" not in answer.headers:
        return answer
    if if_range not in (None, answer.headers["ETag"]) or asked.groups() == ("", ""):
        return answer
    start, stop = _bounds(asked[1], asked[2], answer.content.size)
    if start >= stop:
        return text_answer(416, "Range Not Satisfiable", Content_Range=f"bytes */{answer.content.size}")
    content_range = f"bytes {start}-{stop - 1}/{answer.content.size}"
    return replace(
        answer, status=206, headers={**answer.headers, "Content-Range": content_range}, start=start, stop=stop
    )


def _bounds(first: str, last: str, size: int) -> tuple[int, int]:
    if not first:
        return max(0, size - int(last)), size
    return int(first), min(size, int(last) + 1) if last else size


def _answer(status: int, body: bytes, own: dict[str, str], headers: Mapping[str, str]) -> Answer:
    return Answer(status, content_of(body), own | _with_dashes(headers))


def _with_dashes(headers: Mapping[str, str]) -> dict[str, str]:
    return {name.replace("_", "-"): value for name, value in headers.items()}
