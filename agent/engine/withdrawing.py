"""Taking back what was granted on an object: one object is one, by its ID, through whichever configured server.

A host may reach one CDMI service by several names, networks or roots, each a [[server]] of its own. What was granted
through one is relied on by an attachment through another, and goes with the last of them.
"""

from agent.engine.desk import Desk
from agent.engine.ledger import MADE, Grant, Row
from agent.engine.permits import grants_of, names_in
from attachers.problems import Code, Problem


def not_needed(desk: Desk, row: Row) -> list[Grant]:
    """The permissions for its export that are ours, and that no other attachment on this host relies on."""
    return [grant for grant in grants_of(desk, row) if not desk.grant_is_needed(grant, row.name)]


async def withdraw(desk: Desk, row: Row, revoked: list[Grant]) -> None:
    """Take permissions out of the export, and with them the export itself where it is ours. Raises `Problem`.

    Through every server that they were given through: where an ID does not mean the same object after all, the
    permission is there. One that is configured no more can be asked nothing.
    """
    names, where = names_in(revoked), row.granted_at
    if any(grant.initiator == MADE for grant in revoked):
        async with desk.noted(row.name, f"have {where} exported over {row.protocol} no more", "Unexport"):
            await desk.cdmi.unexport(where, row.key, *names)
    elif names:
        async with desk.noted(row.name, f"revoke {', '.join(names)} on {where}", "Revoke"):
            await desk.cdmi.revoke(where, row.key, *names)
    for uri in sorted({grant.uri for grant in revoked} - {where}):
        await _beside(desk, row, uri, names_in([grant for grant in revoked if grant.uri == uri]))


async def _beside(desk: Desk, row: Row, uri: str, names: list[str]) -> None:
    async with desk.noted(row.name, f"revoke {', '.join(names)} on {uri}", "Revoke"):
        try:
            await desk.cdmi.revoke(uri, row.key, *names)
        except Problem as problem:
            if problem.code is not Code.FORBIDDEN:
                raise
