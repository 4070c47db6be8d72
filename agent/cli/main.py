"""`cdmi-attach`: what scripts and administrators type. stdout carries the answer alone, words go to stderr."""

import argparse
import os
import signal
import sys
from collections.abc import Sequence
from typing import Any

SOCKET = "/run/cdmi-attach/control.sock"
LONGEST_S = 3600.0
"""The longest deadline that the daemon takes; without --timeout the daemon's own configuration decides."""
GRACE_S = 30.0
"""What the daemon may take to answer after a deadline."""
SETTLED = ("attached", "degraded")


def main(argv: Sequence[str] | None = None) -> int:
    """Run one verb. Returns the exit status (2 by `SystemExit`, as argparse does)."""
    args = parser().parse_args(argv)
    from agent.cli.client import Failure

    try:
        status = int(args.run(args))
        sys.stdout.flush()
        return status
    except Failure as failure:
        return _failed(args, failure)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # so that the flush at exit does not fail again
        return 1
    except KeyboardInterrupt:
        return 128 + signal.SIGINT


def parser() -> argparse.ArgumentParser:
    """The command line; also what the manual page and its test are held against."""
    top = argparse.ArgumentParser(prog="cdmi-attach", description="Attach objects of CDMI servers to this host.")
    _common(top, socket=SOCKET, json=False)
    verbs = top.add_subparsers(metavar="VERB", required=True)

    attach = _verb(verbs, "attach", "make an attachment; prints its link", _attach)
    attach.add_argument(
        "source", metavar="SOURCE", help="cdmi://HOST/cdmi_objectid/ID, or a URL of a configured server"
    )
    attach.add_argument("--name", required=True, metavar="NAME", help="what the attachment is called")
    attach.add_argument("--ro", action="store_true", help="read-only")
    attach.add_argument("--protocol", action="append", metavar="P", help="in order of preference; may be repeated")
    attach.add_argument("--file", action="store_true", help="hand out the file itself, not a block device (NFS)")
    attach.add_argument("--domain", metavar="D", help="hand it to this running libvirt domain; needs --target")
    attach.add_argument("--target", metavar="DEV", help="the disk's place in the domain, such as sda")
    attach.add_argument("--timeout", type=float, metavar="S", help="give up after so many seconds")

    detach = _verb(verbs, "detach", "undo an attachment", _detach)
    detach.add_argument("name", metavar="NAME")
    detach.add_argument("--force", action="store_true", help="leave behind what cannot be taken away")

    status = _verb(verbs, "status", "show the attachments, or one", _status)
    status.add_argument("name", metavar="NAME", nargs="?")
    status.add_argument("--watch", action="store_true", help="show them again whenever they change")

    resolve = _verb(verbs, "resolve", "explain what a source is; changes nothing", _resolve)
    resolve.add_argument("source", metavar="SOURCE")

    _verb(verbs, "host", "what this host is and can do", _host)
    return top


def _common(parser: argparse.ArgumentParser, *, socket: Any, json: Any) -> None:
    parser.add_argument("--socket", metavar="PATH", default=socket, help=f"the daemon's socket ({SOCKET})")
    parser.add_argument("--json", action="store_true", default=json, help="print the daemon's answer as it is")


def _verb(verbs: Any, name: str, about: str, run: Any) -> argparse.ArgumentParser:
    verb: argparse.ArgumentParser = verbs.add_parser(name, help=about, description=about[0].upper() + about[1:] + ".")
    _common(verb, socket=argparse.SUPPRESS, json=argparse.SUPPRESS)
    verb.set_defaults(run=run, usage=verb)
    return verb


def _attach(args: argparse.Namespace) -> int:
    from agent.cli import client, show

    if (args.domain is None) != (args.target is None):
        args.usage.error("--domain and --target go together")
    body: dict[str, Any] = {"source": args.source, "access": "ro" if args.ro else "rw"}
    body |= {"protocols": args.protocol} if args.protocol else {}
    body |= {"present": "file"} if args.file else {}
    body |= {"domain": {"name": args.domain, "target": args.target}} if args.domain else {}
    body |= {"timeout_s": args.timeout} if args.timeout is not None else {}
    longest_s = (LONGEST_S if args.timeout is None else args.timeout) + GRACE_S
    view = client.call(args.socket, "PUT", client.attachment(args.name), body, timeout_s=longest_s)
    if view.get("phase") not in SETTLED or not view.get("link"):
        raise client.Failure(1, f"{args.name} is {view.get('phase')}, not attached", f"cdmi-attach status {args.name}")
    _say(show.sentence(view))
    print(show.as_json(view) if args.json else show.visible(view["link"]))
    return 0


def _detach(args: argparse.Namespace) -> int:
    from agent.cli import client

    path = client.attachment(args.name) + ("?force=1" if args.force else "")
    client.call(args.socket, "DELETE", path, timeout_s=LONGEST_S + GRACE_S)
    _say(f"{args.name} is detached")
    return 0


def _status(args: argparse.Namespace) -> int:
    path = "/v1/attachments"
    if args.name is not None:
        from agent.cli.client import attachment

        path = attachment(args.name)
    if args.watch:
        return _watch(args, path)
    print(_status_text(args, path))
    return 0


def _status_text(args: argparse.Namespace, path: str) -> str:
    from agent.cli import client, show

    answer = client.call(args.socket, "GET", path, timeout_s=GRACE_S)
    if args.json:
        return show.as_json(answer)
    return show.tree(answer) if args.name is not None else show.table(answer["attachments"])


def _watch(args: argparse.Namespace, path: str) -> int:
    """Show the state whenever it is another one, until SIGINT or SIGTERM, which are awaited, not handled."""
    ends = {signal.SIGINT, signal.SIGTERM}
    signal.pthread_sigmask(signal.SIG_BLOCK, ends)
    shown = None
    while True:
        text = _status_text(args, path)
        if text != shown:
            print("\033[H\033[2J" + text if sys.stdout.isatty() and not args.json else text, flush=True)
            shown = text
        if signal.sigtimedwait(ends, 1.0) is not None:
            return 0


def _resolve(args: argparse.Namespace) -> int:
    from agent.cli import client, show

    answer = client.call(args.socket, "POST", "/v1/resolve", {"source": args.source}, timeout_s=LONGEST_S)
    print(show.as_json(answer) if args.json else show.tree(answer))
    return 0


def _host(args: argparse.Namespace) -> int:
    from agent.cli import client, show

    answer = client.call(args.socket, "GET", "/v1/host", timeout_s=GRACE_S)
    print(show.as_json(answer) if args.json else show.tree(answer))
    return 0


def _failed(args: argparse.Namespace, failure: Any) -> int:
    from agent.cli import show

    if args.json and failure.problem is not None:
        print(show.as_json(failure.problem), flush=True)
    _say(show.visible("; ".join(part for part in (failure.detail, failure.hint) if part)))
    return int(failure.status)


def _say(text: str) -> None:
    print(f"cdmi-attach: {text}", file=sys.stderr)


if __name__ == "__main__":
    sys.exit(main())
