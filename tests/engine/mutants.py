"""`make mutants`: plant known bugs, one at a time, in a copy of the tree; the suites must turn red for each.

A suite that stays green with a planted bug would not have found it either when somebody made it by mistake.
"""

import sys

from tests.engine.mutant import Mutant as Mutant
from tests.engine.mutants_of_drivers import OF_DRIVERS
from tests.engine.mutants_of_names import OF_NAMES
from tests.engine.mutants_of_objects import OF_OBJECTS
from tests.engine.mutants_of_plans import OF_PLANS
from tests.engine.mutants_of_requests import OF_REQUESTS
from tests.engine.mutants_of_site import OF_SITE
from tests.engine.mutants_of_writes import OF_WRITES
from tests.engine.mutants_unwritten import UNWRITTEN
from tests.engine.planting import found

MUTANTS = (
    *OF_PLANS,
    *OF_WRITES,
    *OF_NAMES,
    *OF_REQUESTS,
    *OF_DRIVERS,
    Mutant(
        "a stranger's detach",
        "agent/engine/engine.py",
        """\
            refuse_strangers(row, by)
            await mind_late""",
        """\
            await mind_late""",
    ),
    Mutant(
        "CHAP shown to whoever the daemon names",
        "agent/host/allowed.py",
        "        if not _inside(own, step.portal):",
        "        if not _inside(self.places, step.portal):",
    ),
    Mutant(
        "a domain is given what somebody else's link leads to",
        "agent/host/confined.py",
        "if isinstance(sight, ScsiSight) and stands(row.thing, sight)), None)",
        "if isinstance(sight, ScsiSight)), None)",
    ),
    Mutant(
        "any disk is read that has a link",
        "agent/host/confined.py",
        "isinstance(query, BlocksQuery) and not published(query.wwid, self.created)",
        "isinstance(query, BlocksQuery) and not self.created",
    ),
    Mutant(
        "a map is ours for its name",
        "agent/host/confined.py",
        "if members and not any(",
        "if members and self._found and False and not any(",
    ),
    Mutant(
        "intent recorded after the act",
        "agent/host/guarded.py",
        """\
        if thing not in self._created.rows and not stands(thing, sight):
            sid = sid_of(step, sight, self._created.rows)
            await self._created.put(Row(thing, self._boot_id, self.now(), sid, writable=hands_out(step)))
            self._removed.drop({thing.hctl})
        try:
            await self._raw.act(step, timeout_s=timeout_s)
            self._published.done(step)
""",
        """\
        try:
            await self._raw.act(step, timeout_s=timeout_s)
            self._published.done(step)
            if thing not in self._created.rows and not stands(thing, sight):
                sid = sid_of(step, sight, self._created.rows)
                await self._created.put(Row(thing, self._boot_id, self.now(), sid, writable=hands_out(step)))
                self._removed.drop({thing.hctl})
""",
    ),
    Mutant(
        "a mount recorded after it was made",
        "agent/host/guarded_shares.py",
        """\
            await self._created.put(Row(thing, boot_id, self._raw.now()))
        try:
            await self._raw.act(step, timeout_s=timeout_s)
""",
        """\
        try:
            await self._raw.act(step, timeout_s=timeout_s)
            await self._created.put(Row(thing, boot_id, self._raw.now()))
""",
    ),
    Mutant(
        "somebody's mount taken for ours",
        "agent/host/guarded_shares.py",
        "ours=mount is not None and mount.sid == one.id)",
        "ours=True)",
    ),
    Mutant(
        "a file taken from under its user",
        "attachers/nfs.py",
        "    if not sight.file.holders:\n        return None\n",
        "    if sight.file.holders is not None:\n        return None\n",
    ),
    Mutant(
        "a file of another file system taken for the one that was handed out",
        "attachers/nfs.py",
        "    if file.id != plan.pin:\n",
        "    if file.inode != plan.pin.number:\n",
    ),
    Mutant(
        "which file it is, known to this process alone",
        "agent/engine/standing.py",
        """\
    kept = await desk.ledger.change(name, plan={**(desk.ledger.rows[name].plan or {}), **values})
    return kept.plan or {}
""",
        """\
    return {**(desk.ledger.rows[name].plan or {}), **values}
""",
    ),
    Mutant(
        "a file mounted anew without a word of its server",
        "attachers/nfs.py",
        "asks_again = True\n",
        "asks_again = False\n",
    ),
    Mutant(
        "another object taken for the one at its place",
        "agent/engine/asking.py",
        "    if there := [one for one, place in places if place == _place(row.plan or {})]:\n",
        "    if there := [one for one, _ in places]:\n",
    ),
    Mutant(
        "an administrator's own entry taken for ours",
        "agent/engine/permits.py",
        "    return [one for one in wanted if _through_any(one) in known or one.initiator in permits.missing]\n",
        "    return wanted\n",
    ),
    Mutant(
        "a host's name withdrawn while another file of the share relies on it",
        "agent/engine/ledger.py",
        "        return self.at or self.uri\n",
        "        return self.uri or self.at\n",
    ),
    Mutant(
        "root's name left as long as any file of the share is attached",
        "agent/engine/ledger.py",
        "        return name == MADE or not self.permits or name in self.permits\n",
        "        return True\n",
    ),
    Mutant(
        "a link left that leads to another file",
        "attachers/nfs.py",
        "    if plan.present == FILE and sight.scsi.link is not None and unpublish not in context.failed:\n",
        "    if plan.present == FILE and sight.scsi.link is None and unpublish not in context.failed:\n",
    ),
    Mutant(
        "a file handed out for writing that nobody could open so",
        "attachers/nfs.py",
        "    if file.opening is Opening.READ_ONLY:\n",
        "    if file.opening is Opening.READ_ONLY and context.read_only:\n",
    ),
    Mutant(
        "grant recorded after the act",
        "agent/engine/flows.py",
        "grants=grants, **found)",
        "grants=(), **found)",
    ),
    Mutant(
        "export made before its intent",
        "agent/engine/exporting.py",
        "        await desk.ledger.change(row.name, grants=[intent], key=key, protocol=protocol, **found)\n",
        "",
    ),
    Mutant(
        "identity check skipped",
        "attachers/scsi.py",
        "    return bool(path.kind) or (bool(path.designators) and not is_right(path, wwid))",
        "    return False",
    ),
    Mutant(
        "needs of others ignored",
        "attachers/base.py",
        "    return frozenset(key for key in mine & created if key not in others)",
        "    return mine & created",
    ),
    Mutant(
        "released before it is gone",
        "attachers/iscsi.py",
        "        if session.ours and _session(session.target, session.portal) in free and not session.devices:",
        "        if False:",
    ),
    Mutant(
        "a failed flush taken for one that was done",
        "attachers/lun.py",
        "    return taken in context.done and taken not in context.unsure and taken not in context.failed",
        "    return taken in context.done",
    ),
    Mutant(
        "a disk that fell silent removed, though its cache may not be written out",
        "attachers/lun.py",
        "        lost = unwritten.unknown(path, context) or ",
        "        lost = ",
    ),
    Mutant(
        "a commit that can be cut off",
        "agent/engine/ledger.py",
        "        return await asyncio.shield(task)",
        "        return await task",
    ),
    Mutant(
        "the server asked before the LUN was said to be ours",
        "agent/engine/flows.py",
        "    if not desk.attacher(row.protocol).comes_back:\n        due.set()",
        "    due.set()",
    ),
    Mutant(
        "no look after the permission was withdrawn",
        "agent/engine/flows.py",
        "        if row.plan is not None and desk.attacher(row.protocol).comes_back:\n            await reach(",
        "        if False:\n            await reach(",
    ),
    Mutant(
        "what the kernel found before us taken for ours",
        "agent/host/guarded_owned.py",
        "        things = [thing, *(borrowed(session, lun) for session, hctl in there if hctl not in made)]",
        "        things = [thing]",
    ),
    Mutant(
        "what a reboot brought back taken for somebody's",
        "agent/host/created.py",
        "LASTING = (Kind.RECORD, Kind.OWNED, Kind.BORROWED, Kind.LISTED, Kind.UNWRITTEN)",
        "LASTING = (Kind.RECORD, Kind.LISTED, Kind.UNWRITTEN)",
    ),
    Mutant(
        "link not put back",
        "agent/engine/converge.py",
        "    if step is None:\n        return",
        "    return",
    ),
    Mutant(
        "another unit left in the map",
        "attachers/maps.py",
        "    if purge := _purge(wwid, ways, sight, context):\n        return purge\n",
        "",
    ),
    Mutant(
        "a map handed out with any path",
        "attachers/maps.py",
        "len(good) >= context.min_paths",
        "len(good) >= 1",
    ),
    Mutant(
        "somebody's map taken apart",
        "attachers/unmap.py",
        """    if above.ours and f"wwid:{wwid}" not in context.needed:""",
        """    if f"wwid:{wwid}" not in context.needed:""",
    ),
    Mutant(
        "multipath's list never brought back",
        "agent/host/guarded_maps.py",
        "        return replace(step, listed=step.listed and listed)",
        "        return replace(step, listed=False)",
    ),
    Mutant(
        "what was read when the daemon died stays attached",
        "agent/engine/engine.py",
        "            if READING.fullmatch(row.name):  # whoever read it is gone\n",
        "            if not READING:\n",
    ),
    Mutant(
        "the disk of a LUN that is read goes while it is read",
        "agent/engine/lun_content.py",
        """\
            finally:
                await asyncio.wait({reading})
                reading.exception()
""",
        """\
            finally:
                reading.cancel()
""",
    ),
    Mutant(
        "the last piece of a LUN goes out before it is proved",
        "agent/engine/lun_content.py",
        """\
        await self._finish()
        if held:
            yield held
""",
        """\
        if held:
            yield held
        await self._finish()
""",
    ),
    Mutant(
        "the permission goes from under whoever uses a borrowed disk",
        "attachers/lun.py",
        """\
    if needed or context.withdrawn or not handed_out:
        return None
""",
        """\
    if needed or handed_out or not handed_out:
        return None
""",
    ),
    Mutant(
        "what is borrowed is given to the configured owner",
        "agent/host/guarded_published.py",
        "return replace(step, borrowed=not ours, again=",
        "return replace(step, borrowed=False, again=",
    ),
    Mutant(
        "whatever was published once may be handed out beside anybody",
        "agent/host/guarded_published.py",
        """\
        self._handed.drop([key for key in self._handed if key.endswith(f" {place}")])
""",
        """\
        self._handed.drop([key for key in self._handed if key == place])
""",
    ),
    Mutant(
        "a LUN of iSCSI is not said to be ours before it is asked for",
        "attachers/iscsi.py",
        "    if plan.target not in sight.owned and not any(path.ours",
        "    if plan.target in sight.owned and not any(path.ours",
    ),
    *UNWRITTEN,
    *OF_OBJECTS,
    *OF_SITE,
)


def main() -> int:
    """Run the suite on every mutant. Returns 0 when each is found."""
    survivors = [mutant.name for mutant in MUTANTS if not found(mutant)]
    if survivors:
        print(f"NOT FOUND by the suite: {'; '.join(survivors)}")
        return 1
    print(f"all {len(MUTANTS)} mutants were found")
    return 0


if __name__ == "__main__":
    sys.exit(main())
