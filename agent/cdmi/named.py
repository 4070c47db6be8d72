"""What was named, and nothing that it leads to: what changes or deletes an object acts on that very one.

A reference answers 302 to every operation but its creation and its deletion (CDMI 1.1 and 2.0 clauses 8.1 and 9.1): who
follows it changes another object than the one that was named. Servers redirect for other reasons as well: to a path
with its slash, or from an ID to the path; there the object is the same.
"""

from agent.cdmi.answers import refused
from agent.cdmi.find import spelt
from agent.cdmi.members import CONTAINER, Found, object_id_of
from agent.cdmi.sources import by_id, leads_elsewhere
from agent.cdmi.text import shown
from attachers.problems import Code, Problem


def reference_of(found: Found) -> str:
    """The address of the reference itself, where what was named is one; else empty."""
    return found.named if leads_elsewhere(found.location.server, found.named, found.url) else ""


def own_url(found: Found, kind: str, object_id: str) -> str:
    """The object's own URL: by its ID where it has one, and never that of a reference to it."""
    location = found.location
    if object_id:
        return by_id(location.server, object_id, slash=kind == CONTAINER).url
    return found.url if reference_of(found) else spelt(location, kind).url


def itself(found: Found, field: str, only: str = "") -> str:
    """The ID of the object that was named, empty where it has none; `only`: the one that it has to have.

    Raises `Problem`: conflict for a reference, and where another object is there by now; else as `object_id_of`.
    """
    object_id = object_id_of(found.location, found.answer, found.members)
    if named := reference_of(found):
        what = f"{field}: {shown(named, 300)} is a reference to {shown(found.url, 300)}, and leads to another object"
        raise Problem(Code.CONFLICT, what, hint="give the address of the object that is meant")
    if only and object_id.casefold() != only.casefold():
        what = f"{field}: {shown(found.named, 300)} is {object_id or 'an object without ID'} by now, and not {only}"
        raise Problem(Code.CONFLICT, what, hint="see what took its place; nothing of it was changed")
    return object_id


def not_done(found: Found, what: str) -> Problem:
    """That a server said yes and did not do it."""
    return refused(found.location.server, what, hint="see the CDMI server's log, and what is there: cdmi-attach stat")
