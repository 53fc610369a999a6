"""The output file of a batch: one line a result, appended as results come, and read again to go on where a run ended.

A line's `id` is made of all that decides its result, so a file tells by itself whether it belongs to a batch. What a
kill or a power cut has torn can only stand at the end, and is cut off.
"""

from __future__ import annotations

import errno
import fcntl
import json
import os
import re
import time
from collections.abc import Iterable, Mapping
from hashlib import blake2b
from pathlib import Path
from typing import Any

from llmasos.batch.jobs import Job
from llmasos.errors import BadInputError, BusyError, LlmasosError
from llmasos.files import disk_full_is_an_error, require_writable, sync_folder

SECONDS_BETWEEN_SYNCS = 1.0
PREFIX = "batch_req_"
SEPARATORS = re.compile("[\x7f-\x9f\u2028\u2029]")  # controls and ends of lines that JSON lets stand
BEGINNING = f'{{"id": "{PREFIX}'.encode()  # of every line


def request_id(job: Job, settings: str) -> str:
    """The same for the same request to the same model with the same `settings`, and for nothing else."""
    asked = json.dumps([settings, job.custom_id, job.url, job.body], sort_keys=True)
    return PREFIX + blake2b(asked.encode("utf-8", "surrogatepass"), digest_size=12).hexdigest()


def json_line(record: Mapping[str, Any]) -> bytes:
    """A record as a line, in which nothing is left that some readers take for the end of one."""
    text = json.dumps(record, ensure_ascii=False)
    return SEPARATORS.sub(lambda found: f"\\u{ord(found[0]):04x}", text).encode() + b"\n"


class Ledger:
    """`with` closes it. Only one process at a time has a file open so.

    Raises BusyError if another has it, BadInputError for a file that can't be written or holds anything else than
    results of a batch.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file = _open_alone(path)
        self._synced_at, self._is_dirty = time.monotonic(), False
        try:
            self._finished, self._end = self._read()
        except BaseException:
            os.close(self._file)
            raise

    def require_same_batch(self, jobs: Iterable[Job], settings: str) -> None:
        """Raises BadInputError if a result is of no line of the input, or was got by other settings."""
        left = dict(self._finished)
        for job in jobs if left else ():
            known = left.pop(_mark(job.custom_id), None)
            if known not in (None, _mark(request_id(job, settings))):
                raise self._foreign(f"`{job.custom_id}` was asked otherwise, of another model or with other options")
        if left:
            raise self._foreign(f"{len(left)} of its results are of no line of the input")

    def cut_torn_end(self) -> None:
        """Takes away what follows the last whole line."""
        os.ftruncate(self._file, self._end)

    def has(self, job: Job) -> bool:
        return _mark(job.custom_id) in self._finished

    def add(self, record: Mapping[str, Any]) -> None:
        """Appends a result. Raises DiskFullError, behind which the file is as it was before."""
        raw = json_line(record)
        try:
            with disk_full_is_an_error(self._path):
                _write_all(self._file, raw)
        except BaseException:
            os.ftruncate(self._file, self._end)
            raise
        self._end += len(raw)
        self._finished[_mark(record["custom_id"])] = _mark(record["id"])
        self._is_dirty = True
        self.sync_if_due()

    def sync_if_due(self) -> None:
        """What was added longer ago than a second is safe from a power cut."""
        if self._is_dirty and time.monotonic() - self._synced_at >= SECONDS_BETWEEN_SYNCS:
            self.sync()

    def sync(self) -> None:
        with disk_full_is_an_error(self._path):
            os.fsync(self._file)
        self._synced_at, self._is_dirty = time.monotonic(), False

    def close(self) -> None:
        try:
            if self._is_dirty:
                self.sync()
        finally:
            os.close(self._file)

    def __enter__(self) -> Ledger:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _read(self) -> tuple[dict[bytes, bytes], int]:
        """Marks of the ids that are finished, with those of their requests; and where the last whole line ends."""
        finished: dict[bytes, bytes] = {}
        end = 0
        if not BEGINNING.startswith(os.pread(self._file, len(BEGINNING), 0).replace(b"\0", b"")):
            raise self._foreign("it holds something else")  # told before a line of any length is read
        with os.fdopen(os.dup(self._file), "rb") as file:
            file.seek(0)
            for number, line in enumerate(file, start=1):
                if not line.endswith(b"\n") or b"\0" in line:  # a power cut may leave zeros
                    self._require_torn(line, is_first=number == 1)
                    break
                record = self._record(number, line)
                finished[_mark(record["custom_id"])] = _mark(record["id"])
                end += len(line)
        return finished, end

    def _record(self, number: int, line: bytes) -> Mapping[str, Any]:
        try:
            record = json.loads(line) if line.startswith(BEGINNING) else None
        except (ValueError, RecursionError):
            record = None
        if not isinstance(record, dict) or not isinstance(record.get("custom_id"), str):
            raise self._foreign(f"line {number} is no result of a batch")
        return record

    def _require_torn(self, line: bytes, *, is_first: bool) -> None:
        """What is not even the beginning of a line of ours is somebody else's."""
        known = line.replace(b"\0", b"")
        has_hole = len(known) < len(line) and not is_first
        if not (has_hole or known.startswith(BEGINNING) or BEGINNING.startswith(known)):
            raise self._foreign("its end is no result of a batch")

    def _foreign(self, reason: str) -> BadInputError:
        hint = "name another file with -o, or remove this one to begin anew"
        return BadInputError(f"{self._path} is not the output of this batch: {reason}", hint=hint)


def _open_alone(path: Path) -> int:
    require_writable(path)
    if path.exists() and not path.is_file():
        raise BadInputError(f"can't write {path}: it is not a file", hint="a batch goes on from what its file holds")
    is_new = not path.exists()
    try:
        file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o666)
    except OSError as error:
        raise BadInputError(f"can't write {path}: {error.strerror}") from error
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        os.close(file)
        if error.errno not in (errno.EWOULDBLOCK, errno.EACCES):
            raise LlmasosError(f"{path} can't be locked: {error.strerror}") from error
        raise BusyError(f"another batch writes {path}", hint="wait for its end; then the same goes on") from error
    if is_new:
        sync_folder(path.resolve().parent)
    return file


def _write_all(file: int, raw: bytes) -> None:
    view = memoryview(raw)
    while view:
        view = view[os.write(file, view) :]


def _mark(text: str) -> bytes:
    """So little of each id is remembered, however many and long they are."""
    return blake2b(text.encode("utf-8", "surrogatepass"), digest_size=12).digest()
