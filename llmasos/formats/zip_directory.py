"""Where the files in a zip archive lie: for archives whose files are stored as they are, so that they can be mapped.

Reads the central directory, of zip64 too, and each file's own header for the place of its bytes. Everything is checked
against the archive before it is believed; nothing is unpacked. The layout is that of PKWARE's APPNOTE.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import BinaryIO

MAGIC = b"PK\x03\x04"
LOCAL_HEADER = struct.Struct("<4s22xHH")  # signature, lengths of the name and of what is extra
CENTRAL_HEADER = struct.Struct("<4s4xHH8xIIHHH8xI")
END_RECORD = struct.Struct("<4sHHHHIIH")
END_RECORD_64 = struct.Struct("<4sQHHIIQQQQ")
END_LOCATOR_64 = struct.Struct("<4sIQI")

LONGEST_DIRECTORY = 64 * 1024**2
LONGEST_COMMENT = 65535
ENCRYPTED = 1  # in an entry's flags
IN_ZIP64 = 0xFFFFFFFF  # a number that stands in the zip64 field instead


class BrokenZipError(Exception):
    """The reason that an archive is refused."""


@dataclass(frozen=True, slots=True)
class ZipEntry:
    offset: int  # in bytes, from the start of the archive, to the file's content
    size: int  # in bytes


def read_zip_directory(file: BinaryIO) -> dict[str, ZipEntry]:
    """The places of an archive's files by name. Raises BrokenZipError, OSError if it can't be read at all."""
    archive_bytes = file.seek(0, 2)
    try:
        offset, size = _find_directory(file, archive_bytes)
        if size > LONGEST_DIRECTORY or offset + size > archive_bytes:
            raise BrokenZipError(f"its directory of {size} bytes at byte {offset} can't be")
        entries: dict[str, ZipEntry] = {}
        for name, entry in _iter_entries(_read_at(file, offset, size)):
            if name in entries:
                raise BrokenZipError(f"it holds {ascii(name)[:80]} twice")
            entries[name] = _locate(file, name, entry, offset)
    except (struct.error, UnicodeDecodeError) as error:
        raise BrokenZipError("its directory is cut off or damaged") from error
    return entries


def _find_directory(file: BinaryIO, archive_bytes: int) -> tuple[int, int]:
    """The offset and the size of the central directory, in bytes."""
    tail_bytes = min(archive_bytes, END_RECORD.size + LONGEST_COMMENT)
    tail = _read_at(file, archive_bytes - tail_bytes, tail_bytes)
    position = tail.rfind(b"PK\x05\x06")
    if position < 0:
        raise BrokenZipError("its end is missing")
    _, disk, _, _, entries, size, offset, _ = END_RECORD.unpack_from(tail, position)
    if position >= END_LOCATOR_64.size:
        locator = END_LOCATOR_64.unpack_from(tail, position - END_LOCATOR_64.size)
        if locator[0] == b"PK\x06\x07":
            return _find_directory_64(file, locator[2], archive_bytes)
    if disk or entries == 0xFFFF or IN_ZIP64 in (size, offset):
        raise BrokenZipError("it is split over several files, or its end is damaged")
    return offset, size


def _find_directory_64(file: BinaryIO, position: int, archive_bytes: int) -> tuple[int, int]:
    if position > archive_bytes:
        raise BrokenZipError("its end points beyond itself")
    record = END_RECORD_64.unpack(_read_at(file, position, END_RECORD_64.size))
    signature, size, offset = record[0], record[8], record[9]
    if signature != b"PK\x06\x06":
        raise BrokenZipError("its end is damaged")
    return offset, size


def _iter_entries(directory: bytes) -> Iterator[tuple[str, ZipEntry]]:
    """The files by name; `offset` is still that of the file's own header."""
    position = 0
    while position < len(directory):
        header = CENTRAL_HEADER.unpack_from(directory, position)
        signature, flags, method, packed, size, name_bytes, extra_bytes, comment_bytes, offset = header
        if signature != b"PK\x01\x02":
            raise BrokenZipError(f"its directory is damaged at byte {position}")
        start = position + CENTRAL_HEADER.size
        name = directory[start : start + name_bytes].decode("utf-8")
        extra = directory[start + name_bytes : start + name_bytes + extra_bytes]
        size, packed, offset = _widen((size, packed, offset), extra)
        if method or flags & ENCRYPTED or size != packed:
            raise BrokenZipError(f"{ascii(name)[:80]} in it is compressed or encrypted")
        yield name, ZipEntry(offset, size)
        position = start + name_bytes + extra_bytes + comment_bytes


def _widen(numbers: tuple[int, int, int], extra: bytes) -> tuple[int, ...]:
    """Takes numbers too large for their fields from the zip64 field, where they stand in the same order."""
    position = 0
    while position + 4 <= len(extra):
        kind, length = struct.unpack_from("<HH", extra, position)
        if kind == 1:
            wide = struct.iter_unpack("<Q", extra[position + 4 : position + 4 + length // 8 * 8])
            return tuple(next(wide, (number,))[0] if number == IN_ZIP64 else number for number in numbers)
        position += 4 + length
    return numbers


def _locate(file: BinaryIO, name: str, entry: ZipEntry, directory_offset: int) -> ZipEntry:
    """The entry with the offset of its content, which lies behind the file's own header."""
    if entry.offset > directory_offset:
        raise BrokenZipError(f"{ascii(name)[:80]} in it is out of place")
    signature, name_bytes, extra_bytes = LOCAL_HEADER.unpack(_read_at(file, entry.offset, LOCAL_HEADER.size))
    offset = entry.offset + LOCAL_HEADER.size + name_bytes + extra_bytes
    if signature != MAGIC or offset + entry.size > directory_offset:
        raise BrokenZipError(f"{ascii(name)[:80]} in it is out of place")
    return ZipEntry(offset, entry.size)


def _read_at(file: BinaryIO, offset: int, byte_count: int) -> bytes:
    file.seek(offset)
    return file.read(byte_count)
