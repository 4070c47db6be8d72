"""Listen: on the socket that systemd opened for us, or on a path of our own."""

import inspect
import os
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any

from aiohttp import web

from agent.api.door import Limits, Site
from agent.listening import activated, listen

KEEPALIVE_S = 15.0
SHUTDOWN_S = 2.0
"""What is asked of the engine goes on without its caller, so nobody has to be waited for."""


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
        sock = listen(path, mode=0o660, gid=group_gid)
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
