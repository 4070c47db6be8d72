"""Late and overtaking requests: a request may carry a number, and a lower one than was seen before is refused.

A script that was given up may go on (nobody kills it), and what it asks for comes after what was asked for later. The
numbers are kept by the name of the attachment, also of one that is gone, and by the object's ID.
"""

from attachers.problems import Code, Problem

KEPT = 65536
"""So many numbers of names are kept over a restart: those of the latest."""
FORGOTTEN = (
    "DELETE FROM generations WHERE object_id LIKE 'name:%' AND rowid <= (SELECT max(rowid) FROM generations) - ?"
)


def by_name(name: str) -> str:
    """What the number of an attachment's name is kept under: no ID and no address of an object begins so."""
    return f"name:{name}"


def numbered(name: str, object_key: str, generation: int | None) -> dict[str, int]:
    """What is kept of a request's number; `object_key` empty: not known yet, or not to be counted."""
    if generation is None:
        return {}
    return {by_name(name): generation} | ({object_key: generation} if object_key else {})


def refuse_late(last: int | None, generation: int | None, what: str) -> None:
    """Raises `Problem` (`stale`) where a later request for `what` was seen already: `last` is the highest number."""
    if generation is not None and last is not None and generation < last:
        raise Problem(
            Code.STALE,
            f"generation: {generation} is older than {last}, the last one seen for {what}",
            hint="a later request has overtaken this one; nothing is to be done",
        )
