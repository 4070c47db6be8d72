"""Run the server inside a program that has an event loop: a test, or the server's own command."""

import asyncio
import socket
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from aiohttp import web

from tests.cdmi_server.app import make_app
from tests.cdmi_server.faults import Faults
from tests.cdmi_server.service import Service
from tests.cdmi_server.settings import Settings
from tests.cdmi_server.store import Store
from tests.cdmi_server.targets import TargetsMode
from tests.cdmi_server.tls import Tls, make_tls


@dataclass(frozen=True)
class ServerHandle:
    """A running server: its root URI (ends with a slash), its CA, and its inside."""

    url: str
    ca_file: Path | None
    state: Path
    store: Store
    faults: Faults

    @property
    def origin(self) -> str:
        """Scheme, host and port, where /.faults and /.admin/swap are."""
        scheme, _, rest = self.url.partition("://")
        return f"{scheme}://{rest.partition('/')[0]}"


@asynccontextmanager
async def serving(
    settings: Settings, *, host: str, port: int, tls: bool, names: Sequence[str] = ()
) -> AsyncIterator[ServerHandle]:
    """Serve while the block runs; port 0 takes a free one, names are further ones for the certificate.

    Raises TargetsError, OSError, and RuntimeError when no certificate can be made.
    """
    hosts = [host, "localhost", "127.0.0.1", "::1", socket.gethostname(), *names]
    service = Service(settings)
    faults = Faults()
    security = await asyncio.to_thread(make_tls, settings.state / "tls", hosts) if tls else None
    runner = web.AppRunner(make_app(service, faults), access_log=None)
    await service.start()
    try:
        await runner.setup()
        taken = await _listen(runner, security, host=host, port=port)
        shown = f"[{host}]" if ":" in host else host
        url = f"{'https' if tls else 'http'}://{shown}:{taken}{settings.root}"
        ca_file = security.ca_file if security else None
        yield ServerHandle(url, ca_file, settings.state, service.store, faults)
    finally:
        faults.clear()
        await runner.cleanup()
        await service.stop()


@asynccontextmanager
async def running_server(
    state_dir: Path,
    *,
    targets: str = TargetsMode.SIMULATED,
    tls: bool = False,
    user: str | None = None,
    password: str = "",
    root: str = "/cdmi/",
    portals: Sequence[str] = ("127.0.0.1",),
    port: int = 0,
    dialect: str = "1.1",
    hostile: str = "",
    fc_targets: Sequence[str] = (),
) -> AsyncIterator[ServerHandle]:
    """Serve on 127.0.0.1 while the block runs, for tests."""
    settings = Settings(
        state=state_dir,
        root=root,
        user=user,
        password=password,
        targets=TargetsMode(targets),
        portals=tuple(portals),
        dialect=dialect,
        hostile=hostile,
        fc_targets=tuple(fc_targets),
    )
    async with serving(settings, host="127.0.0.1", port=port, tls=tls) as handle:
        yield handle


async def _listen(runner: web.AppRunner, security: Tls | None, *, host: str, port: int) -> int:
    site = web.TCPSite(runner, host, port, ssl_context=security.context if security else None)
    await site.start()
    return int(runner.addresses[0][1])
