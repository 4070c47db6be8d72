"""What is on a simulated disk, and reading it: every block says whose it is and which; some parts are all zeros."""

from functools import lru_cache

from agent.host.simulated_kernel import Kernel
from agent.host.simulated_san import Lun
from agent.shown_memory import shown
from attachers.problems import Code, Problem
from attachers.sights import BlocksQuery, BlocksSight

SAID = 512
PART = 1 << 20
"""Every second part of so many bytes is a hole."""
HOLE = bytes(PART)


def value(wwid: str, first: int, count: int) -> bytes:
    """The bytes of a logical unit from `first` on."""
    number, skipped = divmod(first, PART)
    parts = [HOLE if part % 2 else _part(wwid, part) for part in range(number, -(-(first + count) // PART))]
    return b"".join(parts)[skipped : skipped + count]


@lru_cache(maxsize=64)
def _part(wwid: str, number: int) -> bytes:
    places = range(number * PART, (number + 1) * PART, SAID)
    return b"".join(f"{wwid} at {place}\n".encode().ljust(SAID, b"\0") for place in places)


def see(kernel: Kernel, query: BlocksQuery) -> BlocksSight:
    """Read. Raises `Problem` as the real host."""
    unit = _unit(kernel, query.wwid)
    if unit.wwid != query.wwid:
        raise Problem(Code.WRONG_DEVICE, f"the disk answers {unit.wwid} to an INQUIRY, not {query.wwid}")
    count = max(0, min(query.count, unit.size - query.first))
    with shown(query.pid, query.fd, query.inode, query.count) as memory:
        memory[:count] = value(query.wwid, query.first, count)
    return BlocksSight(count)


def _unit(kernel: Kernel, wwid: str) -> Lun:
    at = kernel.device_links.get(wwid)
    if at is None:
        raise Problem(Code.NOT_FOUND, f"{wwid} is not published on this host", hint="attach it first")
    above = next((one.paths for one in kernel.maps.values() if one.node == at), [at])
    for session, device in (pair for hctl in above if (pair := kernel.device(hctl))):
        if kernel.access(session, device):
            continue
        if unit := kernel.san.answer(kernel.name_on(session), session.target, session.portal, device.lun):
            return unit
    raise Problem(Code.UNAVAILABLE, f"{wwid}: nothing answers", hint="see the storage network")
