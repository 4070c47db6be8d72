"""The root half, cdmi-attach-helperd: it does what the daemon asks, of a fixed table, and undoes only what it made."""

import argparse
import asyncio
import logging
import os
import signal
import sys
from contextlib import AsyncExitStack
from pathlib import Path

from agent import notify
from agent.config import DEFAULT_PATH
from agent.helper.children import wait_for_children
from agent.helper.rules import Rules
from agent.helper.server import HelperServer
from agent.host.confined import ConfinedHost
from agent.host.created import open_created
from agent.host.guarded import GuardedHost
from agent.host.linux import FUNCTIONS, LinuxHost
from agent.host.simulated import SimulatedHost
from agent.host.simulated_san import San
from agent.listening import activated, listen, uid_of
from agent.log import setup_logging
from agent.store import MEMORY
from agent.workers.pool import Pool
from attachers.base import Host
from attachers.problems import Problem

log = logging.getLogger(__name__)
SOCKET = Path("/run/cdmi-attach/helper.sock")
STATE = Path("/var/lib/cdmi-attach-helper")
LEDGER = "created.sqlite"
STOP_S = 30.0
"""How long requests under way, and then iscsiadm, get to come to their end: with `linux.WRITTEN_OUT_S` between them
below TimeoutStopSec=.
"""


def main(argv: list[str] | None = None) -> int:
    """Run until SIGTERM; the exit status."""
    options = _parser().parse_args(argv)
    setup_logging(verbose=options.verbose, identifier="cdmi-attach-helperd")
    # First of all: a worker must inherit neither the ledger, nor the loop, nor a thread.
    pool = None if options.simulate else Pool.start(FUNCTIONS)
    try:
        asyncio.run(_run(options, pool))
    except Problem as problem:
        log.critical("%s; %s", problem.detail, problem.hint)
        return 1
    except OSError as error:
        log.critical("%s", error)
        return 1
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="cdmi-attach-helperd", description=__doc__)
    parser.add_argument("--socket", type=Path, default=SOCKET, help="where to listen, unless systemd passes a socket")
    parser.add_argument("--state", type=Path, default=STATE, metavar="DIR", help="where the record of what was made is")
    parser.add_argument("--config", type=Path, default=DEFAULT_PATH, metavar="FILE", help="what the daemon may ask for")
    parser.add_argument("--user", default="cdmi-attach", help="the daemon's user; root may ask as well")
    parser.add_argument("--simulate", type=Path, metavar="SAN.json", help="a simulated host instead of this one")
    parser.add_argument("--verbose", action="store_true", help="log more")
    return parser


async def _run(options: argparse.Namespace, pool: Pool | None) -> None:
    stopped = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stopped.set)
    rules = Rules(options.config)
    rules.load()
    loop.add_signal_handler(signal.SIGHUP, rules.load)
    async with AsyncExitStack() as stack:
        # After the host is closed, since until then what is under way may still begin another.
        stack.push_async_callback(wait_for_children, "iscsiadm", limit_s=STOP_S)
        host = ConfinedHost(GuardedHost(_raw(options, pool), open_created(_ledger(options), reserve=True)), rules)
        stack.push_async_callback(host.close)
        await host.recover()
        uid = uid_of(options.user)
        server = HelperServer(host, uids=frozenset({0} if uid is None else {0, uid}))
        await server.start(activated("helper", os.environ) or listen(options.socket, mode=0o600, uid=uid))
        if pool is not None:
            pool.watch(lambda: _lost(stopped))
        notify.notify("READY=1", f"STATUS={len(host.created)} things made here")
        log.info("serving; %d things were made here", len(host.created))
        await notify.watch(stopped, check=host.check)
        notify.notify("STOPPING=1")
        log.info("stopping; everything stays as it is")
        await server.stop(limit_s=STOP_S)


def _lost(stopped: asyncio.Event) -> None:
    log.critical("the zygote has ended, so that there are no more workers: starting again")
    stopped.set()


def _raw(options: argparse.Namespace, pool: Pool | None) -> Host:
    return SimulatedHost(San(path=options.simulate)) if pool is None else LinuxHost(pool)


def _ledger(options: argparse.Namespace) -> Path | str:
    """A simulated host ends with the process, and so does the record of it."""
    if options.simulate:
        return MEMORY
    options.state.mkdir(mode=0o700, parents=True, exist_ok=True)
    path: Path = options.state / LEDGER
    return path


if __name__ == "__main__":
    sys.exit(main())
