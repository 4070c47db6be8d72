"""An export where there is none: asked of the server, where it announces that it can, and ours until we remove it."""

import logging
from collections.abc import Collection
from dataclasses import replace
from typing import Any

from agent.engine.desk import Desk, permissions_of, refuse_overtaken, refuse_stale
from agent.engine.ledger import MADE, Grant, Row
from agent.engine.ready import ready
from agent.model import Resolved, SeenExport
from attachers.problems import Code, Problem
from attachers.sights import HostQuery, HostSight

log = logging.getLogger(__name__)
BLOCK = ("iscsi", "fc")


async def ready_or_made(
    desk: Desk, row: Row, *, deadline: float, passed: Collection[str]
) -> tuple[Resolved, SeenExport]:
    """As `ready`; where there is no export to be used, and none was tried in vain, one is made. Raises `Problem`."""
    try:
        return await ready(desk, row.request, deadline=deadline, passed=passed)
    except Problem as problem:
        if problem.code is not Code.NO_USABLE_EXPORT or passed or not await _make(desk, row):
            raise
    return await ready(desk, row.request, deadline=deadline)


async def _make(desk: Desk, row: Row) -> bool:
    """Have an export made, intent first. Returns whether there is one now."""
    resolved = await desk.cdmi.resolve(row.request.source)
    if resolved.kind != "container" or resolved.pending or any(one.protocol in BLOCK for one in resolved.exports):
        return False
    offered = await desk.cdmi.offers(resolved.uri)
    usable = await _usable(desk, [one for one in row.request.protocols if one in offered]) if offered else ()
    if not usable:
        return False
    protocol, uri = usable[0], resolved.uri
    key = offered[protocol]
    async with desk.locks.hold([permissions_of(uri)]):
        refuse_overtaken(desk, row.name)
        intent = Grant(uri, key, MADE)
        found: dict[str, Any] = {"server": resolved.server, "uri": uri, "object_id": resolved.object_id}
        refuse_stale(desk, replace(row, **found).alone_key, row.request.generation)
        await desk.ledger.change(row.name, grants=[intent], key=key, protocol=protocol, **found)
        async with desk.noted(row.name, f"have {uri} exported over {protocol}", "Export"):
            there, made = await desk.cdmi.export(uri, key, protocol)
        if not made or there != key:
            grants = [Grant(uri, there, MADE)] if made else []
            await desk.ledger.change(row.name, grants=grants, revoked=[intent], key=there)
    return True


async def _usable(desk: Desk, protocols: list[str]) -> list[str]:
    """Those that this host can attach over."""
    sight = await desk.host.observe(HostQuery())
    assert isinstance(sight, HostSight)
    able = {"iscsi": sight.iscsi.available, "fc": sight.fc.available and bool(sight.wwpns)}
    return [one for one in protocols if one in desk.attachers and able.get(one)]
