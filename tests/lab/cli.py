"""The command `lab`: build, up, exec, push, pull, down, status."""

from __future__ import annotations

import argparse
import os
import shlex
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from tests.lab import fleet
from tests.lab.cache import open_cache
from tests.lab.errors import LabError
from tests.lab.machine import running_pid

RELEASES = ("bookworm",)
Options = argparse.Namespace


def main(argv: Sequence[str] | None = None) -> int:
    options = parser().parse_args(guarded(list(sys.argv[1:] if argv is None else argv)))
    run: Callable[[Options], int] = options.run
    try:
        return run(options)
    except LabError as error:
        print(f"lab: {error}", file=sys.stderr)
        return 125
    except KeyboardInterrupt:
        return 130


def parser() -> argparse.ArgumentParser:
    common, first = common_options(), common_options("lab", RELEASES[0])
    top = argparse.ArgumentParser(prog="lab", parents=[first], description="A real kernel for the host tests, in QEMU.")
    commands = top.add_subparsers(required=True, metavar="COMMAND")

    def command(name: str, run: Callable[[Options], int], help: str) -> argparse.ArgumentParser:
        made = commands.add_parser(name, parents=[common], help=help, description=help)
        made.set_defaults(run=run)
        return made

    base = "leave the project out"
    command("build", build, "make image and snapshots, as far as they are missing").add_argument(
        "--base", action="store_true", help=base
    )
    command("up", up, "restore a fresh guest").add_argument("--base", action="store_true", help=base)
    command("exec", execute, "run a command in the guest").add_argument("command", nargs="+", metavar="CMD")
    for name, run, help in (("push", push, "copy into the guest"), ("pull", pull, "copy out of the guest")):
        copy = command(name, run, help)
        copy.add_argument("source", metavar="SRC")
        copy.add_argument("target", metavar="DST")
    command("down", down, "end the guest and forget it")
    command("status", status, "show the guests")
    return top


def common_options(name: str = argparse.SUPPRESS, release: str = argparse.SUPPRESS) -> argparse.ArgumentParser:
    """The options that may stand before or after the command; only those before it have a default."""
    common = argparse.ArgumentParser(add_help=False)
    common.add_argument("--name", default=name, help="which guest (default: lab)")
    common.add_argument("--release", choices=RELEASES, default=release, help="Debian release of the guest")
    return common


def guarded(argv: list[str]) -> list[str]:
    """Put `--` before the command of `exec`, so that its own options are not taken for ours."""
    if "exec" not in argv:
        return argv
    at = argv.index("exec") + 1
    while at < len(argv) and argv[at] in ("--name", "--release"):
        at += 2
    while at < len(argv) and argv[at].startswith(("--name=", "--release=")):
        at += 1
    if at < len(argv) and argv[at] not in ("--", "-h", "--help"):
        argv.insert(at, "--")
    return argv


def build(options: Options) -> int:
    start = time.monotonic()
    snapshot = fleet.build(open_cache(), options.release, base=options.base)
    kind = "with the project" if snapshot.project else "plain"
    print(f"snapshot {snapshot.key} ({kind}) is there, {time.monotonic() - start:.1f} s")
    return 0


def up(options: Options) -> int:
    start = time.monotonic()
    guest = fleet.up(open_cache(), options.name, options.release, base=options.base)
    print(f"guest {guest.name} is up, {time.monotonic() - start:.1f} s")
    return 0


def execute(options: Options) -> int:
    """Become ssh: the command's streams and status are the caller's. One word is a shell line, more are an argv."""
    guest = fleet.find(open_cache(), options.name)
    words: list[str] = options.command
    argv = guest.argv(words[0] if len(words) == 1 else shlex.join(words))
    sys.stdout.flush()
    os.chdir(guest.place.folder)
    os.execv(argv[0], argv)


def push(options: Options) -> int:
    fleet.find(open_cache(), options.name).push(Path(options.source), options.target)
    return 0


def pull(options: Options) -> int:
    fleet.find(open_cache(), options.name).pull(options.source, Path(options.target))
    return 0


def down(options: Options) -> int:
    if not fleet.down(open_cache(), options.name):
        print(f"there is no guest {options.name}")
    return 0


def status(options: Options) -> int:
    cache = open_cache()
    known = fleet.records(cache)
    print(f"cache {cache.root}: {len(known)} guests")
    for record in known:
        place = fleet.place_of(cache, record.name)
        pid = running_pid(place)
        state = f"pid {pid}, up {time.time() - record.started:.0f} s" if pid else "dead"
        kind = "project" if record.project else "plain"
        lan = fleet.LAN.format(record.slot)
        print(f"{record.name}: {state}, ssh port {record.port}, lan {lan}, {record.accelerator}")
        print(f"  image {record.image}, snapshot {record.snapshot} ({kind}), console {place.serial_log}")
    return 0
