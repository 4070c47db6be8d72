"""What a service tells systemd (sd_notify(3)): that it is ready, alive, stopping; and nothing where there is none."""

import asyncio
import logging
import os
import socket
from collections.abc import Awaitable, Callable, Mapping

from attachers.problems import Problem

log = logging.getLogger(__name__)


def notify(*lines: str, environ: Mapping[str, str] = os.environ) -> bool:
    """Send lines such as READY=1 and STATUS=...; whether there was anybody to send them to."""
    address = environ.get("NOTIFY_SOCKET", "")
    if not address.startswith(("/", "@")):
        return False
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as sock:
        sock.setblocking(False)
        try:
            sock.sendto("\n".join(lines).encode(), "\0" + address[1:] if address[0] == "@" else address)
        except OSError as error:
            log.warning("cannot tell systemd %s: %s", lines, error)
            return False
    return True


def watchdog_s(environ: Mapping[str, str] = os.environ) -> float | None:
    """How often systemd wants to hear that this process is alive, in seconds; None where it does not watch."""
    usec = environ.get("WATCHDOG_USEC", "")
    pid = environ.get("WATCHDOG_PID", str(os.getpid()))
    return int(usec) / 1e6 if usec.isdigit() and int(usec) > 0 and pid == str(os.getpid()) else None


async def watch(
    stopped: asyncio.Event, *, check: Callable[[], Awaitable[object]], environ: Mapping[str, str] = os.environ
) -> None:
    """Until `stopped` is set, say WATCHDOG=1 twice per period, as long as `check` answers without a `Problem`."""
    period = watchdog_s(environ)
    if period is None:
        await stopped.wait()
        return
    while not stopped.is_set():
        try:
            async with asyncio.timeout(period / 2):
                await check()
            notify("WATCHDOG=1", environ=environ)
        except (Problem, TimeoutError) as error:
            log.error("not well: %s", error or "no answer in time")
        await _pause(stopped, period / 2)


async def _pause(stopped: asyncio.Event, seconds: float) -> None:
    try:
        async with asyncio.timeout(seconds):
            await stopped.wait()
    except TimeoutError:
        return
