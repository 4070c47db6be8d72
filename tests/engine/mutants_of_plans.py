"""Planted bugs of paths, plans, and what is told when either is gone."""

from tests.engine.mutant import Mutant

OF_PLANS = (
    Mutant(
        "the permission asked for the host's name, whatever the interface's is",
        "agent/engine/permits.py",
        "HostQuery(desk.settings.iface)",
        "HostQuery()",
    ),
    Mutant(
        "a new initiator name never asked for after a boot",
        "agent/engine/permits.py",
        "        await _grant_by_new_name(desk, row)\n",
        "        pass\n",
    ),
    Mutant(
        "a host fenced off by the name that it had when it was let in",
        "agent/engine/others.py",
        "(*host.names, *(grant.initiator for grant in desk.ledger.grants))",
        "host.names",
    ),
    Mutant(
        "an interface's empty initiator name taken for one",
        "agent/host/iscsiadm.py",
        ' and name != "<empty>" else ""',
        ' else ""',
    ),
    Mutant(
        "an answer to an INQUIRY taken for a path that carries I/O",
        "attachers/lun.py",
        "    return carries(unit, path) or hand_out(unit, path, proved, sight, context)",
        "    return hand_out(unit, path, proved, sight, context)",
    ),
    Mutant(
        "the LUN looked for at the first portal only",
        "attachers/iscsi.py",
        "    return _beside(plan, found, sight, context) if lun.is_in_vain(",
        "    return found if lun.is_in_vain(",
    ),
    Mutant(
        "an alarm that nobody hears",
        "agent/engine/tending.py",
        "            self._alarmed |= {*free}",
        "            self._alarmed |= set()",
    ),
    Mutant(
        "a domain with a dead disk listed as healthy",
        "agent/engine/standing.py",
        "    if names := await dead_in(desk, name):",
        "    if names := ():",
    ),
    Mutant(
        "an old plan forgotten, with all that it made",
        "agent/engine/moving.py",
        "former=(former, *now.former), **found)",
        "former=(), **found)",
    ),
    Mutant(
        "the link taken away with the old plan",
        "attachers/lun.py",
        "    if sight.link is not None and not context.former:",
        "    if sight.link is not None:",
    ),
    Mutant(
        "what the new plan needs taken down with the old one",
        "agent/engine/desk.py",
        "        return key in self.others or key in self.own",
        "        return key in self.others",
    ),
    Mutant(
        "of several sessions of one login only one is ours",
        "agent/host/guarded_judge.py",
        "    if another(thing, session.sid) in rows:\n",
        "    if False:\n",
    ),
    Mutant(
        "a record of ours is left to what iscsid.conf says of giving up",
        "agent/host/iscsiadm.py",
        '    node_db.REOPENED: "0",\n',
        "",
    ),
    Mutant(
        "the server asked while it is being written down whose the LUN is",
        "agent/engine/converge.py",
        "        if isinstance(decision, Act | Begin) and not isinstance(decision.step, Own) and not attempt.stands:\n",
        "        if isinstance(decision, Act | Begin) and not attempt.stands:\n",
    ),
    Mutant(
        "the server asked for a LUN of iSCSI at once, whoever may have it looked for",
        "attachers/iscsi.py",
        "comes_back = True\n",
        "comes_back = False\n",
    ),
    Mutant(
        "a resize goes on where the disk was while a mend takes it elsewhere",
        "agent/engine/engine.py",
        "            await self._mending.over(name, until=now + (deadline - now) / 2)  # perhaps it moves\n",
        "",
    ),
    Mutant(
        "domains are told the size of before",
        "agent/engine/resizing.py",
        "    size = row.device.size if row.device else 0\n",
        "    size = before\n",
    ),
)
