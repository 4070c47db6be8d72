"""`cdmi-attach`: what scripts and administrators type. stdout carries the answer alone, words go to stderr."""

import sys

from agent.cli.verbs import COMMON, VERBS, Words, quick

TYPE_CHECKING = False
if TYPE_CHECKING:
    import argparse
    from collections.abc import Sequence

    from agent.cli.client import Failure

USAGE, INTERRUPTED = 2, 130


def main(argv: "Sequence[str] | None" = None) -> int:
    """Run one verb. Returns the exit status (2 by `SystemExit`, as argparse does)."""
    line = sys.argv[1:] if argv is None else argv
    args = quick(line) or parser().parse_args(line, namespace=Words())
    from agent.cli.client import Failure

    try:
        status = _run(args)
        sys.stdout.flush()
        return status
    except Failure as failure:
        return _failed(args, failure)
    except BrokenPipeError:
        import os

        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # so that the flush at exit does not fail again
        return 1
    except KeyboardInterrupt:
        return INTERRUPTED


def parser() -> "argparse.ArgumentParser":
    """The command line for argparse: help, mistakes, and what the manual page and its test are held against."""
    import argparse

    top = argparse.ArgumentParser(prog="cdmi-attach", description="Attach objects of CDMI servers to this host.")
    for word in COMMON:
        top.add_argument(word.name, **word.keywords)
    verbs = top.add_subparsers(metavar="VERB", required=True)
    for name, verb in VERBS.items():
        about = verb.about
        one = verbs.add_parser(name, help=about, description=about[0].upper() + about[1:] + ".")
        for word in verb.words:
            one.add_argument(word.name, **word.keywords)
        for word in COMMON:  # after the verb as well, where they do not undo what stands before it
            one.add_argument(word.name, **{**word.keywords, "default": argparse.SUPPRESS})
        one.set_defaults(verb=name)
    return top


def _run(args: Words) -> int:
    """Each verb is a module, or a part of one, that is loaded when it is asked for."""
    match args.verb:
        case "attach" | "confirm" | "detach" | "resize":
            from agent.cli import attach

            verbs = {"attach": attach.attach, "confirm": attach.confirm, "detach": attach.detach}
            return verbs.get(args.verb, attach.resize)(args)
        case "leftovers":
            from agent.cli import leftovers

            return leftovers.run(args)
        case "cat":
            from agent.cli import content

            return content.cat(args)
        case "put":
            from agent.cli import upload

            return upload.put(args)
        case "status":
            from agent.cli import status

            return status.run(args)
        case "events":
            from agent.cli import events

            return events.run(args)
        case "doctor":
            from agent.cli import doctor

            return doctor.run(args)
        case "completion":
            from agent.cli import completion

            print(completion.bash())
            return 0
        case "host" | "resolve":
            return _ask(args)
        case _:
            from agent.cli import objects

            return objects.VERBS[args.verb](args)


def _ask(args: Words) -> int:
    """One question, and the answer as an explanation or a tree."""
    from agent.cli import client, show

    body = {"source": args.source} if args.verb == "resolve" else None
    method, route = ("GET", "/v1/host") if body is None else ("POST", "/v1/resolve")
    answer = client.call(args.socket, method, route, body, timeout_s=client.LONGEST_S)
    if args.json:
        print(show.as_json(answer))
    elif body is None:
        print(show.tree(answer))
    else:
        from agent.cli import explain

        print(explain.text(answer, colours=show.coloured(sys.stdout)))
    return 0


def _failed(args: Words, failure: "Failure") -> int:
    from agent.cli import show

    if failure.status == USAGE:  # what argparse cannot know
        parser().error(f"{args.verb}: {failure.detail}")
    if args.json and failure.problem is not None:
        print(show.as_json(failure.problem), flush=True)
    show.say(show.visible("; ".join(part for part in (failure.detail, failure.hint) if part)))
    return failure.status


if __name__ == "__main__":
    sys.exit(main())
