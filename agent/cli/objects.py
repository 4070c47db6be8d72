"""`stat` and `delete`: one object on a server."""

from urllib.parse import quote

from agent.cli import client, show

TYPE_CHECKING = False
if TYPE_CHECKING:
    from agent.cli.verbs import Words

LABEL = 10


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
    facts["attached"] = ", ".join(answer.get("attachments") or ()) or None
    for name, value in facts.items():
        if value is not None:
            print(f"{name:{LABEL}}{show.visible(value)}")
    for name, value in (answer.get("metadata") or {}).items():
        print(f"{'metadata':{LABEL}}{show.visible(f'{name}={value}')}")
    return 0


def delete(args: "Words") -> int:
    """Prints nothing on stdout."""
    client.call(args.socket, "DELETE", _route(args.source), None, timeout_s=client.LONGEST_S)
    show.say(show.visible(f"{args.source} is deleted"))
    return 0


def _route(source: str) -> str:
    return f"/v1/objects?uri={quote(source, safe='')}"
