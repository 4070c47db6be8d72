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
    alone""",
        """\
    row = desk.ledger.rows.get(name)
    alone""",
    ),
)
