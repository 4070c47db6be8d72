"""That a copy is one: of its source's kind, size, beginning, hash and children, as far as their server tells.

Four of seven servers that were run pass over `copy`, say 201, and make an empty object (cdmi.md 6b).
"""

from agent.cdmi import digests
from agent.cdmi.answers import refused
from agent.cdmi.find import find
from agent.cdmi.formats import HEAD_BYTES
from agent.cdmi.members import CONTAINER, DATAOBJECT, Found, kind_of, size_of
from agent.cdmi.named import itself
from agent.cdmi.objects import metadata_of
from agent.cdmi.sources import Location
from agent.cdmi.wire import Wire


async def prove(
    wire: Wire, source: Location, destination: Location, *, size: int | None = None, object_id: str = ""
) -> None:
    """Compare a copy (of that ID) that its server calls complete with its source; `size`: what a LUN was to have.

    Raises `Problem`: cdmi-refused where it is none; conflict where another object is there.
    """
    before, made = await find(wire, source), await find(wire, destination)
    itself(made, "destination", object_id)
    if why := await differ(wire, before, made, size):
        what = f"{made.url} is no copy of {before.url}: {why}"
        raise refused(destination.server, what, hint="the server may not copy at all: see its log and capabilities")


async def differ(wire: Wire, before: Found, made: Found, size: int | None = None) -> str:
    """What tells that one is no copy of the other, in words; empty where nothing does. `size` as for `prove`."""
    return _unlike(before, made, size) or await _begins_otherwise(wire, before, made)


def _unlike(before: Found, made: Found, size: int | None) -> str:
    """What the members say against it; empty where nothing."""
    kind, its = (kind_of(one.answer, one.members) for one in (before, made))
    if kind != its:
        return f"it is a {its}, and no {kind}"
    had, has = size_of(before.members, kind), size_of(made.members, kind)
    if kind == CONTAINER:
        return _lun_or_children(before, made, had if size is None else size, has)
    if None not in (had, has) and had != has:
        return f"it has {has} bytes, and not {had}"
    hashes = [digests.usable(metadata_of(one.members)) for one in (before, made)]
    if hashes[0] and hashes[1] and hashes[0][0] == hashes[1][0] and hashes[0] != hashes[1]:
        return f"its {hashes[0][0]} is another one"
    return ""


def _lun_or_children(before: Found, made: Found, wanted: int | None, has: int | None) -> str:
    """A LUN may be larger than what was asked for: servers round up."""
    if wanted is not None:
        return "" if has is not None and has >= wanted else f"it has {has or 'no'} bytes, and not {wanted}"
    lists = [one.members.get("children") for one in (before, made)]
    return "nothing is in it" if lists[0] and isinstance(lists[0], list) and lists[1] == [] else ""


async def _begins_otherwise(wire: Wire, before: Found, made: Found) -> str:
    """Whether the first bytes of a value are others, in words; where a server gives none, nothing is said by that."""
    if kind_of(before.answer, before.members) == CONTAINER or size_of(before.members, DATAOBJECT) == 0:
        return ""
    heads = [await wire.head(one.location.server, one.url, HEAD_BYTES) for one in (before, made)]
    return "it begins with other bytes" if None not in heads and heads[0] != heads[1] else ""
