"""Listen: on the socket that systemd opened for us, or on a path of our own."""

import errno
import inspect
import os
import socket
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any

from aiohttp import web

from agent.api.door import Limits, Site

FIRST_FD = 3
KEEPALIVE_S = 15.0
SHUTDOWN_S = 2.0
"""What is asked of the engine goes on without its caller, so nobody has to be waited for."""


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


def listen(path: Path, *, group_gid: int | None) -> socket.socket:
    """A new socket at this path, 0660 from its first moment. Raises `OSError` when somebody listens there."""
    _remove_stale(path)
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    before = os.umask(0o117)
    try:
        sock.bind(str(path))
    except OSError:
        sock.close()
        raise
    finally:
        os.umask(before)
    if group_gid is not None:
        os.chown(path, -1, group_gid)
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
            raise OSError(errno.EADDRINUSE, "another daemon listens here", str(path))


async def serve(
    app: web.Application,
    path: Path,
    *,
    group_gid: int | None,
    environ: Mapping[str, str] = os.environ,
    limits: Limits = Limits(),  # noqa: B008  # frozen
) -> web.AppRunner:
    """Serve on the socket named `api` of systemd, else on `path`; `cleanup()` of the result ends it.

    A path of our own is removed then; one that systemd opened stays, with the callers that wait on it.
    """
    sock = activated("api", environ)
    if sock is None:
        sock = listen(path, group_gid=group_gid)
        app.on_cleanup.append(_unlink(path))
    sock.setblocking(False)
    # Without auto_decompress: 60 KiB would become 60 MiB, on the event loop, before anybody could refuse them.
    settings = {"keepalive_timeout": KEEPALIVE_S, "auto_decompress": False} | _shutdown(web.BaseRunner)
    runner = web.AppRunner(app, access_log=None, **settings)
    await runner.setup()
    site = Site(runner, sock, **_shutdown(web.SockSite))
    site.limits = limits
    await site.start()
    return runner


def _shutdown(kind: type) -> dict[str, Any]:
    """The shutdown time, for the one that takes it: in aiohttp 3.8 (Debian 12) the site, later the runner."""
    modern = "shutdown_timeout" in inspect.signature(web.BaseRunner.__init__).parameters
    return {"shutdown_timeout": SHUTDOWN_S} if modern == (kind is web.BaseRunner) else {}


def _unlink(path: Path) -> Callable[[web.Application], Awaitable[None]]:
    def unlink() -> None:
        path.unlink(missing_ok=True)

    async def on_cleanup(_app: web.Application) -> None:
        unlink()

    return on_cleanup
