"""A guest that writes: 512 bytes that SeaBIOS boots, and that write and read back numbered sectors for ever.

Sector 2048 + number % 128 gets the number, 128 times over; then it is read again and compared. The first serial port
says how it went: a line with a dot after 16 sectors, one with E where the BIOS told of an error (the same number is
written again then, until it succeeds), one with W where something else was read than was written.
"""

import struct
from collections.abc import Sequence

SECTOR, FIRST, SECTORS, EACH = 512, 2048, 128, 16
WELL, FAILED, WRONG = ".", "E", "W"
_CODE = (
    ("fa 31c0 8ed8 8ec0 8ed0 bc007c fc fb", "no interrupts; all segments 0; the stack below the code; forwards"),
    ("8816b37c", "keep the drive that was booted from"),
    ("66ff06af7c 66a1af7c", "next: eax = ++number"),
    ("bf0080 b98000 66f3ab", "fill the sector at 0x8000 with it"),
    ("66257f000000 660500080000 66a3a77c", "the packet's LBA = 2048 + number % 128"),
    ("c706a37c0080 b443 e83200", "its buffer = 0x8000; write (INT 13h, 43h)"),
    ("c706a37c0090 b442 e82700", "its buffer = 0x9000; read (42h)"),
    ("be0080 bf0090 b90001 f3a7 7516", "are they equal? else: wrong"),
    ("f606af7c0f 75b4 b02e", "not after 16 sectors: next; a dot"),
    ("e82b00 b00a e82600 bc007c eba5", "tell: send it and a line's end; an empty stack; next"),
    ("b057 ebef", "wrong: tell W"),
    (
        "c706a17c0100 b000 8a16b37c be9f7c cd13",
        "the disk by the BIOS: one sector (it counts what it did: 0 after an error)",
    ),
    ("7201 c3", "done, unless it fails"),
    ("66ff0eaf7c b045 ebd2", "then --number, so that the next is the same again; tell E"),
    ("88c3 bafd03 ec a820 74fb baf803 88d8 ee c3", "send a byte once the port takes it"),
    ("1000 0100 0000 0000 0000000000000000", "the packet: its size, one sector, the buffer, the LBA"),
    ("00000000 00", "the number; the drive"),
)


def writing_sector() -> bytes:
    """The boot sector."""
    code = b"".join(bytes.fromhex(part) for part, _ in _CODE)
    return code.ljust(SECTOR - 2, b"\0") + b"\x55\xaa"


def newest(sectors: bytes) -> int:
    """The highest number in the written sectors of the disk, from `FIRST` on."""
    numbers: tuple[int, ...] = struct.unpack(f"<{len(sectors) // 4}I", sectors)
    return max(numbers)


def lost(sectors: bytes) -> Sequence[str]:
    """What is wrong with these sectors: nothing where each has the last number that it was to have."""
    last = newest(sectors)
    found = [struct.unpack_from("<128I", sectors, place * SECTOR) for place in range(SECTORS)]
    wanted = [max(last - (last - place) % SECTORS, 0) for place in range(SECTORS)]
    return [
        f"sector {place} has {sorted(set(numbers))}, not {right}"
        for place, (numbers, right) in enumerate(zip(found, wanted, strict=True))
        if set(numbers) != {right}
    ]
