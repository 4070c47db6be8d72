"""Talk to a guest's QEMU over its monitor socket (QMP): commands, and events awaited with a deadline."""

from __future__ import annotations

import json
import os
import select
import socket
import time
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Any

from tests.lab.errors import LabError

Message = dict[str, Any]


def connect_unix(path: Path) -> socket.socket:
    """Connect to a Unix socket at a path of any length (the kernel takes 107 bytes: go through the folder's fd)."""
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    folder = os.open(path.parent, os.O_PATH | os.O_DIRECTORY)
    try:
        sock.connect(f"/proc/self/fd/{folder}/{path.name}")
    except OSError:
        sock.close()
        raise
    finally:
        os.close(folder)
    return sock


class Lines:
    """Lines of a socket, each read before a deadline on the monotonic clock."""

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock
        self._buffer = b""

    def read(self, deadline: float) -> bytes:
        """The next line; raises TimeoutError at the deadline, EOFError when the other side is gone."""
        while b"\n" not in self._buffer:
            left = deadline - time.monotonic()
            if left <= 0 or not select.select([self._sock], [], [], left)[0]:
                raise TimeoutError
            data = self._sock.recv(65536)
            if not data:
                raise EOFError
            self._buffer += data
        line, _, self._buffer = self._buffer.partition(b"\n")
        return line


class Monitor:
    """One QMP connection. Events that arrive while a command is answered are kept for `wait_event`."""

    def __init__(self, path: Path) -> None:
        self._sock = connect_unix(path)
        self._lines = Lines(self._sock)
        self._events: list[Message] = []
        self._next(time.monotonic() + 10)
        self.execute("qmp_capabilities")

    def __enter__(self) -> Monitor:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._sock.close()

    def execute(self, command: str, arguments: Message | None = None, *, timeout_s: float = 30) -> Any:
        """Run one command and return its `return` value; LabError says what QEMU objects to."""
        request: Message = {"execute": command}
        if arguments is not None:
            request["arguments"] = arguments
        self._sock.sendall(json.dumps(request).encode() + b"\n")
        deadline = time.monotonic() + timeout_s
        while True:
            message = self._next(deadline)
            if "event" in message:
                self._events.append(message)
            elif "error" in message:
                raise LabError(f"QEMU refuses {command}: {message['error']['desc']}")
            elif "return" in message:
                return message["return"]

    def wait_event(self, name: str, *, timeout_s: float, accept: Callable[[Message], bool]) -> Message:
        """The first event `name` whose data `accept` takes; returns that data."""
        deadline = time.monotonic() + timeout_s
        while True:
            message = self._events.pop(0) if self._events else self._next(deadline)
            data = message.get("data", {})
            if message.get("event") == name and accept(data):
                return dict(data)

    def _next(self, deadline: float) -> Message:
        try:
            return dict(json.loads(self._lines.read(deadline)))
        except TimeoutError:
            raise LabError("QEMU did not answer on its monitor in time") from None
        except (EOFError, ConnectionError):
            raise LabError("QEMU went away", remedy="see qemu.log and serial.log in the guest's folder") from None
