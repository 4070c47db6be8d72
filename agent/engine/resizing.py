"""A disk that has grown on the storage: read its size again on every path, then tell the domains that have it."""

from agent.engine import flows
from agent.engine.desk import Desk
from agent.engine.domains import tell_size
from agent.engine.ledger import Row
from agent.engine.users import users_of
from attachers.problems import Code, Problem


async def resize(desk: Desk, name: str, *, deadline: float) -> None:
    """Bring an attachment that stands to the size that its object has by now. `deadline` is on the host's clock.

    Raises `Problem`: conflict where it would become smaller, device-timeout where a path does not show the new size.
    """
    wanted = await _wanted(desk, desk.ledger.rows[name])
    row = desk.ledger.rows[name]  # as it is by now: a path that has joined meanwhile may have shown another size
    before = row.device.size if row.device else 0
    if wanted is None:
        wanted = before
    if wanted < before:
        what = f"{row.request.source} has {wanted} bytes by now, and {before} are in use here: no disk is made smaller"
        raise Problem(Code.CONFLICT, what, hint="let the server give it its old size back, or detach it first")
    await flows.look_again(desk, name, grow=wanted, deadline=deadline)
    row = desk.ledger.rows[name]
    size = row.device.size if row.device else 0
    for domain in sorted(await _domains(desk, row)):
        await tell_size(desk, name, domain, size, deadline=deadline)


async def _wanted(desk: Desk, row: Row) -> int | None:
    """How large the object is, as its server says; None where the server does not say, or is away."""
    try:
        async with desk.noted(row.name, f"resolve {row.request.source}", "Resolve"):
            resolved = await desk.cdmi.resolve(row.request.source)
    except Problem as problem:
        if problem.code is not Code.CDMI_UNREACHABLE:
            raise
        return None  # the disk itself says the rest
    return resolved.size


async def _domains(desk: Desk, row: Row) -> set[str]:
    """The domains that have the disk: those it was handed to, and any other that has it open."""
    users = [user.partition(" (")[0] for user in await users_of(desk, row)]
    return {given.name for given in row.domains} | {
        user.removeprefix("domain ") for user in users if user.startswith("domain ")
    }
