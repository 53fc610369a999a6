"""What the cache holds of a sequence, in a file: a conversation or a long prompt that is not read again next time.

The files are llama.cpp's own. Among the tokens of such a file the first are a stamp, made from all that has to be the
same for the keys and values to mean the same, and a sum over the file: llama.cpp would end the process over damage.
"""

from __future__ import annotations

import hashlib
import struct
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import BinaryIO

HEADER = struct.Struct("<III")  # magic, version, how many tokens follow
MAGIC = 0x67677371  # LLAMA_STATE_SEQ_MAGIC; the version llama.cpp looks at itself
IDENTITY = struct.Struct("<7i")
SUM = struct.Struct("<i")
STAMP_LENGTH = 8
CHUNK = 1 << 20


def stamped(tokens: Sequence[int], identity: str) -> list[int]:
    """The tokens behind a stamp of what they were read by, whose last part `seal` fills in."""
    return [*IDENTITY.unpack(_digest(identity)), 0, *tokens]


def seal(path: Path) -> None:
    """Writes the sum over a file into its stamp."""
    with path.open("r+b") as file:
        found = _sum(file)
        file.seek(HEADER.size + IDENTITY.size)
        file.write(SUM.pack(found))


def read_tokens(path: Path, identity: str) -> list[int]:
    """The tokens whose keys and values a file holds. None are usable of what is missing, damaged or another's."""
    try:
        with path.open("rb") as file:
            magic, _, count = HEADER.unpack(file.read(HEADER.size))
            if magic != MAGIC or 4 * count > path.stat().st_size:
                return []
            is_same = file.read(IDENTITY.size) == _digest(identity)
            [expected] = SUM.unpack(file.read(SUM.size))
            tokens = list(struct.unpack(f"<{count - STAMP_LENGTH}i", file.read(4 * (count - STAMP_LENGTH))))
            return tokens if is_same and _sum(file) == expected else []
    except (OSError, struct.error):
        return []


def _digest(identity: str) -> bytes:
    return hashlib.sha256(identity.encode()).digest()[: IDENTITY.size]


def _sum(file: BinaryIO) -> int:
    """Of all but the stamp."""
    file.seek(0)
    found = zlib.crc32(file.read(HEADER.size))
    file.seek(4 * STAMP_LENGTH, 1)
    while chunk := file.read(CHUNK):
        found = zlib.crc32(chunk, found)
    return int(SUM.unpack(struct.pack("<I", found))[0])
