"""What a guest that answers no command any more still says on its serial console: the kernel's own dumps (sysrq)."""

from __future__ import annotations

import select
import socket
import time
from contextlib import suppress

from tests.lab.errors import LabError
from tests.lab.machine import Place
from tests.lab.monitor import Monitor, connect_unix

LOUD, QUIET = b"9", b"4"
DUMPS = b"lwm"
"""What each processor does, what is blocked, and the memory (Documentation/admin-guide/sysrq.rst)."""
KEY_S, SILENT_S, MOST_S = 4.0, 1.0, 20.0


def dumped(place: Place, keys: bytes = DUMPS) -> str:
    """What the kernel of a guest, its sysrq switched on, says when these keys are pressed after a break."""
    said = b""
    with suppress(OSError, LabError), connect_unix(place.serial) as line, Monitor(place.monitor) as monitor:
        for key in (LOUD, *(bytes([one]) for one in keys), QUIET):
            monitor.execute("chardev-send-break", {"id": "serial"})
            line.sendall(key)
            said += _until_silent(line)
    return said.decode(errors="replace")


def _until_silent(line: socket.socket) -> bytes:
    """What comes, from the first of it on until it pauses."""
    said, end = b"", time.monotonic() + MOST_S
    wait_s = KEY_S
    while time.monotonic() < end and select.select([line], [], [], wait_s)[0]:
        piece = line.recv(65536)
        if not piece:
            break
        said, wait_s = said + piece, SILENT_S
    return said
