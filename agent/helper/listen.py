"""The helper's socket: the one that systemd opened, or one of our own; and who is on the other end of a connection."""

import asyncio
import errno
import os
import pwd
import socket
import struct
from collections.abc import Mapping
from pathlib import Path

FIRST_FD = 3
_CREDENTIALS = struct.Struct("3i")


def listening(path: Path, *, uid: int | None, environ: Mapping[str, str] = os.environ) -> socket.socket:
    """The socket passed by systemd (sd_listen_fds(3)), else a new one at `path` that root and `uid` may open.

    Raises `OSError` when another helper listens there.
    """
    if environ.get("LISTEN_PID") == str(os.getpid()) and int(environ.get("LISTEN_FDS", "0")) > 0:
        os.set_inheritable(FIRST_FD, False)
        return socket.socket(fileno=FIRST_FD)
    _remove_stale(path)
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    before = os.umask(0o177)
    try:
        sock.bind(str(path))
        if uid is not None and os.geteuid() == 0:
            os.chown(path, uid, -1)
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
            raise OSError(errno.EADDRINUSE, "another helper listens here", str(path))


def uid_of(user: str) -> int | None:
    """The user's number, None where there is no such user."""
    try:
        return pwd.getpwnam(user).pw_uid
    except KeyError:
        return None


def peer_of(writer: asyncio.StreamWriter) -> tuple[int, int]:
    """Process and user of the peer, as the kernel noted them when it connected (SO_PEERCRED, unix(7))."""
    sock = writer.get_extra_info("socket")
    raw = sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
    pid, uid, _ = _CREDENTIALS.unpack(raw)
    return pid, uid
