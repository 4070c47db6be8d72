"""`stat`, `clone`, `create`, `fence` and their neighbours: objects on a server."""

from urllib.parse import quote

from agent.cli import client, show
from agent.cli.asking import ask

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from agent.cli.verbs import Words

LABEL = 10
EVEN_IF = "even_if_permitted_to_others"
LONGEST_S = 3600.0
"""How long a copy is waited for; asking again waits on."""


def stat(args: "Words") -> int:
    """Prints what the object is, a fact a line."""
    answer = client.call(args.socket, "GET", _route(args.source), None, timeout_s=client.LONGEST_S)
    if args.json:
        print(show.as_json(answer))
        return 0
    facts = {name: answer.get(name) for name in ("name", "kind", "uri")}
    facts["size"] = f"{show.size(answer['size'])} ({answer['size']} bytes)" if answer.get("size") is not None else None
    facts["format"] = answer.get("format")
    digest = answer.get("hash") or {}
    facts["hash"] = f"{digest['algorithm']} {digest['value']}".strip() if digest else None
    facts |= answer.get("times") or {}
    facts |= {name: answer.get(name) for name in ("reference", "pending")}
    facts["attached"] = ", ".join(answer.get("attachments") or ()) or None
    for name, value in facts.items():
        if value is not None:
            print(f"{name:{LABEL}}{show.visible(value)}")
    for name, value in (answer.get("metadata") or {}).items():
        print(f"{'metadata':{LABEL}}{show.visible(f'{name}={value}')}")
    return 0


def set_metadata(args: "Words") -> int:
    """Prints nothing on stdout, or with --json the object."""
    items: dict[str, str | None] = dict(_item(text) for text in args.item)
    items |= dict.fromkeys(args.remove or ())
    if not items:
        raise client.Failure(client.USAGE, "KEY=VALUE or --remove KEY is missing", "")
    body = {"metadata": items}
    answer = client.call(args.socket, "PATCH", _route(args.source), body, timeout_s=client.LONGEST_S)
    if args.json:
        print(show.as_json(answer))
    return 0


def delete(args: "Words") -> int:
    """Prints nothing on stdout."""
    shown = ask(args, "delete")
    more = [f"object_id={quote(shown, safe='')}"] if shown else []
    more += [f"{EVEN_IF}=1"] if args.even_if_permitted_to_others else []
    more += ["with_snapshots=1"] if args.with_snapshots else []
    more += ["must_exist=1"] if args.must_exist else []
    route = "&".join([_route(args.source), *more])
    absent = client.call(args.socket, "DELETE", route, None, timeout_s=client.LONGEST_S).get("absent")
    show.say(show.visible(f"{args.source}{': there is no such object, nothing was done' if absent else ' is deleted'}"))
    return 0


def clone(args: "Words") -> int:
    """Prints the copy's address."""
    body = {"source": args.source, "destination": args.destination, "wait_s": _wait(args)}
    return _made(args, "/v1/objects/clone", body | _own(args))


def snapshot(args: "Words") -> int:
    """Prints the snapshot's address."""
    return _made(args, "/v1/objects/snapshot", {"uri": args.source, "name": args.name, "wait_s": _wait(args)})


def restore(args: "Words") -> int:
    """Prints the container's address."""
    shown = ask(args, f"bring back to its snapshot {args.name} (what was written since is lost)")
    body = {"uri": args.source, "name": args.name, "wait_s": _wait(args)}
    return _made(args, "/v1/objects/restore", body | _known(args, shown))


def create(args: "Words") -> int:
    """Prints the object's address."""
    body = {"uri": args.destination, "kind": args.kind, "wait_s": _wait(args)}
    return _made(args, "/v1/objects", body | _own(args))


def move(args: "Words") -> int:
    """Prints the object's address."""
    body = {"source": args.source, "destination": args.destination, "wait_s": _wait(args)}
    return _made(args, "/v1/objects/move", body | _known(args))


def set_size(args: "Words") -> int:
    """Prints the size in bytes."""
    shown = ask(args, f"give {args.size} bytes (what is beyond is lost) to") if args.shrink else ""
    body = {"uri": args.source, "size": args.size, "shrink": args.shrink} | _known(args, shown)
    answer = client.call(args.socket, "POST", "/v1/objects/resize", body, timeout_s=client.LONGEST_S)
    print(show.as_json(answer) if args.json else answer.get("size"))
    for name in answer.get("attachments") or ():
        show.say(show.visible(f"{name} shows the new size after: cdmi-attach resize {name}"))
    return 0


def fence(args: "Words") -> int:
    """Prints nothing on stdout."""
    shown = ask(args, f"fence {', '.join(args.host)} off")
    body = {"uri": args.source, "host": args.host} | ({"object_id": shown} if shown else {})
    body |= {"must_exist": True} if args.must_exist else {}
    answer = client.call(args.socket, "POST", "/v1/objects/fence", body, timeout_s=client.LONGEST_S)
    if args.json:
        print(show.as_json(answer))
    for export in answer.get("exports") or ():
        gone, left = (", ".join(export.get(name) or ()) or "nobody" for name in ("withdrawn", "permissions"))
        show.say(show.visible(f"{export.get('key')}: withdrawn {gone}; left: {left}"))
    if not any(export.get("withdrawn") for export in answer.get("exports") or ()):
        show.say(show.visible(f"{', '.join(args.host)}: no export lets it in, nothing was done"))
    return 0


def capacity(args: "Words") -> int:
    """Prints used, free and total, a line each, in bytes; `-` for what nothing tells."""
    route = f"/v1/capacity?uri={quote(args.source, safe='')}"
    answer = client.call(args.socket, "GET", route, None, timeout_s=client.LONGEST_S)
    if args.json:
        print(show.as_json(answer))
        return 0
    for name in ("used", "free", "total"):
        value = answer.get(name)
        print(f"{name:{LABEL}}{'-' if value is None else value}")
    show.say(show.visible(f"by {answer.get('by')}"))
    return 0


def _wait(args: "Words") -> float:
    return LONGEST_S if args.timeout is None else args.timeout


def _made(args: "Words", route: str, body: "dict[str, Any]") -> int:
    view = client.call(args.socket, "POST", route, body, timeout_s=body["wait_s"] + client.GRACE_S)
    print(show.as_json(view) if args.json else show.visible(view.get("uri") or ""), end="\n" if view.get("uri") else "")
    if view.get("note"):
        show.say(show.visible(str(view["note"])))
    if view.get("state") != "done":
        percent = "" if view.get("percent") is None else f", {view['percent']} % done"
        hint = "repeat the command to wait on: it joins what is under way"
        raise client.Failure(
            client.TIMEOUT, f"{view.get('kind')} to {view.get('destination')} is under way{percent}", hint
        )
    return 0


def _own(args: "Words") -> "dict[str, Any]":
    """Size and metadata of what is made, where they are said."""
    items = dict(_item(text) for text in args.metadata or ())
    return ({} if args.size is None else {"size": args.size}) | ({"metadata": items} if items else {})


def _item(text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not (name and equals):
        raise client.Failure(client.USAGE, f"{text} is not KEY=VALUE", "")
    return name, value


def _known(args: "Words", shown: str = "") -> "dict[str, Any]":
    """What the caller says to know: that others may use it, and which object it is."""
    even_if = {EVEN_IF: True} if args.even_if_permitted_to_others else {}
    return even_if | ({"object_id": shown} if shown else {})


def _route(source: str) -> str:
    return f"/v1/objects?uri={quote(source, safe='')}"


VERBS = {
    "stat": stat,
    "set-metadata": set_metadata,
    "delete": delete,
    "clone": clone,
    "snapshot": snapshot,
    "restore": restore,
    "create": create,
    "move": move,
    "set-size": set_size,
    "fence": fence,
    "capacity": capacity,
}
