"""Before something is lost: on a terminal it is said what is about to be done to what, and asked whether to go on."""

import sys
from urllib.parse import quote

from agent.cli import client, show

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from agent.cli.verbs import Words


def ask(args: "Words", what: str) -> str:
    """Go on, or raise `Failure`. Returns the ID of the object that was shown, empty where nobody was asked.

    `what` says what is about to be done: "delete". A script, whose standard input is no terminal, is not asked.
    """
    if args.yes or not sys.stdin.isatty():
        return ""
    route = f"/v1/objects?uri={quote(args.source, safe='')}&users=1"
    try:
        found = client.call(args.socket, "GET", route, None, timeout_s=client.LONGEST_S)
    except client.Failure as failure:
        if failure.status != client.NOT_FOUND:
            raise
        return ""  # there is nothing to lose: the daemon says the rest
    for line in _lines(found, what, args.source):
        print(show.visible(line), file=sys.stderr)
    print("Go on? [y/N] ", end="", file=sys.stderr, flush=True)
    if sys.stdin.readline().strip().lower() not in ("y", "yes"):
        raise client.Failure(client.FAILED, "nothing was done", "")
    return str(found.get("object_id") or "")


def _lines(found: "dict[str, Any]", what: str, source: str) -> list[str]:
    """What is about to be done, to what, and who would notice."""
    size = "" if found.get("size") is None else f", {show.size(found['size'])} ({found['size']} bytes)"
    facts = (
        ("object", f"{found.get('kind')} {found.get('name')}{size}"),
        ("address", found.get("uri")),
        ("reference", found.get("reference") and "it is only a reference to that"),
        ("attached", _listed(found, "attachments")),
        ("snapshots", _listed(found, "snapshots")),
        ("others", _listed(found, "others") and f"{_listed(found, 'others')} may use it"),
        ("anybody", _listed(found, "anybody") and f"may use it over {_listed(found, 'anybody')}"),
    )
    return [f"About to {what} {source}:", *(f"  {name:10}{value}" for name, value in facts if value)]


def _listed(found: "dict[str, Any]", name: str) -> str:
    return ", ".join(map(str, found.get(name) or ()))
