"""`opennebula/install` and `opennebula/patch-stock`: they show what they are about to do, and can undo it.

They ask where they touch what is not ours.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from cdmi_one.failure import Failure
from cdmi_one.setup import changes, front_end, node, stock
from cdmi_one.setup.changes import Change, Command, File
from cdmi_one.setup.places import Places, places_of

SOURCE = Path(__file__).resolve().parents[3]


@dataclass(frozen=True)
class Plan:
    """What is to be changed, and what is left to do for whoever runs this."""

    changes: list[Change]
    steps: list[str]


def main(argv: Sequence[str]) -> int:
    """Returns the exit status: 0 done, or nothing to do; 1 failed; 2 usage; 3 nothing was changed for want of a yes."""
    stocks = argv[:1] == ["--stock"]
    parser = _parser(stocks=stocks)
    words = parser.parse_args(argv[1:] if stocks else argv)
    if not (stocks or words.front_end or words.host):
        parser.error("say what this machine is: --front-end, --host, or both")
    try:
        places = places_of(SOURCE, Path(words.root), words.one_location, words.owner)
        return _go(_stocks(places, words) if stocks else _plan(places, words), words)
    except Failure as failure:
        print(f"{parser.prog}: {failure}", file=sys.stderr)
        return 1


def _parser(*, stocks: bool) -> argparse.ArgumentParser:
    about = "The cdmi drivers of OpenNebula: install them, again to upgrade."
    if stocks:
        about = "Stock datastores with images that are objects of CDMI servers. Again after an upgrade of OpenNebula."
    parser = argparse.ArgumentParser(prog="patch-stock" if stocks else "install", description=about)
    if stocks:
        every = ",".join(stock.DRIVERS)
        parser.add_argument(
            "--tm", default="", metavar="NAMES", help=f"of these transfer drivers (those there are of {every})"
        )
    else:
        parser.add_argument("--front-end", action="store_true", help="this machine runs oned")
        parser.add_argument("--host", action="store_true", help="this machine runs VMs")
    parser.add_argument("--uninstall", action="store_true", help="take it all out again; files are as they were before")
    parser.add_argument("--dry-run", action="store_true", help="show what would be done, and change nothing")
    parser.add_argument("--yes", action="store_true", help="do not ask before OpenNebula's own files are changed")
    parser.add_argument("--owner", default="oneadmin", metavar="USER", help="who runs OpenNebula (oneadmin)")
    parser.add_argument(
        "--one-location",
        default=os.environ.get("ONE_LOCATION", ""),
        metavar="DIR",
        help="where a self-contained OpenNebula is (ONE_LOCATION)",
    )
    parser.add_argument("--root", default="/", metavar="DIR", help="work on the tree below DIR")
    return parser


def _stocks(places: Places, words: argparse.Namespace) -> Plan:
    if words.uninstall:
        return Plan(stock.removed(places), [])
    there = [name for name in stock.DRIVERS if (places.remotes / "tm" / name).is_dir()]
    return Plan(stock.installed(places, words.tm.split(",") if words.tm else there), [])


def _plan(places: Places, words: argparse.Namespace) -> Plan:
    plan = Plan([], [])
    if words.front_end:
        undo = words.uninstall
        plan.changes.extend(front_end.removed(places) if undo else front_end.installed(places))
        plan.steps.extend(front_end.steps_after_removal(places) if undo else front_end.next_steps(places))
    if words.host:
        plan.changes.extend(node.removed(places) if words.uninstall else node.installed(places))
        plan.steps.extend([] if words.uninstall else node.next_steps(places))
    return plan


def _go(plan: Plan, words: argparse.Namespace) -> int:
    wanted = changes.needed(plan.changes)
    for line in changes.lines_of(wanted):
        print(line)
    if not wanted:
        print("nothing to do: it is so already")
    elif words.dry_run:
        print("nothing was changed (--dry-run)")
        return 0
    elif not _agreed(wanted, words):
        print("nothing was changed; --yes goes on without asking", file=sys.stderr)
        return 3
    changes.make(wanted)
    for step in plan.steps:
        print(f"next: {step}")
    return 0


def _agreed(wanted: Sequence[Change], words: argparse.Namespace) -> bool:
    """What is ours alone needs no yes; what others own does."""
    others = [change for change in wanted if isinstance(change, Command) or (isinstance(change, File) and change.shown)]
    if words.yes or not others:
        return True
    if not sys.stdin.isatty():
        return False
    print("Go on? [y/N] ", end="", flush=True)
    return sys.stdin.readline().strip().lower() in ("y", "yes")
