"""The letters that byte-level BPE writes for bytes, so that every run of bytes is a text without spaces: GPT-2's."""

from __future__ import annotations


def _byte_letters() -> dict[str, int]:
    """Letter -> byte: printable bytes stand for themselves, the others for letters from U+0100 on."""
    printable = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    others = [byte for byte in range(256) if byte not in printable]
    return {chr(byte): byte for byte in printable} | {chr(256 + place): byte for place, byte in enumerate(others)}


BYTE_OF = _byte_letters()
LETTER_OF = {byte: letter for letter, byte in BYTE_OF.items()}
SPACE_LETTER = LETTER_OF[0x20]


def as_letters(content: bytes) -> str:
    return "".join(LETTER_OF[byte] for byte in content)


def as_decoded(text: str) -> str:
    """What the byte-level decoder makes of a token's text: the bytes' own text, if all its letters stand for bytes."""
    if all(letter in BYTE_OF for letter in text):
        return bytes(BYTE_OF[letter] for letter in text).decode("utf-8", "replace")
    return text
