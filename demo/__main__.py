"""CDMI objects become the disks that guests boot from, by every way there is, on a real kernel, and leave no trace.

At last a VM of OpenNebula's lives and ends by its drivers.
"""

import asyncio
import secrets
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.lab import fleet
from tests.lab.boot_sector import boot_sector
from tests.lab.cache import open_cache
from tests.lab.errors import LabError
from tests.lab.guest import Guest
from tests.lab.one_life import Life
from tests.lab.one_scene import on_one
from tests.lab.stage import Stage
from tests.lab.whole_scene import WAYS, Way, Whole

LOGS = Path("build/demo")
START = time.monotonic()


def main() -> int:
    """Tell the whole story. Returns the exit status; on failure the logs of the guest are saved first."""
    cache = open_cache()
    guest: Guest | None = None
    try:
        with chapter("a lab guest with a Debian kernel, the daemon and its helper under systemd"):
            guest = fleet.up(cache, "demo", "bookworm")
        whole = Whole(Stage(guest))
        show(whole)
        opennebula(whole)
    except (LabError, AssertionError) as error:
        print(f"\nThe demo failed: {error}", file=sys.stderr)
        if guest:
            save_logs(guest)
        return 1
    finally:
        fleet.down(cache, "demo")
    say(f"Done: from nothing to five booted guests and back to nothing, in {time.monotonic() - START:.0f} s.")
    return 0


def show(whole: Whole) -> None:
    """The story itself, once the guest is there."""
    stage = whole.stage
    nonce = f"cdmi-attach-{secrets.token_hex(8)}"
    say(f"The nonce of this run is {nonce}.")
    with chapter("a CDMI server with real targets of iSCSI and Fibre Channel, an NFS server, multipathd, the daemon"):
        whole.set()
    with chapter("put: an object for each way, with a boot sector that prints the nonce, through CDMI"):
        nonces = {way: f"{nonce}-{way.name}" for way in WAYS}
        sources = {way: whole.make(way, way.name, boot_sector(nonces[way])) for way in WAYS}
    before = whole.shares.inventory() + stage.told()
    for way in WAYS:
        say(f"== {way.title}")
        by_way(stage, way, sources[way], nonces[way])
    with chapter("inventory, by iscsiadm, lsblk, multipathd, findmnt, targetcli and virsh"):
        after = whole.shares.inventory() + stage.told()
    say(indented(after))
    assert after == before, f"something was left:\n{before}\n---\n{after}"
    say("Nothing is left: the inventory equals the one taken before.")
    assert not stage.api("GET", "/v1/attachments")[1]["attachments"]


def opennebula(whole: Whole) -> None:
    """A short life of a VM of OpenNebula's, by its drivers."""
    with chapter("OpenNebula: opennebula/install --front-end --host; what oned asks for, the tests' runner asks for"):
        site = on_one(whole, lambda text: say(f"    {text}"))
    with chapter(
        "a VM with a persistent disk by iSCSI and a copy by Fibre Channel; the drivers run as oneadmin, no sudo"
    ):
        asyncio.run(a_life(Life(site, ("iscsi", "fc"), lambda text: say(f"    {text}"), writes=False)))
    say("Nothing is left on the host; the persistent object is as it was, and the copy is gone.")


async def a_life(life: Life) -> None:
    """Deploy, a disk that comes and goes, terminate."""
    (host,) = life.site.hosts
    await life.deployed(host)
    say(indented(life.site.hosts[host].guest.run(f"cdmi-attach status --vm {life.vm.id}").stdout))
    await life.unplugged(await life.plugged("nfs"))
    await life.ended()


def by_way(stage: Stage, way: Way, source: str, nonce: str) -> None:
    """One object, from its exports to a guest that boots from it, and back."""
    say(indented(stage.guest.run(["cdmi-attach", "resolve", source]).stdout))
    if way is WAYS[0]:
        with chapter("a libvirt domain without any disk, started paused"):
            stage.start_domain(way.name)
        hand_over = ["--domain", way.name, "--target", "sda"]
    else:
        hand_over = []
    with chapter(f"attach: resolve, grant, find the disk, prove it{', hand it over' if hand_over else ''}"):
        link = stage.attach(way.name, source, *way.words, *hand_over)
    view = stage.status(way.name)
    assert view["phase"] == "attached" and view["verified"] and view["protocol"] == way.protocol, view
    tell(link, view)
    with chapter("boot line: the domain boots from it"):
        if hand_over:
            stage.guest.run(f"virsh -q resume {way.name}")
        else:
            stage.start_domain(way.name, disk=view["disk_xml"], paused=False)
        line = stage.boot_line(way.name, nonce)
    say(f"    the guest's serial port says: {line}")
    assert nonce in line, line
    detach(stage, way)
    if way.protocol != "nfs":  # whom NFS lets in is its server's to say
        permissions = stage.permissions(way.name)
        assert permissions == [], f"the server still permits {permissions}"


def tell(link: str, view: Any) -> None:
    """What was done, and what came of it."""
    for step in view["steps"]:
        say(f"    {step['took_ms']:6d} ms  {step['what']}")
    device = view["device"]
    say(f"    {link} -> {device['path']} ({device['node'] or device['kind']}), {device['wwid']}, proved")
    for path in device["paths"]:
        say(f"      by {path['via']}: {path['state']}")


def detach(stage: Stage, way: Way) -> None:
    """From the domain (or once it has ended), then from the host; the daemon's journal tells the steps."""
    if way is not WAYS[0]:
        stage.guest.run(f"virsh -q destroy {way.name}")
    with chapter("detach: from the domain, map, disks, sessions and records; revoke"):
        since = stage.guest.run("date +%s.%N").stdout.strip()
        stage.detach(way.name)
    journal = f"journalctl -u cdmi-attachd -o short-precise --no-hostname -q --since @{since}"
    say(indented(stage.guest.run(journal).stdout))
    if way is WAYS[0]:
        stage.guest.run(f"virsh -q destroy {way.name}")


@contextmanager
def chapter(title: str) -> Iterator[None]:
    """Say what begins, and how long it took."""
    say(f"* {title}")
    began = time.monotonic()
    yield
    say(f"    {time.monotonic() - began:.1f} s")


def say(text: str) -> None:
    """A line for whoever watches, with the time since the start."""
    print(f"[{time.monotonic() - START:6.1f}] {text}", flush=True)


def indented(text: str) -> str:
    """Somebody else's words."""
    return "\n".join(f"    | {line}" for line in text.rstrip().splitlines()).removeprefix("    ")


def save_logs(guest: Guest) -> None:
    """Keep the guest's journal and kernel log where the reader can find them."""
    LOGS.mkdir(parents=True, exist_ok=True)
    for name, command in (("journal", "journalctl -b --no-pager"), ("dmesg", "dmesg")):
        (LOGS / name).write_text(guest.run(command, check=False).stdout)
    print(f"The guest's journal and kernel log are in {LOGS}/", file=sys.stderr)


if __name__ == "__main__":
    sys.exit(main())
