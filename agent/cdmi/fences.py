"""Another host's names out of every block export of an object, as after its death: nothing of it may write any more."""

from collections.abc import Mapping, Sequence

from agent.cdmi.copies import entries_of
from agent.cdmi.exports import names_in, path_of, protocol_of
from agent.cdmi.find import find
from agent.cdmi.grants import Change, make
from agent.cdmi.initiators import normal
from agent.cdmi.members import Found, object_id_of
from agent.cdmi.sources import Location
from agent.cdmi.text import shown
from agent.cdmi.wire import Wire
from agent.uses import Fenced
from attachers.problems import Code, Problem

BLOCK = ("iscsi", "fc")


async def fence(wire: Wire, location: Location, names: tuple[str, ...]) -> tuple[Fenced, ...]:
    """See `agent.contract.Cdmi.fence`. A host that no export names is fenced off already."""
    found = await find(wire, location)
    object_id_of(location, found.answer, found.members)
    before = _block(found)
    _refuse_others(found)
    for key, (_, there) in before.items():
        if there is None:
            what = f"{path_of(key)} of {shown(found.url, 300)} has no permissions: any host may use it"
            hint = "give it permissions on the server first; nobody was fenced off"
            raise Problem(Code.CONFLICT, what, hint=hint)
    for key in before:
        await make(wire, Change(location, key, names, present=False))
    after = _block(await find(wire, location))
    _insist_on_it(found, after, names)
    return tuple(_fenced(key, before[key], after.get(key), names) for key in before)


def _insist_on_it(found: Found, after: Mapping[str, tuple[str, tuple[str, ...] | None]], names: Sequence[str]) -> None:
    """Raises `Problem` (`conflict`) where by now any of the names is let in: by an entry that was opened, or is new."""
    wanted = {normal(name) for name in names}
    for key, (_, there) in after.items():
        if there is None or wanted & {normal(name) for name in there}:
            who = "any host" if there is None else "a host that was to be fenced off"
            what = f"{path_of(key)} of {shown(found.url, 300)} has been changed meanwhile, and lets {who} in"
            raise Problem(Code.CONFLICT, what, hint="see who writes its permissions, then fence again")


def _fenced(
    key: str,
    before: tuple[str, tuple[str, ...] | None],
    after: tuple[str, tuple[str, ...] | None] | None,
    names: tuple[str, ...],
) -> Fenced:
    wanted = {normal(name) for name in names}
    withdrawn = tuple(name for name in before[1] or () if normal(name) in wanted)
    return Fenced(key, before[0], withdrawn, (after[1] or ()) if after else ())


def _block(found: Found) -> dict[str, tuple[str, tuple[str, ...] | None]]:
    """The block exports by their keys: protocol, and names; None for anybody. Raises `Problem` for a malformed one."""
    blocks: dict[str, tuple[str, tuple[str, ...] | None]] = {}
    for key, entry in entries_of(found).items():
        if (protocol := protocol_of(key, entry)) not in BLOCK:
            continue
        told = entry.get("permissions")
        names = None if told is None else names_in(told)
        if told is not None and names is None:
            what = f"{path_of(key)}.permissions of {shown(found.url, 300)} is no list of names"
            raise Problem(Code.CDMI_REFUSED, what, hint="let the server's administrator correct it")
        blocks[key] = (protocol, names)
    return blocks


def _refuse_others(found: Found) -> None:
    """Raises `Problem` where a host has another way to the object than its block exports, or none at all."""
    entries = entries_of(found)
    for key, entry in entries.items():
        if (protocol := protocol_of(key, entry)) == "nfs":
            what = f"{path_of(key)} of {shown(found.url, 300)}: CDMI has no permissions of hosts for {protocol}"
            raise Problem(Code.UNSUPPORTED_ON_HOST, what, hint="fence the host off at the NFS server")
    if not entries:
        what = f"uri: {shown(found.url, 300)} has no exports that a host could be fenced off"
        raise Problem(Code.INVALID_REQUEST, what, hint="give the container that is exported")
