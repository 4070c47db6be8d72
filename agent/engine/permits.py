"""This host's names on the servers: which ones an attachment needs, which are to be added, and adding them."""

from collections.abc import Mapping, Set
from dataclasses import dataclass, field
from typing import Any

from agent import timeouts
from agent.cdmi import initiators, nfs_hosts
from agent.cdmi.sources import object_of
from agent.engine.converge import observe
from agent.engine.desk import Desk, permissions_of, refuse_overtaken
from agent.engine.ledger import MADE, Grant, Row
from agent.engine.withdrawn import given_up, insist_on_place, refuse_lost
from agent.model import Access, Present, Request, Resolved, SeenExport
from attachers import iscsi, nfs
from attachers.problems import Code, Problem
from attachers.sights import HostQuery, HostSight, RouteQuery, RouteSight

Routes = Mapping[str, RouteSight | Problem]
"""The way to each NFS server whose export names hosts, by its address; or why there is none."""


@dataclass(frozen=True, slots=True)
class Permits:
    """The names of this host that an attachment needs, and those of them that the server does not have yet."""

    names: tuple[str, ...] = ()
    missing: frozenset[str] = field(default_factory=frozenset)


async def health(desk: Desk) -> dict[str, Any]:
    """Whether the ledger and the helper answer, and what is wrong with their records: see `interface.Engine.health`."""
    reasons = []
    for part, ails in (("ledger", desk.ledger.check()), ("helper", _helper_ails(desk))):
        try:
            if said := await ails:
                reasons.append(f"{part}: {said}")
        except Problem as problem:
            reasons.append(f"{part}: {problem.detail}")
    return {"ok": not reasons, "reasons": reasons, "attachments": len(desk.ledger.rows)}


async def _helper_ails(desk: Desk) -> str:
    return (await host_sight(desk)).ailing


async def host_sight(desk: Desk) -> HostSight:
    """What this host is, with the name that its logins say. Raises `Problem` (`unavailable`, `unsupported-on-host`)."""
    sight = await observe(desk.host, HostQuery(desk.settings.iface))
    assert isinstance(sight, HostSight)
    desk.boot_id = sight.boot_id
    return sight


async def boot_id_of(desk: Desk) -> str:
    """The boot that this host is in; empty where the helper does not say so just now."""
    try:
        return desk.boot_id or (await host_sight(desk)).boot_id
    except Problem:
        return ""


async def insist_on_boot(desk: Desk, row: Row) -> float:
    """Before an attach that an earlier daemon began is taken up: that the host was not booted since.

    Returns how many seconds the helper was waited for, which may be on its way down or up, too: that is no reason to
    undo anything. Raises `Problem`: given up; overtaken by a detach; the helper does not come.
    """
    began = desk.host.now()
    while True:
        refuse_overtaken(desk, row.name)
        seen = desk.host.changes
        try:
            sight = await host_sight(desk)
            break
        except Problem as problem:
            if problem.code is not Code.UNAVAILABLE or desk.host.now() - began > timeouts.AWAY_S:
                raise
        await desk.host.changed(seen, timeout_s=timeouts.TICK_S)
    if row.boot_id != sight.boot_id:  # empty: nothing tells that it was this boot
        raise given_up(row)
    return desk.host.now() - began


async def routes_of(desk: Desk, resolved: Resolved) -> Routes:
    """The ways to the NFS servers of an object, as far as they have to know this host's address."""
    servers = {str(one.plan["server"]) for one in resolved.exports if one.plan is not None and one.hosts is not None}
    return {server: await _route_to(desk, server) for server in sorted(servers)}


async def _route_to(desk: Desk, server: str) -> RouteSight | Problem:
    try:
        sight = await observe(desk.host, RouteQuery(server), limit_s=timeouts.ROUTE_S)
    except Problem as problem:
        return problem
    assert isinstance(sight, RouteSight)
    return sight


def permits_of(export: SeenExport, request: Request, sight: HostSight, routes: Routes) -> Permits:
    """What an export has to permit. Raises `Problem`: this host has no such name."""
    if export.protocol == nfs.protocol:
        return _as_nfs_host(export, request, sight, routes)
    if export.permissions is None:
        return Permits()
    names = initiators.of_host(export.protocol, sight)
    there = {initiators.normal(name) for name in export.permissions}
    return Permits(names, frozenset(name for name in names if initiators.normal(name) not in there))


def _as_nfs_host(export: SeenExport, request: Request, sight: HostSight, routes: Routes) -> Permits:
    """The address by which this host reaches the server, in each list that gives a right which is needed."""
    if export.hosts is None or export.plan is None:
        return Permits()
    route = routes[str(export.plan["server"])]
    if isinstance(route, Problem):
        raise route
    wanted = nfs_hosts.needed(disk=request.present is Present.BLOCK, read_only=request.access is Access.RO)
    lacking = nfs_hosts.lacking(export.hosts, wanted, route.address, sight.hostname)
    names = tuple(nfs_hosts.name_of(right, route.address) for right in wanted)
    return Permits(names, frozenset(nfs_hosts.name_of(right, route.address) for right in lacking))


def to_be_made(uri: str, key: str, permits: Permits, ours: Set[Grant]) -> list[Grant]:
    """The permissions that are not there yet, or only there because of us: those go with their last user."""
    wanted = [Grant(uri, key, name) for name in permits.names]
    known = {_through_any(grant) for grant in ours}
    return [one for one in wanted if _through_any(one) in known or one.initiator in permits.missing]


def _through_any(grant: Grant) -> tuple[str, str, str]:
    """A permission as it is on the object, through whichever configured server it was given."""
    return object_of(grant.uri), grant.key, grant.initiator


async def permit_again(desk: Desk, row: Row, export: SeenExport) -> Row:
    """Have this host in the export's lists once more, by the address that it has by now. Returns the row as it is then.

    An address that it had before, and that nothing here relies on any more, is taken out: it may be somebody else's by
    now. Raises `Problem`.
    """
    if export.hosts is None or (export.at, export.key) != (row.at, row.key) or export.plan is None:
        return row
    server = str(export.plan["server"])
    routes = {server: await _route_to(desk, server)}
    sight = await host_sight(desk)
    refuse_lost(row, export, sight.hostname)
    permits = permits_of(export, row.request, sight, routes)
    async with desk.locks.hold([permissions_of(row.granted_at)]):
        grants = to_be_made(row.granted_at, row.key, permits, desk.ledger.grants)
        row = await desk.ledger.change(row.name, grants=grants, permits=permits.names)
        if stale := [one for one in grants_of(desk, row) if not desk.grant_is_needed(one, "")]:
            await _take_out(desk, row, stale)
    await grant(desk, row)
    return row


async def _take_out(desk: Desk, row: Row, stale: list[Grant]) -> None:
    names = names_in(stale)
    async with desk.noted(row.name, f"revoke {', '.join(names)} on {row.granted_at}", "Revoke"):
        await desk.cdmi.revoke(row.granted_at, row.key, *names)
    await desk.ledger.change(row.name, revoked=stale)


async def grant(desk: Desk, row: Row) -> None:
    """Make good every grant that the ledger intends for this export; idempotent, like the server's side of it."""
    names = names_in(grants_of(desk, row))
    if names:
        what = f"grant {', '.join(names)} on {row.granted_at}"
        async with desk.locks.hold([permissions_of(row.granted_at)]), desk.noted(row.name, what, "Grant"):
            await desk.cdmi.grant(row.granted_at, row.key, *names)


async def grant_again(desk: Desk, row: Row) -> None:
    """As `grant`, where a target refuses what it once let in, and the server does not.

    A login may say another name by now (attach.md, case 87). The former name stays permitted as long as this is
    attached: another session may still have it. Raises `Problem`.
    """
    await insist_on_place(desk, row)
    if row.protocol == iscsi.protocol and names_in(grants_of(desk, row)):
        await _grant_by_new_name(desk, row)
    await grant(desk, row)


async def _grant_by_new_name(desk: Desk, row: Row) -> None:
    sight = await host_sight(desk)
    known = {initiators.normal(one.initiator) for one in grants_of(desk, row)}
    if initiators.normal(sight.initiator_name) in known:
        return
    resolved = await desk.cdmi.resolve(row.uri)
    export = next((one for one in resolved.exports if (one.key, one.protocol) == (row.key, row.protocol)), None)
    if export is None or (resolved.object_id.casefold(), export.at or resolved.uri) != (
        row.object_id.casefold(),
        row.granted_at,
    ):
        return
    permits = permits_of(export, row.request, sight, {})
    async with desk.locks.hold([permissions_of(row.granted_at)]):
        grants = to_be_made(row.granted_at, row.key, permits, desk.ledger.grants)
        await desk.ledger.change(row.name, grants=grants)


def let_in(desk: Desk, row: Row) -> tuple[str, ...]:
    """The names by which the server lets this host in, as far as it was asked to, or they are needed there."""
    return row.permits or tuple(names_in(grants_of(desk, row)))


def names_in(grants: list[Grant]) -> list[str]:
    """The names that they add."""
    return list(dict.fromkeys(grant.initiator for grant in grants if grant.initiator != MADE))


def grants_of(desk: Desk, row: Row) -> list[Grant]:
    """The permissions that we added for this export, through whichever server, in a steady order."""
    mine = (object_of(row.granted_at), row.key)
    found = [grant for grant in desk.ledger.grants if (object_of(grant.uri), grant.key) == mine]
    return sorted(found, key=lambda grant: (grant.initiator, grant.uri))
