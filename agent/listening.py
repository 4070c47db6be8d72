"""A listening Unix socket: the one that systemd opened for us, or one at a path of our own; and who calls on it."""

import errno
import os
import pwd
import socket
import struct
from collections.abc import Mapping
from pathlib import Path
from typing import Protocol

FIRST_FD = 3
_CREDENTIALS = struct.Struct("iII")


class _Socket(Protocol):
    def getsockopt(self, level: int, optname: int, buflen: int, /) -> bytes: ...


def activated(name: str, environ: Mapping[str, str]) -> socket.socket | None:
    """The listening socket that systemd passed under this name (sd_listen_fds(3)), None when there is none."""
    if environ.get("LISTEN_PID") != str(os.getpid()):
        return None
    names = environ.get("LISTEN_FDNAMES", "").split(":")
    for index in range(int(environ.get("LISTEN_FDS", "0"))):
        if index < len(names) and names[index] == name:
            os.set_inheritable(FIRST_FD + index, False)
            return socket.socket(fileno=FIRST_FD + index)
    return None


def listen(path: Path, *, mode: int, uid: int | None = None, gid: int | None = None) -> socket.socket:
    """A new socket at this path, with this mode from its first moment, then given to `uid` and `gid`.

    Raises `OSError` (EADDRINUSE) when somebody listens there; a path that nobody listens on any more is taken over.
    """
    _remove_stale(path)
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    before = os.umask(0o777 & ~mode)
    try:
        sock.bind(str(path))
        if uid is not None or gid is not None:
            os.chown(path, -1 if uid is None else uid, -1 if gid is None else gid)
    except OSError:
        sock.close()
        raise
    finally:
        os.umask(before)
    return sock


def _remove_stale(path: Path) -> None:
    if not path.is_socket():
        return
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        try:
            probe.connect(str(path))
        except ConnectionRefusedError:
            path.unlink(missing_ok=True)
        else:
            raise OSError(errno.EADDRINUSE, "another process listens here", str(path))


def credentials(sock: _Socket) -> tuple[int, int, int]:
    """Process, user and group of the peer of an ACCEPTED socket, as it connected (SO_PEERCRED, unix(7))."""
    pid, uid, gid = _CREDENTIALS.unpack(sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size))
    return pid, uid, gid


def uid_of(user: str) -> int | None:
    """The user's number, None where there is no such user."""
    try:
        return pwd.getpwnam(user).pw_uid
    except KeyError:
        return None
