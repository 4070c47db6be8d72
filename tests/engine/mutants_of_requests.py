"""Planted bugs of requests that come late, of attachments for a while, and of what nobody asks for any more."""

from tests.engine.mutant import Mutant

OF_REQUESTS = (
    Mutant(
        "a detach whose number is forgotten",
        "agent/engine/desk.py",
        "        await desk.ledger.saw(numbers)",
        "        numbers.clear()",
    ),
    Mutant(
        "a late detach of what was attached anew",
        "agent/engine/desk.py",
        """\
    refuse_stale_name(desk, name, generation)
    row = desk.ledger.rows.get(name)
    if numbers""",
        """\
    row = desk.ledger.rows.get(name)
    if numbers""",
    ),
    Mutant(
        "a lease that ends under its user",
        "agent/engine/leases.py",
        "        elif not users and self._is_over(row.lease):",
        "        elif self._is_over(row.lease):",
    ),
    Mutant(
        "a lease that outlives a boot",
        "agent/engine/leases.py",
        "        if lease and (lease.boot_id or row.boot_id) != boot_id:",
        "        if lease and not boot_id:",
    ),
    Mutant(
        "a guest that is on its way in takes the lease for granted",
        "agent/engine/leases.py",
        "                if isinstance(sight, DomainSight) and sight.runs:",
        "                if isinstance(sight, DomainSight) and sight.active:",
    ),
    Mutant(
        "a host that was fenced off lets itself in again",
        "agent/engine/withdrawn.py",
        "    if lost := [name for name in row.let_in if not _lets_in(export, name, hostname)]:",
        "    if lost := [name for name in row.let_in if not _lets_in(export, name, hostname) and not row.plan]:",
    ),
    Mutant(
        "a leftover that somebody needs by now",
        "agent/engine/leftovers.py",
        "    return {key for row in desk.ledger.rows.values() if row.plan is not None for key in desk.needs_of(row)}",
        "    return {key for row in desk.ledger.rows.values() if row.device is not None for key in desk.needs_of(row)}",
    ),
    Mutant(
        "a leftover whose users are not asked for",
        "agent/engine/leftovers.py",
        "    if users:\n",
        "    if users and not sight.paths:\n",
    ),
    Mutant(
        "a leftover that is not written out",
        "agent/engine/cleaning.py",
        "    return replace(row, plan=unit.plan, device=unit.device, **values)",
        "    return replace(row, plan=unit.plan, **values)",
    ),
    Mutant(
        "an attach that a boot has broken off is taken up again",
        "agent/engine/permits.py",
        "    if row.boot_id != sight.boot_id:",
        "    if row.boot_id == sight.boot_id and row.passed:",
    ),
    Mutant(
        "an attach of which nothing tells in which boot it began is taken up",
        "agent/engine/permits.py",
        "    if row.boot_id != sight.boot_id:",
        '    if row.boot_id not in ("", sight.boot_id):',
    ),
    Mutant(
        "a helper that is away at the daemon's start undoes an attach under way",
        "agent/engine/permits.py",
        "            if problem.code is not Code.UNAVAILABLE or desk.host.now() - began > timeouts.AWAY_S:\n",
        "            if True:\n",
    ),
    Mutant(
        "an attach that waits for the helper holds a detach up",
        "agent/engine/permits.py",
        "        refuse_overtaken(desk, row.name)\n        seen = desk.host.changes\n",
        "        seen = desk.host.changes\n",
    ),
    Mutant(
        "what an earlier version was let in by counts as nothing",
        "agent/engine/ledger.py",
        '    if "let_in" in told or not row.handed_out:\n',
        "    if told or not row.handed_out:\n",
    ),
    Mutant(
        "what an administrator permitted is followed to where others are permitted",
        "agent/engine/withdrawn.py",
        '    if names and not any(_lets_in(export, name, "") for name in mine):\n',
        '    if names and row.let_in and not any(_lets_in(export, name, "") for name in mine):\n',
    ),
    Mutant(
        "who reads beside others is late by what they ask for",
        "agent/engine/ledger.py",
        'return self.object_key if self.request.access is Access.RW and not self.request.share else ""',
        "return self.object_key",
    ),
    Mutant(
        "a script for what many read never comes late",
        "opennebula/lib/cdmi_one/commands.py",
        'return cdmi("attach", source, *words, "--generation", number)',
        'return cdmi("attach", source, *words, *([] if disk.read_only else ["--generation", number]))',
        suite=("tests/opennebula/test_deploy.py",),
    ),
    Mutant(
        "a leftover offered though a guest has its map open",
        "agent/engine/leftovers.py",
        "sight.map.holders if sight.map else (), sight.users]",
        "()]",
    ),
    Mutant(
        "a leftover that is in use taken away as soon as it is closed",
        "agent/engine/cleaning.py",
        "        if problem.code is not Code.IN_USE or not leftovers.is_one(row):\n",
        "        if True:\n",
    ),
    Mutant(
        "a lease that never ends since its disk cannot be proved",
        "agent/engine/leases.py",
        "        elif self._is_over(lease):\n            await self._judge(name)\n",
        "",
    ),
    Mutant(
        "a lease that was handed out and never begins",
        "agent/engine/leases.py",
        "        else:\n            await self.handed_out(name)  # its time",
        "        else:\n            pass  # its time",
    ),
)
