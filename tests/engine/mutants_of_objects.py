"""Planted bugs about objects that others use, and about what is decided outside its lock: see `mutants`."""

from tests.engine.mutant import Mutant

OF_OBJECTS = (
    Mutant(
        "what is above an attached object taken for free",
        "agent/engine/attached.py",
        "    return [row for row in desk.ledger.rows.values() if found.keys.intersection(row.over)]",
        "    return []",
    ),
    Mutant(
        "an attach goes on with what it had read before a change",
        "agent/engine/flows.py",
        "            if known & touched:\n                return None\n",
        "",
    ),
    Mutant(
        "decided on what was seen before the lock was had",
        "agent/engine/in_hand.py",
        "                yield now\n",
        "                yield found\n",
    ),
    Mutant(
        "other hosts' permissions not looked at",
        "agent/engine/others.py",
        "    if names:\n        hint",
        "    if not names:\n        hint",
    ),
    Mutant(
        "snapshots that go along are not named",
        "agent/engine/others.py",
        "    if goes and users.snapshots and not despite.snapshots:",
        "    if False:",
    ),
)
