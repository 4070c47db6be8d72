"""The hand-over to libvirt: give the published disk to a running domain, take it back; the same loop, two ends."""

from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress

from agent import timeouts
from agent.engine.converge import observe
from agent.engine.desk import Desk, refuse_overtaken
from agent.engine.users import users_now
from agent.model import Access, DomainRequest
from attachers.base import Uncertain
from attachers.problems import Code, Problem
from attachers.sights import DomainDisk, DomainQuery, DomainSight
from attachers.steps import LINKS, GiveDisk, ResizeDisk, TakeDisk


async def hand_over(desk: Desk, name: str, wanted: DomainRequest, *, deadline: float) -> None:
    """Give the disk to the domain, unless it has it. Raises `Problem`: not-found, conflict, unavailable, ..."""
    row = desk.ledger.rows[name]
    if row.device is None:  # what was handed out is not what lies there by now
        detail = f"name: {name} has no device just now ({row.phase})"
        raise Problem(Code.BUSY, detail, hint=f"see: cdmi-attach status {name}")
    step = GiveDisk(name, wanted.name, wanted.target, wanted.bus, row.request.access is Access.RO, row.device.kind)

    async def give() -> bool:
        refuse_overtaken(desk, name)
        sight = await _look(desk, wanted)
        if sight.busy:
            return False
        disk = _disk_at(sight, wanted.target)
        if disk and disk.source == f"{LINKS}/{name}":
            return True
        if disk:
            raise _taken(wanted, disk)
        if not sight.active:
            raise _not_running(wanted, sight)
        given = desk.ledger.rows[name].domains
        if wanted not in given:  # the intent, before the act
            await desk.ledger.change(name, domains=(*given, wanted))
        await _act(desk, name, step)
        return False

    await _until(desk, give, step, deadline=deadline)


async def hand_over_or_undo(desk: Desk, name: str, wanted: DomainRequest, *, deadline: float) -> None:
    """As `hand_over`; where it fails, the domain is not noted as one that has the disk. Raises `Problem`."""
    had = wanted in desk.ledger.rows[name].domains
    try:
        await hand_over(desk, name, wanted, deadline=deadline)
    except Problem:
        if not had and wanted in desk.ledger.rows[name].domains:
            await give_up(desk, name, wanted, deadline=deadline)
        raise


async def take_from(desk: Desk, name: str, domain: str, *, deadline: float) -> None:
    """Take the disk from a domain, at whatever place. Raises `Problem`."""
    for given in [one for one in desk.ledger.rows[name].domains if one.name == domain]:
        await give_up(desk, name, given, deadline=deadline)


async def dead_in(desk: Desk, name: str) -> tuple[str, ...]:
    """The domains that run with a disk of this attachment which is not the one that is here now.

    What went and came back is another disk to the kernel: whoever had the first one open still has that, and every I/O
    on it fails (attach.md, case 80). Where nobody can tell, what was known before stays.
    """
    row = desk.ledger.rows[name]
    try:
        users = await users_now(desk, row) if row.domains else []
        if any(user.startswith("unknown:") for user in users):
            return row.dead
        using = {user.partition(" (")[0] for user in users}
        away = [given for given in row.domains if f"domain {given.name}" not in using]
        return tuple([given.name for given in away if await _runs_with(desk, name, given)])
    except Problem:
        return row.dead


async def _runs_with(desk: Desk, name: str, given: DomainRequest) -> bool:
    sight = await _look(desk, given)
    disk = _disk_at(sight, given.target)
    return sight.active and disk is not None and disk.source == f"{LINKS}/{name}"


def dead(names: Sequence[str]) -> Problem:
    """What is said of domains that have a dead disk."""
    text = (
        f"{' and '.join(f'domain {name}' for name in names)} still has the disk open that was here before, and is gone"
    )
    hint = (
        "only a re-plug gives it the disk back: take it from the domain, and hand it over again (or restart the domain)"
    )
    return Problem(Code.CONFLICT, text, hint=hint)


async def take_back(desk: Desk, name: str, given: DomainRequest, *, deadline: float) -> None:
    """Take the disk from the domain, if it still has it. Raises `Problem`.

    The row keeps the domain until the attachment is gone, so that a disk that comes late is found and taken as well.
    """
    step = TakeDisk(name, given.name, given.target)

    async def take() -> bool:
        sight = await _look(desk, given)
        if sight.busy:
            return False
        disk = _disk_at(sight, given.target)
        if not sight.active or disk is None or disk.source != f"{LINKS}/{name}":
            return True
        await _act(desk, name, step)
        return False

    await _until(desk, take, step, deadline=deadline)


async def tell_size(desk: Desk, name: str, domain: str, size: int, *, deadline: float) -> None:
    """Tell a domain the size (bytes) of each disk of it that is this attachment. Raises `Problem`."""
    sight = await observe(desk.host, DomainQuery(domain))
    assert isinstance(sight, DomainSight)
    for disk in sight.disks if sight.active else ():
        if disk.source == f"{LINKS}/{name}":
            await _tell(desk, name, ResizeDisk(name, domain, disk.target, size), deadline=deadline)


async def _tell(desk: Desk, name: str, step: ResizeDisk, *, deadline: float) -> None:
    async def tell() -> bool:
        try:
            async with desk.noted(name, step.describe(), "ResizeDisk"):
                await desk.host.act(step, timeout_s=timeouts.of_step(step))
        except Uncertain:
            return False
        return True

    await _until(desk, tell, step, deadline=deadline)


async def give_up(desk: Desk, name: str, given: DomainRequest, *, deadline: float) -> None:
    """Take the disk from the domain and forget that it ever had it; the attachment stays. Raises `Problem`."""
    await take_back(desk, name, given, deadline=deadline)
    row = desk.ledger.rows[name]
    left = tuple(one for one in row.domains if one != given)
    await desk.ledger.change(name, domains=left, dead=tuple(one for one in row.dead if one != given.name))


async def _until(
    desk: Desk, once: Callable[[], Awaitable[bool]], step: GiveDisk | TakeDisk | ResizeDisk, *, deadline: float
) -> None:
    """Look and act until `once` says that it is so. A helper that is away is waited for, like a step under way."""
    while True:
        seen, away = desk.host.changes, None
        async with desk.locks.hold([f"domain:{step.domain}"]):
            try:
                if await once():
                    return
            except Problem as problem:
                if problem.code is not Code.UNAVAILABLE:
                    raise
                away = problem
        await _wait(desk, seen, deadline, away or _out_of_time(step))


async def _look(desk: Desk, wanted: DomainRequest) -> DomainSight:
    sight = await observe(desk.host, DomainQuery(wanted.name))
    assert isinstance(sight, DomainSight)
    return sight


async def _act(desk: Desk, name: str, step: GiveDisk | TakeDisk) -> None:
    async with desk.noted(name, step.describe(), type(step).__name__):
        with suppress(Uncertain):  # the next look says what came of it
            await desk.host.act(step, timeout_s=timeouts.of_step(step))


async def _wait(desk: Desk, seen: int, deadline: float, problem: Problem) -> None:
    remaining = deadline - desk.host.now()
    if remaining <= 0:
        raise problem
    await desk.host.changed(seen, timeout_s=min(timeouts.TICK_S, remaining))


def _out_of_time(step: GiveDisk | TakeDisk | ResizeDisk) -> Problem:
    text = step.describe()
    return Problem(Code.DEVICE_TIMEOUT, f"time ran out: {text}", hint="see libvirt's log for the domain", step=text)


def _disk_at(sight: DomainSight, target: str) -> DomainDisk | None:
    return next((disk for disk in sight.disks if disk.target == target), None)


def _taken(wanted: DomainRequest, disk: DomainDisk) -> Problem:
    return Problem(
        Code.CONFLICT,
        f"domain.target: {wanted.target} of domain {wanted.name} is {disk.source}",
        hint="choose another target for the disk",
    )


def _not_running(wanted: DomainRequest, sight: DomainSight) -> Problem:
    if not sight.exists:
        return Problem(
            Code.NOT_FOUND, f"domain.name: libvirt knows no domain {wanted.name}", hint="see: virsh list --all"
        )
    return Problem(
        Code.CONFLICT,
        f"domain.name: domain {wanted.name} is not running",
        hint=f"start it first: virsh start {wanted.name}",
    )
