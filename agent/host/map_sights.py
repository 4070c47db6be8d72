"""What this host shows of a logical unit's map: sysfs, device-mapper's status, and an INQUIRY of every path."""

import asyncio
from collections.abc import Awaitable, Callable, Collection, Mapping
from typing import Any, NamedTuple

from agent.host import announced, dm, sysfs, wwids
from agent.host.tools import Tools
from agent.workers.pool import Abandoned
from attachers.problems import Code, Problem
from attachers.sights import MapNotes, MapPath, ScsiMap, ScsiPath

STATUS_S = 5.0


class Answer(NamedTuple):
    """What a disk answered: its strong names, or the error instead; `unread` and `access` as in `ScsiPath`."""

    names: frozenset[str]
    error: str
    unread: str = ""
    access: str = ""


Ask = Callable[[sysfs.Disk], Awaitable[Answer]]
"""Sends an INQUIRY to a disk; its answer, or why there is none."""


async def look_at_map(
    tools: Tools,
    names: Collection[str],
    nodes: Collection[str],
    paths: Collection[ScsiPath],
    ask: Ask,
) -> ScsiMap | None:
    """The map of the logical unit with these names, or on these disks (sda); `paths` were asked for theirs already.

    Raises `Problem` (`unavailable`) where the kernel does not answer.
    A path that is no way to the export that was asked for is sent an INQUIRY as well: it carries the same I/O.
    """
    found = dm.find_any(tools.roots, names, nodes)
    if found is None:
        return None
    status = await _status(tools, found)
    if status is None:
        return None
    known = {path.hctl: path for path in paths}
    slaves = [_slave(tools, node) for node in found.slaves]
    seen = await asyncio.gather(*(_path(slave, known, status["paths"], ask) for slave in slaves))
    return ScsiMap(
        uuid=found.uuid,
        node=f"/dev/{found.node}",
        suspended=found.suspended,
        size=found.size,
        read_only=found.read_only,
        queueing=status["queueing"],
        opens=status["opens"],
        paths=tuple(seen),
    )


def notes_of(tools: Tools, wwid: str) -> MapNotes | None:
    """What is written down of a map of that logical unit; None where nothing is."""
    told, listed = announced.has(tools.roots, wwid), wwids.has(tools.roots, dm.multipath_name(wwid))
    return MapNotes(told, listed) if told or listed else None


def _slave(tools: Tools, node: str) -> sysfs.Disk | None:
    hctl = dm.hctl_of(tools.roots, node)
    return sysfs.disk(tools.roots, hctl) if hctl else None


async def _path(
    disk: sysfs.Disk | None, known: Mapping[str, ScsiPath], usable: Mapping[str, bool], ask: Ask
) -> MapPath:
    if disk is None:
        return MapPath("", "", usable=False, size=0)
    answer = known[disk.hctl].designators if disk.hctl in known else (await ask(disk)).names
    return MapPath(disk.hctl, f"/dev/{disk.node}", usable.get(disk.number, False), disk.size, answer)


async def _status(tools: Tools, found: dm.Map) -> dict[str, Any] | None:
    try:
        status: dict[str, Any] | None = await tools.pool.call("map_status", {"uuid": found.uuid}, timeout_s=STATUS_S)
    except Abandoned:
        raise Problem(Code.UNAVAILABLE, f"device-mapper does not answer within {STATUS_S:g} s") from None
    return status
