"""`status`: the table, or one attachment; again whenever it changes (--watch); or as a picture (--svg)."""

import sys

from agent.cli import client, show

TYPE_CHECKING = False
if TYPE_CHECKING:
    from agent.cli.verbs import Words


def run(args: "Words") -> int:
    """Print once, or until interrupted."""
    if args.svg is not None:
        if args.name is None or args.watch:
            raise client.Failure(client.USAGE, "--svg goes with a NAME and without --watch", "")
        return _picture(args)
    if args.vm is not None and args.name is not None:
        raise client.Failure(client.USAGE, "--vm goes without a NAME", "")
    if args.watch:
        from agent.cli import watch

        return watch.run(args.socket, lambda: text(args), wipe=sys.stdout.isatty() and not args.json)
    print(text(args))
    return 0


def text(args: "Words") -> str:
    """What `status` prints now."""
    route = client.attachment(args.name) if args.name is not None else "/v1/attachments"
    if args.vm is not None:
        route += client.query(prefix=f"one-{args.vm}-")
    answer = client.call(args.socket, "GET", route, timeout_s=client.GRACE_S)
    if args.json:
        return show.as_json(answer)
    colours = show.coloured(sys.stdout)
    if args.name is None:
        return show.table(answer["attachments"], colours=colours)
    from agent.cli import detail

    return detail.text(answer, colours=colours)


def _picture(args: "Words") -> int:
    from agent.cli import waterfall

    view = client.call(args.socket, "GET", client.attachment(args.name), timeout_s=client.GRACE_S)
    picture = waterfall.svg(view)
    if args.svg == "-":
        print(picture, end="")
        return 0
    try:
        with open(args.svg, "w", encoding="utf-8") as file:  # noqa: PTH123  # pathlib costs more than the request
            file.write(picture)
    except OSError as error:
        detail = f"{args.svg} cannot be written ({error.strerror})"
        raise client.Failure(client.FAILED, detail, "name another file") from None
    return 0
