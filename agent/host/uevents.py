"""That something has changed: the kernel's and udev's events, as a number that grows. A hint to look, never a fact."""

import asyncio
import errno
import logging
import re
import socket
from collections.abc import Callable
from contextlib import suppress

NETLINK_KOBJECT_UEVENT = 15
KERNEL_AND_UDEV = 1 | 2  # lib/kobject_uevent.c; src/libsystemd/sd-device/device-monitor.c
BUFFER_BYTES = 4 * 1024 * 1024
AT_ONCE = 256
_OURS = re.compile(rb"\x00SUBSYSTEM=(?:block|bsg|scsi\w*|iscsi\w*|fc\w*)\x00")

log = logging.getLogger(__name__)


class Changes:
    """A number that grows with each change, and those who wait for it; `alarms` grows with those that `alarm`."""

    def __init__(self) -> None:
        self.count = 0
        self.alarms = 0
        self._waiting: set[asyncio.Future[None]] = set()

    def grow(self, *, alarm: bool = False) -> None:
        """Something may have changed; with `alarm`, something may be gone, or be another."""
        self.count += 1
        self.alarms += alarm
        for future in self._waiting:
            if not future.done():
                future.set_result(None)

    async def above(self, since: int, *, timeout_s: float) -> None:
        """Return when the number is above `since`, or after `timeout_s`."""
        if self.count > since or timeout_s <= 0:
            return
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.add(future)
        try:
            with suppress(TimeoutError):
                await asyncio.wait_for(future, timeout_s)
        finally:
            self._waiting.discard(future)


def matters(message: bytes) -> bool:
    """Whether an event, the kernel's or udev's, is about disks, SCSI, iSCSI or Fibre Channel."""
    return _OURS.search(message) is not None


def alarms(message: bytes) -> bool:
    """Whether an event tells of something gone, or that a target has said that what it shows is not what it was.

    The latter is SDEV_UA (drivers/scsi/scsi_lib.c scsi_evt_emit): another unit, another list of LUNs, another state of
    access.
    """
    return b"\x00ACTION=remove\x00" in message or b"\x00SDEV_UA=" in message


class Uevents:
    """Listens to the kernel (group 1) and to udev (group 2: its rules have run) on the running event loop."""

    def __init__(self, changes: Changes, gone: Callable[[], None] = lambda: None) -> None:
        self._changes = changes
        self._gone = gone
        self._loop = asyncio.get_running_loop()
        self._socket: socket.socket | None = None
        try:
            self._socket = _open()
        except OSError as error:
            log.warning("no uevents (%s): changes are noticed by the slow tick only", error)
        else:
            self._loop.add_reader(self._socket, self._read)

    def _read(self) -> None:
        grown = alarm = False
        for _ in range(AT_ONCE):
            try:
                message = self._socket.recv(65536) if self._socket else b""
            except BlockingIOError:
                break
            except OSError as error:
                if error.errno != errno.ENOBUFS:
                    raise
                grown = alarm = True  # some were lost: any may have mattered
            else:
                grown |= matters(message)
                alarm |= matters(message) and alarms(message)
        if alarm:
            self._gone()
        if grown:
            self._changes.grow(alarm=alarm)

    def close(self) -> None:
        """Stop listening."""
        if self._socket is not None:
            self._loop.remove_reader(self._socket)
            self._socket.close()
            self._socket = None


def _open() -> socket.socket:
    sock = socket.socket(
        socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC | socket.SOCK_NONBLOCK, NETLINK_KOBJECT_UEVENT
    )
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, BUFFER_BYTES)
    sock.bind((0, KERNEL_AND_UDEV))
    return sock
