"""`make life KIND=...`: the whole life of a VM of OpenNebula's, by the drivers as they are installed, line by line.

With iscsi and nfs on two machines, live migration among it; fc, and all (a disk of each kind), on one.
"""

import argparse
import asyncio
import sys
import time

from tests.lab import fleet
from tests.lab.cache import open_cache
from tests.lab.errors import LabError
from tests.lab.guest import Guest
from tests.lab.one_life import Life
from tests.lab.one_scene import Machines, one_machine, two_machines
from tests.opennebula.life import ok

RELEASE = "bookworm"
KINDS = {"iscsi": ("iscsi",), "nfs": ("nfs",), "fc": ("fc",), "all": ("iscsi", "fc", "nfs")}
TWO = ("iscsi", "nfs")
NAMES = ("host1", "host2")
START = time.monotonic()


def main() -> int:
    """Returns the exit status."""
    parser = argparse.ArgumentParser(prog="make life", description=__doc__)
    parser.add_argument("--kind", choices=KINDS, default="all", help="how its disks are reached (all)")
    kind = parser.parse_args().kind
    cache, names = open_cache(), NAMES if kind in TWO else NAMES[:1]
    try:
        say("machines with a Debian kernel, libvirt, and the daemon; a CDMI server; the drivers, by opennebula/install")
        guests = [fleet.up(cache, name, RELEASE) for name in names]
        asyncio.run(show(set_up(guests), kind))
    except (LabError, TimeoutError) as error:
        print(f"\nIt failed: {error}", file=sys.stderr)
        return 1
    finally:
        for name in names:
            fleet.down(cache, name)
    say(f"Done: hosts and server are as they were; {time.monotonic() - START:.0f} s.")
    return 0


def set_up(guests: list[Guest]) -> Machines:
    """The site, on one machine or two."""
    return two_machines(guests[0], guests[1], say) if len(guests) > 1 else one_machine(guests[0], say)


async def show(site: Machines, kind: str) -> None:
    """The whole life; with blocks also what is not there for a file: snapshots, and a copy of a disk in use."""
    first, other = (*site.hosts, *site.hosts)[:2]
    life, blocks = Life(site, KINDS[kind], say), kind != "nfs"
    await life.deployed(first)
    tell(site, life)
    more = await life.plugged(KINDS[kind][-1])
    await life.cannot_be_taken(more)
    await life.backed_up(more)
    await life.unplugged(more)
    if blocks:
        ok(await life.snapshot(life.vm.disks[0], "SNAP_CREATE_LIVE"))
        await life.saved_as(life.vm.disks[1], 9)
        await life.reverted(life.vm.disks[1])
    if other != first:
        await life.migrated_live(other)
        await life.migrated_live(first)
    await life.off_and_on()
    await life.suspended()
    await life.resized(life.vm.disks[1], 48)
    await life.stopped(other)
    await life.rested(first)
    await life.rested(other)
    if other != first:
        await life.migrated_cold(first)
    tell(site, life)
    await life.ended()


def tell(site: Machines, life: Life) -> None:
    """What its host has of it."""
    run = site.hosts[life.vm.host].guest.run
    for command in (
        f"cdmi-attach status --vm {life.vm.id}",
        f"ls -l $(dirname {site.path(life.vm, life.vm.disks[0])})",
    ):
        say(f"{life.vm.host}$ {command}")
        for line in run(command).stdout.splitlines():
            say(f"    {line}")


def say(text: str) -> None:
    """A line for whoever watches, with the time since the start."""
    print(f"[{time.monotonic() - START:6.1f}] {text}", flush=True)


if __name__ == "__main__":
    sys.exit(main())
