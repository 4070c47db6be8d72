"""Planted bugs of one kind: what was written is taken for written out."""

from tests.engine.mutant import Mutant

UNWRITTEN = (
    Mutant(
        "a helper that stops leaves a write-out behind",
        "agent/host/under_way.py",
        "        case WriteOutFile(lost=False):\n            return True\n",
        "",
    ),
    Mutant(
        "a silent disk removed, though what was written to it never was written out",
        "attachers/lun.py",
        "        if silent := unwritten.awaited(unit.text, path, sight, context):\n            return silent\n",
        "",
    ),
    Mutant(
        "a map without a usable path removed, though what was written to it never was written out",
        "attachers/unmap.py",
        "        if context.used and not above.read_only:\n",
        "        if False:\n",
    ),
    Mutant(
        "a write-out that failed forgotten with the reboot",
        "agent/host/created.py",
        "Kind.LISTED, Kind.UNWRITTEN)",
        "Kind.LISTED)",
    ),
    Mutant(
        "a write-out whose answer was lost in a power cut taken for done",
        "agent/host/guarded_written.py",
        "            if sight.dirty or row.boot_id != self._boot_id:\n",
        "            if sight.dirty:\n",
    ),
    Mutant(
        "a loss given up before it is noted",
        "agent/engine/converge.py",
        "                await attempt.intended(step)\n                sight = await act(host, attempt, step)\n",
        "                sight = await act(host, attempt, step)\n                await attempt.intended(step)\n",
    ),
    Mutant(
        "force that outlives its refusal",
        "agent/engine/engine.py",
        ', "forced": ""}',
        "}",
    ),
    Mutant(
        "a stale disk waited for before the permission is asked for",
        "attachers/fc.py",
        "    return replace(next_, let_in=True) if isinstance(next_, Wait) else next_\n",
        "    return next_\n",
    ),
    Mutant(
        "a disk deleted in running order though another unit answers",
        "agent/host/blocks.py",
        "            if not proved:\n",
        "            if False:\n",
    ),
    Mutant(
        "a swap that was seen forgotten when it is taken back",
        "agent/host/guarded_written.py",
        "        if self._leads_astray(name, shown):\n",
        "        if False:\n",
    ),
    Mutant(
        "a disk behind which another unit answers removed with a plain yes",
        "attachers/lun.py",
        "unwritten.unknown(path, context) or unwritten.astray(unit.text, wwid, path, sight, context)",
        "unwritten.unknown(path, context)",
    ),
    Mutant(
        "a file unmounted with whatever error its write-out has",
        "attachers/nfs.py",
        "    if next_ := _write_out_file(plan, sight, context):\n        return next_\n",
        "",
    ),
    Mutant(
        "a file that others need detached with what was written to it in the cache",
        "attachers/nfs.py",
        "or (context.read_only and _file_key(plan) in context.needed):",
        "or _file_key(plan) in context.needed:",
    ),
    Mutant(
        "a file unmounted with whatever error its write-out has, since its last attachment only reads",
        "attachers/nfs.py",
        "or (context.read_only and _file_key(plan) in context.needed):",
        "or context.read_only:",
    ),
    Mutant(
        "a removal broken off while it waits for its server",
        "agent/host/linux_nfs_steps.py",
        "what, kill=step.lost)",
        "what, kill=True)",
    ),
    Mutant(
        "a removal that waits for its server waited for though its loss is known",
        "attachers/nfs.py",
        "but=_stuck(p, context) if goal is Goal.GONE else ()",
        "but=()",
    ),
    Mutant(
        "a flush that waits for its server in the way of the whole share",
        "agent/host/under_way.py",
        '            return frozenset({f"wwid:{wwid}"})\n        case PublishFile',
        '            return frozenset({f"wwid:{wwid}", f"mount:{step.share.point}"})\n        case PublishFile',
    ),
    Mutant(
        "a share unmounted under a flush that waits for its server",
        "agent/host/under_way.py",
        "    return bool(changed & changes or changed & stood_on(other) or stood_on(one) & changes)\n",
        "    return bool(changed & changes)\n",
    ),
    Mutant(
        "a map of a disk that was not proved never seen",
        "agent/host/dm.py",
        "    maps = (one for node in nodes if (one := at(roots, node)) and is_misnamed(one))\n",
        "    maps = (one for node in nodes if (one := at(roots, node)) and one.uuid in wwids)\n",
    ),
    Mutant(
        "a map of a disk that was not proved kept in multipath's list",
        "agent/host/linux_maps.py",
        "            await _forget_misnamed(tools, step, found, deadline)\n",
        "",
    ),
)
