"""`attach`, `detach` and their like: one request that waits; on a terminal stderr says what is being done meanwhile."""

import sys

from agent.cli import client, show

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from agent.cli.verbs import Words

SETTLED = ("attached", "degraded")


def attach(args: "Words") -> int:
    """Prints the link, or with --json the attachment, and nothing else."""
    if (args.domain is None) != (args.target is None):
        raise client.Failure(client.USAGE, "--domain and --target go together", "")
    body: dict[str, Any] = {"source": args.source, "access": "ro" if args.ro else "rw"}
    body |= {"protocols": args.protocol} if args.protocol else {}
    body |= {"present": "file"} if args.file else {}
    body |= {"share": True} if args.share else {}
    body |= {"generation": args.generation} if args.generation is not None else {}
    body |= {"lease_s": args.lease} if args.lease is not None else {}
    body |= {"min_paths": args.min_paths} if args.min_paths is not None else {}
    body |= {"domain": {"name": args.domain, "target": args.target}} if args.domain else {}
    body |= {"timeout_s": args.timeout} if args.timeout is not None else {}
    longest_s = (client.LONGEST_S if args.timeout is None else args.timeout) + client.GRACE_S
    view = _ask(args, "PUT", client.attachment(args.name), body, longest_s)
    if view.get("phase") not in SETTLED or not view.get("link"):
        detail = f"{args.name} is {view.get('phase')}, not attached"
        raise client.Failure(client.FAILED, detail, f"see: cdmi-attach status {args.name}")
    show.say(show.sentence(view))
    print(show.as_json(view) if args.json else show.visible(view["link"]))
    return 0


def confirm(args: "Words") -> int:
    """Prints nothing on stdout, or with --json the attachment."""
    route = client.attachment(args.name) + "/confirm" + client.query(generation=args.generation)
    view = client.call(args.socket, "POST", route, None, timeout_s=client.GRACE_S)
    if args.json:
        print(show.as_json(view))
    show.say(show.visible(f"{args.name} stays until it is detached"))
    return 0


def detach(args: "Words") -> int:
    """Prints nothing on stdout."""
    route = client.attachment(args.name) + client.query(
        force=args.force, must_exist=args.must_exist, generation=args.generation
    )
    answer = _ask(args, "DELETE", route, None, client.LONGEST_S + client.GRACE_S)
    told = "there is no such attachment, nothing was done" if answer.get("absent") else "is detached"
    show.say(show.visible(f"{args.name}{':' if answer.get('absent') else ''} {told}"))
    return 0


def resize(args: "Words") -> int:
    """Prints the size in bytes, or with --json the attachment."""
    view = _ask(args, "POST", client.attachment(args.name) + "/resize", None, client.LONGEST_S + client.GRACE_S)
    size = (view.get("device") or {}).get("size")
    show.say(show.visible(f"{args.name} has {size} bytes"))
    print(show.as_json(view) if args.json else size)
    return 0


def _ask(args: "Words", method: str, route: str, body: "Any", longest_s: float) -> "dict[str, Any]":
    if not sys.stderr.isatty():
        return client.call(args.socket, method, route, body, timeout_s=longest_s)
    from agent.cli import progress

    return progress.call(args, method, route, body, timeout_s=longest_s)
