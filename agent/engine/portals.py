"""Which portal to try first: the one that answers a TCP connect. A hint only: a login says what is true."""

import asyncio
from collections.abc import Sequence
from contextlib import suppress

from attachers.checks import split_portal

PROBE_S = 1.0
"""How long to wait for any portal to answer; a dead one costs an iSCSI login its whole time limit instead."""


async def reachable_first(portals: Sequence[str], *, limit_s: float = PROBE_S) -> list[str]:
    """The portals (addresses with ports), the first that answers in front, the others in their order.

    Returns as soon as one has answered; unchanged where there is only one, or none answers within `limit_s`.
    """
    if len(portals) < 2:
        return list(portals)
    probes = {asyncio.create_task(_answers(portal)): portal for portal in portals}
    try:
        async with asyncio.timeout(limit_s):
            for probe in asyncio.as_completed(probes):
                if first := await probe:
                    return [first, *(portal for portal in portals if portal != first)]
    except TimeoutError:
        pass  # none answered in time: the order stays
    finally:
        for task in probes:
            task.cancel()
        await asyncio.gather(*probes, return_exceptions=True)
    return list(portals)


async def _answers(portal: str) -> str:
    """The portal, when something accepts a connection there, else nothing."""
    host, port = split_portal(portal)
    try:
        _, writer = await asyncio.open_connection(host, port)
    except OSError:
        return ""
    writer.close()
    with suppress(OSError):
        await writer.wait_closed()
    return portal
