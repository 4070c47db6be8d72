"""A server that lets this host in no more, as after a fence: what was withdrawn is not asked for again by itself.

The disk may be another host's by now. That a careless writer has undone our change of the permissions cannot be told
from that, so both are left to whoever knows: it is attached anew by a detach and an attach (attach.md, rule 0).
"""

from agent.cdmi import initiators, nfs_hosts
from agent.cdmi.sources import object_of
from agent.engine.desk import Desk
from agent.engine.ledger import Row
from agent.engine.plans import place_of
from agent.model import Resolved, SeenExport
from attachers.problems import Code, Problem
from attachers.sights import HostSight


class WithdrawnError(Problem):
    """The server permits this host no more what it did when the disk was handed out."""


async def insist_on_place(desk: Desk, row: Row) -> None:
    """Ask the server. Raises `Problem`: `WithdrawnError`, or that it does not answer."""
    if row.let_in:
        refuse_withdrawn(row, await desk.cdmi.resolve(row.uri))


def refuse_withdrawn(row: Row, resolved: Resolved) -> None:
    """Raises `WithdrawnError` where a name of this host is missing in the export that it was let in by.

    One that leads elsewhere by now is another one: its permissions begin anew.
    """
    for export in resolved.exports:
        mine = _entry(row.granted_at, row.key, row.protocol)
        same = _entry(export.at or resolved.uri, export.key, export.protocol) == mine
        if same and (export.plan is None or place_of(export.plan) == place_of(row.plan or {})):
            refuse_lost(row, export)


def _entry(uri: str, key: str, protocol: str) -> tuple[str, ...]:
    return object_of(uri), key, protocol


def refuse_lost(row: Row, export: SeenExport, hostname: str = "") -> None:
    """The same of one export; `hostname` is this host's, where its patterns may name it so."""
    if lost := [name for name in row.let_in if not _lets_in(export, name, hostname)]:
        what = f"{row.granted_at} ({row.key}) permits {', '.join(lost)} no more: this host was withdrawn (fenced off)"
        raise _withdrawn(row, what)


def _lets_in(export: SeenExport, name: str, hostname: str) -> bool:
    member, _, address = name.partition(" ")
    if not address:
        there = export.permissions
        return there is None or initiators.normal(name) in {initiators.normal(one) for one in there}
    right = next((right for right, its in nfs_hosts.LISTS.items() if its == member), "")
    return export.hosts is None or not nfs_hosts.lacking(export.hosts, (right,), address, hostname)


def refuse_taken(row: Row, export: SeenExport, host: HostSight) -> None:
    """At another place that it has moved to: others are let in there, and this host is not. Raises `WithdrawnError`.

    Where nothing was granted, as what an administrator permits, it is known by the names of this host.
    """
    names, mine = export.permissions, row.let_in or initiators.of_host(export.protocol, host)
    if names and not any(_lets_in(export, name, "") for name in mine):
        what = f"{export.at or row.uri} ({export.key}) permits {', '.join(names)}, and this host no more"
        raise _withdrawn(row, what)


def _withdrawn(row: Row, what: str) -> WithdrawnError:
    hint = f"where this host is to have it again: cdmi-attach detach {row.name}, then attach it anew"
    return WithdrawnError(Code.FORBIDDEN, what, hint=hint)


def given_up(row: Row) -> Problem:
    """What is said of an attach that was under way when the host went down: whoever asked for it is gone.

    What the server was asked for then, and has withdrawn meanwhile, cannot be told from what it was never asked for.
    """
    detail = f"the host was booted before {row.name} was attached, or may have been: it is undone"
    return Problem(Code.CONFLICT, detail, hint="ask for it again where it is still wanted")
