"""A disk that proves itself: 512 bytes that SeaBIOS boots, and that print one line on the first serial port."""

ORIGIN = 0x7C00
LINE_STATUS, TRANSMIT = 0x3FD, 0x3F8
MAX_LINE = 400


def boot_sector(line: str) -> bytes:
    """The boot sector that prints `line` (ASCII, at most 400 characters) and halts."""
    text = line.encode("ascii") + b"\r\n\0"
    if len(text) > MAX_LINE:
        raise ValueError("the line is too long for a boot sector")
    head = bytes.fromhex("fa 31c0 8ed8 fc be")  # cli; ax = ds = 0; forwards; si = the text's address, which follows
    body = bytes.fromhex(
        "ac 84c0 7412 88c4 ba"  # next: load a byte; 0: to done; keep it in ah; dx =
        + LINE_STATUS.to_bytes(2, "little").hex()
        + "ec a820 74fb 88e0 ba"  # wait until the port takes a byte; back to al; dx =
        + TRANSMIT.to_bytes(2, "little").hex()
        + "ee ebe9 f4 ebfd"  # send it; to next; done: halt, for good
    )
    address = ORIGIN + len(head) + 2 + len(body)
    code = head + address.to_bytes(2, "little") + body + text
    return code.ljust(510, b"\0") + b"\x55\xaa"
