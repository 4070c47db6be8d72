"""`leftovers`: what nobody asks for any more, and taking it away."""

from agent.cli import client, show

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from agent.cli.verbs import Words


def run(args: "Words") -> int:
    """Prints one a line: its ID, whether it may go, what it is, why it stays. With --clean: what went."""
    if args.item is not None and not args.clean:
        raise client.Failure(client.USAGE, "ITEM goes with --clean", "")
    return _clean(args) if args.clean else _list(args)


def _list(args: "Words") -> int:
    answer = client.call(args.socket, "GET", "/v1/leftovers", None, timeout_s=client.LONGEST_S)
    if args.json:
        print(show.as_json(answer))
        return 0
    for item in answer.get("leftovers") or ():
        print(_line(item))
    if more := answer.get("more"):
        show.say(f"and {more} more")
    if any(item.get("cleanable") for item in answer.get("leftovers") or ()):
        show.say("take away what may go: cdmi-attach leftovers --clean [ITEM]")
    return 0


def _clean(args: "Words") -> int:
    """Exit status 1 where something that may go has stayed."""
    body = {"item": args.item} if args.item is not None else {}
    answer = client.call(args.socket, "POST", "/v1/leftovers/clean", body, timeout_s=client.LONGEST_S)
    if args.json:
        print(show.as_json(answer))
    else:
        for item in answer.get("cleaned") or ():
            print(_line(item))
    failed = [item for item in answer.get("left") or () if item.get("problem")]
    for item in answer.get("left") or ():
        why = (item.get("problem") or {}).get("detail") or item.get("why")
        show.say(show.visible(f"{item.get('what')} stays: {why}"))
    return client.FAILED if failed else 0


def _line(item: "dict[str, Any]") -> str:
    state = "may go" if item.get("cleanable") else f"stays: {item.get('why')}"
    return show.visible(f"{item.get('id')}  {item.get('kind')}  {item.get('what')}  ({state})")
