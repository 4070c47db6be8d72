"""What other hosts are permitted to use is not taken from them, nor are snapshots, unless a caller says so."""

from collections.abc import Iterable

from agent.cdmi.initiators import same
from agent.engine.desk import Desk
from agent.engine.permits import host_sight
from agent.uses import Despite, Users
from attachers.problems import Code, Problem

SHOWN = 4


async def refuse_others(
    desk: Desk, source: str, *, field: str, despite: Despite, goes: bool = False, anybody: bool = False
) -> None:
    """Raises `Problem`: in-use where other hosts may use it, as far as its server tells; conflict where it goes, and
    its snapshots with it. With `anybody` this host counts as any other.
    """
    if despite.permitted and (despite.snapshots or not goes):
        return
    users = await desk.cdmi.users(source)
    if goes and users.snapshots and not despite.snapshots:
        what = f"{field}: its snapshots would go with it: {_listed(users.snapshots)}"
        hint = "delete them first; or say with_snapshots (--with-snapshots) to have them deleted as well"
        raise Problem(Code.CONFLICT, what, hint=hint)
    if not despite.permitted:
        names = users.names if anybody else await others_among(desk, users.names)
        _refuse_permitted(users, names, field)


def _refuse_permitted(users: Users, names: tuple[str, ...], field: str) -> None:
    say = "say even_if_permitted_to_others (--even-if-permitted-to-others) to go on all the same"
    if names:
        hint = f"detach it there first, or fence them off: cdmi-attach fence; or {say}"
        raise Problem(Code.IN_USE, f"{field}: other hosts may use it: {_listed(names)}", hint=hint)
    if users.unread:
        what = f"{field}: other hosts may use what is in it: {users.unread}"
        raise Problem(Code.IN_USE, what, hint=f"see who is permitted there; or {say}")


async def others_among(desk: Desk, names: Iterable[str]) -> tuple[str, ...]:
    """The names without those of this host: what it uses is known from its attachments. Raises `Problem`."""
    given = tuple(names)
    if not given:
        return ()
    host = await host_sight(desk)
    return tuple(name for name in given if not any(same(name, one) for one in host.names))


async def is_us(desk: Desk, names: Iterable[str]) -> bool:
    """Whether one of them is this host: by a name that it has, or had when it was granted what it still uses."""
    host = await host_sight(desk)
    ours = (*host.names, *(grant.initiator for grant in desk.ledger.grants))
    return any(same(name, one) for name in names for one in ours)


def _listed(names: tuple[str, ...]) -> str:
    more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    return f"{', '.join(names[:SHOWN])}{more}"
