"""Make and check CDMI object IDs: Base16 text with an enterprise number, a length and a CRC-16.

Layout (CDMI 1.1 clause 5.10): byte 0 zero, 1-3 enterprise number, 4 zero, 5 length, 6-7 CRC-16, the rest opaque.
"""

import hashlib
import secrets

EXAMPLE_ENTERPRISE = 32473
"""The enterprise number that IANA keeps for examples (RFC 5612)."""

_OPAQUE_BYTES = 16
_HEADER_BYTES = 8
_LONGEST = 40


def crc16(data: bytes) -> int:
    """Return the CRC-16/ARC of data: polynomial 0x8005 reflected, initial value 0, no final xor."""
    crc = 0
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = (crc >> 1) ^ 0xA001 if crc & 1 else crc >> 1
    return crc


def make(opaque: bytes, *, enterprise: int = EXAMPLE_ENTERPRISE) -> str:
    """Return the object ID (upper-case hexadecimal) that carries the opaque bytes."""
    length = _HEADER_BYTES + len(opaque)
    head = b"\0" + enterprise.to_bytes(3, "big") + b"\0" + bytes([length])
    crc = crc16(head + b"\0\0" + opaque)
    return (head + crc.to_bytes(2, "big") + opaque).hex().upper()


def new() -> str:
    """Return an object ID that nobody has yet."""
    return make(secrets.token_bytes(_OPAQUE_BYTES))


def fixed(name: str) -> str:
    """Return the object ID of something that always exists, such as a capabilities object."""
    return make(hashlib.sha256(name.encode()).digest()[:_OPAQUE_BYTES])


def is_valid(text: str) -> bool:
    """Say whether text is an object ID whose length and CRC are right."""
    try:
        raw = bytes.fromhex(text)
    except ValueError:
        return False
    if not _HEADER_BYTES < len(raw) <= _LONGEST or raw[0] or raw[4] or raw[5] != len(raw):
        return False
    return crc16(raw[:6] + b"\0\0" + raw[8:]) == int.from_bytes(raw[6:8], "big")
