"""`cdmi-attachd`: the composition root. Here, and only here, the layers are put together."""

import argparse
import asyncio
import grp
import importlib.metadata
import logging
import signal
import sys
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from agent import config as configuration
from agent.config import Config, ConfigError
from agent.config_render import render
from agent.contract import Cdmi
from agent.engine.desk import Desk, Settings
from agent.engine.engine import Engine
from agent.engine.ledger import MIGRATIONS, Ledger
from agent.engine.permits import host_sight
from agent.log import setup_logging
from agent.messages import Message, fields
from attachers import fc, iscsi, nfs
from attachers.base import Attacher, Host
from attachers.problems import Problem

if TYPE_CHECKING:
    from agent.lag import LoopLag
    from agent.metrics import Metrics

log = logging.getLogger(__name__)
SOCKET = Path("/run/cdmi-attach/control.sock")
HELPER = Path("/run/cdmi-attach/helper.sock")
STATE = Path("/var/lib/cdmi-attach")
EXTRA_S = 30.0
"""How much more than what the start may wait for systemd is told to allow, in seconds."""
ATTACHERS: dict[str, Attacher] = {iscsi.protocol: iscsi, fc.protocol: fc, nfs.protocol: nfs}
"""Every protocol that this daemon can attach: a new one is one file in attachers/ and one line here."""


@dataclass(frozen=True, slots=True)
class Options:
    """What the command line says."""

    config: Path
    socket: Path
    helper: Path
    state: Path
    simulate: Path | None


def main() -> int:
    """Run the daemon until SIGTERM. Returns the exit status."""
    parser = _parser()
    args = parser.parse_args()
    options = Options(args.config, args.socket, args.helper, args.state, args.simulate)
    try:
        config = configuration.load_config(options.config, need_credentials=not (args.check_config or args.show_config))
    except ConfigError as error:
        print(error, file=sys.stderr)
        return 1
    if args.show_config:
        print(render(config), end="")
    if args.check_config:
        print("OK", file=sys.stderr)
    if args.check_config or args.show_config:
        return 0
    setup_logging(verbose=args.verbose)
    try:
        asyncio.run(_run(options, config))
    except Problem as problem:
        log.critical("%s; %s", problem.detail, problem.hint)
        return 1
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="cdmi-attachd", description=__doc__)
    parser.add_argument("--config", type=Path, default=configuration.DEFAULT_PATH, metavar="FILE")
    parser.add_argument("--socket", type=Path, default=SOCKET, help="where to listen, unless systemd passes a socket")
    parser.add_argument("--helper", type=Path, default=HELPER, help="the socket of cdmi-attach-helperd")
    parser.add_argument("--state", type=Path, default=STATE, metavar="DIR", help="where the ledger is")
    parser.add_argument("--simulate", type=Path, metavar="SAN.json", help="a simulated host instead of this one")
    parser.add_argument("--check-config", action="store_true", help="check the configuration and exit")
    parser.add_argument("--show-config", action="store_true", help="print the effective configuration and exit")
    parser.add_argument("--verbose", action="store_true", help="log what is being waited for, too")
    return parser


async def _run(options: Options, config: Config) -> None:
    from agent import notify
    from agent.api.app import create_app
    from agent.api.serve import serve
    from agent.lag import LoopLag
    from agent.metrics import Metrics
    from agent.store import open_store

    async with AsyncExitStack() as stack:
        store = open_store(options.state / "ledger.sqlite", MIGRATIONS, reserve=True)
        stack.callback(store.close)
        current = [config]
        host = await _host(options, current)
        stack.push_async_callback(host.close)
        metrics, lag = Metrics(_version()), LoopLag()
        stack.callback(lag.close)
        desk = Desk(host, _client(config, metrics), Ledger(store), ATTACHERS, _settings(config), meter=metrics)
        metrics.watch(desk.states)
        stack.push_async_callback(lambda: desk.cdmi.close())
        engine = Engine(desk)
        await engine.start()
        retired = _Retired(engine)
        stack.push_async_callback(retired.close)
        stack.push_async_callback(engine.stop)
        gid, settings = _gid(config.socket.group), lambda: current[0].attach
        admins = _gid(config.socket.admins) if config.socket.admins else None
        app = create_app(
            engine, group_gid=gid, admins_gid=admins, settings=settings, scrape=_scraper(desk, metrics, lag)
        )
        runner = await serve(app, options.socket, group_gid=gid)
        stack.push_async_callback(runner.cleanup)
        stopped = asyncio.Event()
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, stopped.set)
        loop.add_signal_handler(signal.SIGHUP, _reloader(options, current, desk, metrics, retired))
        await _until_back(engine, stopped)
        notify.notify("READY=1", f"STATUS={len(desk.ledger.rows)} attachments")
        log.info("serving %d attachments", len(desk.ledger.rows))
        await notify.watch(stopped, check=desk.ledger.check)
        notify.notify("STOPPING=1")
        log.info("stopping; every attachment stays as it is")


async def _until_back(engine: Engine, stopped: asyncio.Event) -> None:
    """Hold up what is ordered after this service until the disks of before are there again. Callers are served already.

    Returns early when the daemon is asked to stop.
    """
    from agent import notify
    from agent.engine.starting import bound_s

    limit_s = bound_s()
    notify.notify(f"EXTEND_TIMEOUT_USEC={round((limit_s + EXTRA_S) * 1e6)}", "STATUS=bringing back what was attached")
    back = asyncio.create_task(engine.starting.settled(limit_s=limit_s), name="start")
    stop = asyncio.create_task(stopped.wait())
    try:
        await asyncio.wait({back, stop}, return_when=asyncio.FIRST_COMPLETED)
        if back.done() and (missing := back.result()):
            log.error("not back after %g s, and tried again: %s", limit_s, ", ".join(missing))
    finally:
        for task in (back, stop):
            task.cancel()
        await asyncio.gather(back, stop, return_exceptions=True)


async def _host(options: Options, current: list[Config]) -> Host:
    """The host to work on: the helper behind its socket or, simulated, a model of one in this process."""
    if options.simulate is None:
        from agent.host.remote import RemoteHost

        return RemoteHost(options.helper)
    from agent.host.allowed import allowed_by
    from agent.host.simulation import simulated_host

    return await simulated_host(options.simulate, lambda: allowed_by(current[0]))


def _client(config: Config, metrics: "Metrics") -> Cdmi:
    from agent.cdmi.client import CdmiClient

    protocols = [protocol for protocol in config.attach.protocols if protocol in ATTACHERS]
    return CdmiClient(config.servers, protocols=protocols, told=metrics.request)


def _version() -> str:
    try:
        return importlib.metadata.version("cdmi-attach")
    except importlib.metadata.PackageNotFoundError:
        return "unknown"


def _settings(config: Config) -> Settings:
    attach, share, interface = config.attach, config.nfs, config.iscsi.interface
    return Settings(
        attach.protocols,
        attach.device_owner,
        attach.allow_unverified,
        trust_local=attach.trust_local_names,
        multipath=attach.multipath,
        chap=frozenset(chap.server for chap in config.chap),
        iface="" if interface == "default" else interface,
        nfs_options=share.options,
        nfs_downgrade=share.allow_downgrade,
        nfs_discard=share.discard,
    )


class _Retired:
    """CDMI clients that a reload has replaced: what was under way ends with the one that it began with."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._closing: set[asyncio.Task[None]] = set()

    def take(self, client: Cdmi) -> None:
        """Close this one as soon as no attachment is on its way, and nothing is read or written by it."""
        task = asyncio.create_task(self._close(client))
        self._closing.add(task)
        task.add_done_callback(self._closing.discard)

    async def close(self) -> None:
        """Wait until all are closed; to be called once the engine has stopped."""
        await asyncio.gather(*self._closing)

    async def _close(self, client: Cdmi) -> None:
        await self._engine.settled()
        await self._engine.objects.let_go(client)
        await client.close()


def _scraper(desk: Desk, metrics: "Metrics", lag: "LoopLag") -> Callable[[], Awaitable[bytes]]:
    """What GET /metrics does."""

    async def scrape() -> bytes:
        with suppress(Problem):  # without the helper, its figure stays as it was
            metrics.stuck((await host_sight(desk)).stragglers)
        metrics.late(lag.take())
        return metrics.text()

    return scrape


def _reloader(
    options: Options, current: list[Config], desk: Desk, metrics: "Metrics", retired: _Retired
) -> Callable[[], None]:
    """What SIGHUP does: read the files again; a mistake in them changes nothing, and is said."""

    def reload() -> None:
        try:
            config = configuration.load_config(options.config)
        except ConfigError as error:
            log.error("the configuration was not reloaded: %s", error, extra=fields(Message.CONFIG_REFUSED))
            return
        retired.take(desk.cdmi)
        desk.cdmi, desk.settings, current[0] = _client(config, metrics), _settings(config), config
        log.info("the configuration was reloaded")

    return reload


def _gid(group: str) -> int | None:
    try:
        return grp.getgrnam(group).gr_gid
    except KeyError:
        log.warning("[socket]: there is no group %s on this host; of its members nobody may call", group)
        return None


if __name__ == "__main__":
    sys.exit(main())
