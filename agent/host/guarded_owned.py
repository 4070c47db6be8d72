"""What the record says of LUNs that others may have the kernel find.

Whenever an FC port returns, also at boot, the kernel itself scans all of its LUNs, and on a session of iSCSI anybody's
rescan does (attach.md, case 77): that a device is there says nothing of who wanted it. So a LUN is ours from before the
server was asked to let us have it until it lets us no more, on every way but those on which it was there before.
"""

from collections.abc import Awaitable, Callable, Iterator, Mapping
from dataclasses import replace

from agent.host.created import Created, Kind, Row, Thing
from attachers import checks
from attachers.base import Host
from attachers.problems import Code, Problem
from attachers.sights import FcQuery, ScsiQuery, ScsiSight, Session
from attachers.steps import Disown, Own

Rows = Mapping[Thing, Row]


def owned(target: str, lun: int) -> Thing:
    """The LUN that is ours at a target."""
    return Thing(Kind.OWNED, target, name=str(lun))


def borrowed(session: Session, lun: int) -> Thing:
    """The way to it on which it was there before us."""
    return Thing(Kind.BORROWED, session.target, session.portal, name=str(lun))


def number_at(target: str, hctl: str) -> int:
    """The number by which the LUN at an address is known at a target: behind FC the kernel takes its form from the
    array; at an iSCSI target that of the other form may be another unit (attach.md, case 73).
    """
    return checks.lun_of(hctl) if checks.is_wwpn(target) else checks.number_at(hctl)


def is_owned(session: Session, hctl: str, rows: Rows) -> bool:
    """Whether the device at an address of this session is ours, whoever had the kernel find it."""
    lun = number_at(session.target, hctl)
    return owned(session.target, lun) in rows and borrowed(session, lun) not in rows


def shown(sight: ScsiSight, target: str, lun: int) -> Iterator[tuple[Session, str]]:
    """Every device of a LUN at a target that is there now, with its session."""
    for session in sight.sessions:
        if session.target == target:
            yield from ((session, hctl) for hctl in session.devices if number_at(target, hctl) == lun)


def rows_of(target: str, lun: int, rows: Rows) -> list[Thing]:
    """All that the record says of a LUN at a target."""
    kinds = (Kind.OWNED, Kind.BORROWED)
    return [thing for thing in rows if thing.kind in kinds and (thing.target, thing.name) == (target, str(lun))]


def targets_with(hctl: str, rows: Rows) -> tuple[str, ...]:
    """The targets at which a LUN of that number is ours."""
    owned_ = (thing for thing in rows if thing.kind is Kind.OWNED)
    return tuple(thing.target for thing in owned_ if thing.name == str(number_at(thing.target, hctl)))


def owned_at(query: ScsiQuery, rows: Rows) -> tuple[str, ...]:
    """The targets of a query at which its LUN is ours, whether or not a device shows it now."""
    targets = query.targets if isinstance(query, FcQuery) else (query.target,)
    return tuple(target for target in targets if owned(target, query.lun) in rows)


class Lasting:
    """What is said of such LUNs, and taken back. `look` shows the ways to a thing's target, while its lock is held."""

    def __init__(self, created: Created, look: Callable[[Thing], Awaitable[ScsiSight]]) -> None:
        self._created = created
        self._look = look

    async def act(self, step: Own | Disown, target: str, boot_id: str, raw: Host, *, timeout_s: float) -> None:
        """Say it of the LUN at one of the targets of a step, or take it back; whoever calls holds the lock of that."""
        if isinstance(step, Own):
            await self._own(target, step.lun, boot_id=boot_id, now=raw.now())
            return
        await self._refuse_while_there(step, target)
        await raw.act(replace(step, targets=(target,)), timeout_s=timeout_s)
        await self._created.change(drop=rows_of(target, step.lun, self._created.rows))

    async def _own(self, target: str, lun: int, *, boot_id: str, now: float) -> None:
        """It is ours from here on, on every way where it is not there already."""
        thing = owned(target, lun)
        if thing in self._created.rows:
            return
        made = {row.hctl for row in self._created.rows if row.kind is Kind.DEVICE and row.target == target}
        there = shown(await self._look(thing), target, lun)
        things = [thing, *(borrowed(session, lun) for session, hctl in there if hctl not in made)]
        await self._created.put(*(Row(one, boot_id, now, confirmed=True) for one in things))

    async def _refuse_while_there(self, step: Disown, target: str) -> None:
        """Raises `Problem` (`busy`) while a device of ours is there."""
        for session, hctl in shown(await self._look(owned(target, step.lun)), target, step.lun):
            if is_owned(session, hctl, self._created.rows):
                raise Problem(Code.BUSY, f"{hctl} is there again", hint="remove it first", step=step.describe())

    async def is_back(self, hctl: str) -> bool:
        """Whether the device at that address is a LUN of ours that the kernel itself has brought back."""
        rows = self._created.rows
        sights = [await self._look(owned(target, 0)) for target in targets_with(hctl, rows)]
        found = (session for sight in sights for session in sight.sessions if hctl in session.devices)
        return any(is_owned(session, hctl, rows) for session in found)
