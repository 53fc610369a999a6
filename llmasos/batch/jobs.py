"""Jobs: what each line of a batch's input asks for, whatever form it has. Pure but for the file that is read.

Lines may be OpenAI's (`{"custom_id", "url", "body"}`), short (`{"custom_id", "prompt", "max_tokens", …}`), rows of CSV
or TSV, or plain text. What has no `custom_id` is called by the number of its line.
"""

from __future__ import annotations

import csv
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path
from typing import Any

from llmasos.batch.lines import BadLine, Line, lines_of, open_lines
from llmasos.batch.templates import PromptTemplate
from llmasos.chat.messages import sound_json
from llmasos.errors import BadInputError, UsageError
from llmasos.openai.interface import CHAT, COMPLETIONS, EMBEDDINGS

FORMS = ("jsonl", "csv", "tsv", "lines")
SUFFIXES = {".csv": "csv", ".tsv": "tsv", ".txt": "lines"}
SEPARATORS = {"csv": ",", "tsv": "\t"}
LONGEST_FIELD = 32_000_000  # characters of a CSV field
OF_THE_LINE = {"custom_id", "url", "method", "body"}
LONGEST_ID = 512


@dataclass(frozen=True, slots=True)
class Job:
    """What one line asks for: a body of OpenAI's interface, and where it would be sent."""

    number: int
    custom_id: str
    url: str
    body: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Reading:
    """How the input is read. `url` is where prompts go that do not say it: a chat, a plain completion, or vectors."""

    form: str
    url: str
    template: PromptTemplate | None = None


def form_of(path: Path, asked: str | None) -> str:
    """The form of an input: as asked, or by the file's name. Raises UsageError for one that there is not."""
    if asked is not None and asked not in FORMS:
        raise UsageError(f"there is no form `{asked}`", hint=f"one of {', '.join(FORMS)}")
    return asked or SUFFIXES.get(path.suffix.lower(), "jsonl")


def read_jobs(path: Path, reading: Reading) -> Iterator[Job | BadLine]:
    """The jobs of a file in their order; lines that are none, and those whose id stood before, as bad ones.

    Raises BadInputError for a file that can't be read, or a table without the columns that are needed.
    """
    with open_lines(path) as file:
        seen: set[bytes] = set()
        for each in _entries(lines_of(file), reading):
            if isinstance(each, Job):
                mark = blake2b(each.custom_id.encode(), digest_size=12).digest()
                if mark in seen:
                    each = BadLine(each.number, "its custom_id stood in a line before", each.custom_id)
                seen.add(mark)
            yield each


def _entries(lines: Iterable[Line | BadLine], reading: Reading) -> Iterator[Job | BadLine]:
    if reading.form in SEPARATORS:
        yield from _rows(lines, reading)
        return
    for line in lines:
        if isinstance(line, BadLine):
            yield line
        elif line.text.strip():
            yield _checked(line.number, lambda: _job(line, reading))  # noqa: B023


def _checked(number: int, make: Callable[[], Job]) -> Job | BadLine:
    try:
        return make()
    except (BadInputError, UsageError) as error:
        return BadLine(number, f"{error.message}; {error.hint}" if error.hint else error.message)


def _job(line: Line, reading: Reading) -> Job:
    if reading.form == "lines":
        return _prompted(line.number, {"line": line.text}, reading, column="line")
    try:
        given = sound_json(line.text)
    except (ValueError, RecursionError) as error:
        raise BadInputError(f"the line is no JSON: {error}") from error
    if not isinstance(given, dict):
        raise BadInputError("the line is no JSON object")
    if reading.template:
        return _prompted(line.number, given, reading, column="prompt")
    custom_id = _id_of(given, line.number)
    if "url" in given or "body" in given:
        return _full(line.number, custom_id, given)
    return _short(line.number, custom_id, given, reading.url)


def _full(number: int, custom_id: str, given: Mapping[str, Any]) -> Job:
    """OpenAI's own form; the `url` may be left out where the body tells it."""
    if unknown := sorted(given.keys() - OF_THE_LINE):
        raise BadInputError(f"there is no field `{unknown[0]}` beside the body", hint="options stand in the body")
    body, url = given.get("body"), given.get("url")
    if not isinstance(body, dict):
        raise BadInputError("the line has no body that is a JSON object")
    if given.get("method", "POST") != "POST":
        raise BadInputError(f"the method is POST, not {given['method']!r}")
    if not isinstance(url, str | None):
        raise BadInputError("the url is no text")
    if body.get("stream"):
        raise BadInputError("a batch streams nothing", hint="leave out stream")
    return Job(number, custom_id, url or _url_of(body, COMPLETIONS), body)


def _short(number: int, custom_id: str, given: Mapping[str, Any], url: str) -> Job:
    """The fields of a body beside the id; a prompt is a question to a model that chats, with `system` before it."""
    body = {name: value for name, value in given.items() if name != "custom_id"}
    url = _url_of(body, url)
    if "prompt" not in body:
        return Job(number, custom_id, url, body)
    if url == EMBEDDINGS:
        body["input"] = body.pop("prompt")
    if url == CHAT:
        prompt, system = body.pop("prompt"), body.pop("system", None)
        if not isinstance(prompt, str) or not isinstance(system, str | None):
            raise BadInputError("the prompt and the system prompt have to be texts", hint="messages may be a list")
        body["messages"] = _question(prompt, system)
    return Job(number, custom_id, url, body)


def _question(prompt: str, system: str | None) -> list[dict[str, str]]:
    before = [] if system is None else [{"role": "system", "content": system}]
    return [*before, {"role": "user", "content": prompt}]


def _url_of(body: Mapping[str, Any], of_prompt: str) -> str:
    if "messages" in body:
        return CHAT
    if "input" in body:
        return EMBEDDINGS
    if "prompt" not in body:
        raise BadInputError("the line asks for nothing", hint="give it a prompt, messages or an input")
    return of_prompt


def _prompted(number: int, row: Mapping[str, Any], reading: Reading, *, column: str) -> Job:
    """A row whose prompt is made by the template, or stands in a column."""
    if reading.template is None and column not in row:
        raise BadInputError(f"there is no field `{column}`")
    prompt = reading.template.fill(row) if reading.template else row[column]
    return _short(number, _id_of(row, number), {"prompt": prompt}, reading.url)


def _id_of(given: Mapping[str, Any], number: int) -> str:
    custom_id = given.get("custom_id")
    if custom_id is None or custom_id == "":
        return str(number)
    if type(custom_id) is int:
        return str(custom_id)
    if not isinstance(custom_id, str) or len(custom_id) > LONGEST_ID:
        raise BadInputError(f"the custom_id is no text of at most {LONGEST_ID} characters")
    return custom_id


def _rows(lines: Iterable[Line | BadLine], reading: Reading) -> Iterator[Job | BadLine]:
    """Rows of a table whose first line names the columns. Bad lines are told before the row that follows."""
    csv.field_size_limit(LONGEST_FIELD)
    source = _TableLines(lines)
    rows = csv.reader(source, delimiter=SEPARATORS[reading.form], strict=True)
    names = _columns(rows, reading)
    yield from source.take_bad()
    while True:
        try:
            cells = next(rows, None)
        except csv.Error as error:
            yield BadLine(source.number, f"the row can't be read: {error}")
            continue
        yield from source.take_bad()
        if cells is None:
            return
        number = source.number
        if not cells:
            continue
        if len(cells) != len(names):
            yield BadLine(number, f"the row has {len(cells)} fields, and there are {len(names)} columns")
            continue
        row = dict(zip(names, cells, strict=True))
        yield _checked(number, lambda: _prompted(number, row, reading, column="prompt"))  # noqa: B023


def _columns(rows: Iterator[list[str]], reading: Reading) -> list[str]:
    try:
        names = next(rows, [])
    except csv.Error as error:
        raise BadInputError(f"the names of the columns can't be read: {error}") from error
    needed = reading.template.places if reading.template else {"prompt"}
    if missing := sorted(needed - set(names)):
        hint = "a template makes prompts of other columns: --template 'Translate: {" + (names or ["text"])[0] + "}'"
        raise BadInputError(f"the table has no column `{missing[0]}`; there is {', '.join(names)}", hint=hint)
    return names


class _TableLines:
    """Lines for the reader of tables, which knows no bad ones: these are put aside. `number` is that of the last."""

    def __init__(self, lines: Iterable[Line | BadLine]) -> None:
        self._lines = iter(lines)
        self._bad: list[BadLine] = []
        self.number = 0

    def __iter__(self) -> Iterator[str]:
        return self

    def __next__(self) -> str:
        for line in self._lines:
            self.number = line.number
            if isinstance(line, Line):
                return f"{line.text}\n"
            self._bad.append(line)
        raise StopIteration

    def take_bad(self) -> list[BadLine]:
        bad, self._bad = self._bad, []
        return bad
