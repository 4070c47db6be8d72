"""An object that is worked on: looked at under its lock, and alone where its users would lose something."""

from collections.abc import AsyncIterator, Set
from contextlib import ExitStack, asynccontextmanager

from agent.engine.attached import refuse_attached
from agent.engine.desk import Desk, permissions_of
from agent.engine.ledger import CHANGES
from agent.engine.touched import refuse_touched
from agent.model import OperationState, Stat
from attachers.problems import Code, Problem


@asynccontextmanager
async def held(desk: Desk, source: str, *, object_id: str = "") -> AsyncIterator[Stat]:
    """What the object is, looked at while its lock is held, which is until the end. Raises `Problem`.

    Also (conflict) where it is not the object of that ID, if one is given.
    The lock is that of its permissions and of its being there: meanwhile no attach of it begins to count on it, and
    what was seen of it is not changed by anybody else here.
    """
    found = await desk.cdmi.stat(source)
    while True:
        async with desk.locks.hold([permissions_of(found.uri)]):
            now = await desk.cdmi.stat(source)
            if now.uri == found.uri:
                _refuse_another(now, object_id)
                yield now
                return
        found = now  # another object is there by now, which has another lock


def _refuse_another(found: Stat, object_id: str) -> None:
    if object_id and found.object_id.casefold() != object_id.casefold():
        what = f"object_id: {found.uri} is another object by now, not {object_id}"
        raise Problem(Code.CONFLICT, what, hint="look at it again, and ask again if that is meant")


@asynccontextmanager
async def alone(
    desk: Desk, found: Stat, *, field: str, operation: str = "", mine: Set[str] = frozenset()
) -> AsyncIterator[None]:
    """Until the end nothing is attached here of this object, nor of what is below it, and nothing else changes it.

    `operation` is the ID of the one that asks, `mine` are keys that who asks holds already. Raises `Problem`: in-use,
    naming the attachment; busy.
    """
    await _look_up(desk, found)
    with ExitStack() as stack:
        async with desk.locks.hold(["admission"]):  # an attach either sees this, or is seen
            refuse_touched(desk.touched, found.keys - mine, f"{field}: {found.uri}")
            refuse_attached(desk, found, field=field)
            refuse_changing(desk, found.keys, f"{field}: {found.uri}", but=operation)
            refuse_copying(desk, found.keys, f"{field}: {found.uri}")
            stack.enter_context(desk.touched.hold(found.keys))
        yield


def refuse_making(desk: Desk, places: Set[str], *, field: str) -> None:
    """Raises `Problem` (`busy`) where an operation makes something at one of these places."""
    for operation in desk.ledger.operations.values():
        place = operation.destination.rstrip("/")
        if operation.state is OperationState.RUNNING and place in places:
            detail = f"{field}: {place} is being made by the operation {operation.id} ({operation.kind})"
            raise Problem(Code.BUSY, detail, hint="wait until that is done")


def refuse_changing(desk: Desk, keys: Set[str], what: str, *, but: str = "", begun: bool = False) -> None:
    """Raises `Problem` (`busy`) where an operation moves one of these objects, or brings it back.

    `but` is the ID of the operation that asks; with `begun`, one of which the server was not asked yet does not count.
    """
    for operation in desk.ledger.operations.values():
        if operation.state is not OperationState.RUNNING or operation.kind not in CHANGES or operation.id == but:
            continue
        if (operation.begun or not begun) and keys & {*operation.keys, operation.destination}:
            detail = f"{what} is worked on by the operation {operation.id} ({operation.kind})"
            raise Problem(Code.BUSY, detail, hint="wait until that is done")


def refuse_copying(desk: Desk, keys: Set[str], what: str) -> None:
    """Raises `Problem` (`busy`) where an operation copies one of these objects, or takes a snapshot of it."""
    for operation in desk.ledger.operations.values():
        copies = operation.state is OperationState.RUNNING and operation.kind not in CHANGES
        if copies and keys & {*operation.keys}:
            detail = f"{what} is being copied by the operation {operation.id} ({operation.kind})"
            raise Problem(Code.BUSY, detail, hint="wait until that is done")


async def source_keys(desk: Desk, source: str) -> frozenset[str]:
    """What the source of a copy is known by. Raises `Problem`: busy where it is being changed; not-found, ..."""
    found = await desk.cdmi.stat(source)
    refuse_touched(desk.touched, found.keys, f"source: {found.uri}")
    refuse_changing(desk, found.keys, f"source: {found.uri}")
    return found.keys


async def _look_up(desk: Desk, found: Stat) -> None:
    """Learn what is above attachments of which an earlier version did not write it down. Raises `Problem`."""
    if found.kind != "container" or found.size is not None:
        return  # nothing that could be attached is in a data object, or in a LUN
    for row in [row for row in desk.ledger.rows.values() if row.uri and not row.places]:
        try:
            resolved = await desk.cdmi.resolve(row.uri)
        except Problem as problem:
            if problem.code in (Code.NOT_FOUND, Code.FORBIDDEN):
                continue  # it is nowhere on the servers that can be asked
            raise
        if row.name in desk.ledger.rows:
            await desk.ledger.change(row.name, places=resolved.places, over=resolved.over)
