"""First light: a CDMI object becomes the disk that a guest boots from, on a real kernel, and leaves without a trace."""

import secrets
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.lab import fleet
from tests.lab.boot_sector import boot_sector
from tests.lab.cache import open_cache
from tests.lab.errors import LabError
from tests.lab.guest import Guest
from tests.lab.stage import Lun, Stage

LOGS = Path("build/demo")
NAME, DOMAIN = "demo-disk", "demo"
START = time.monotonic()


def main() -> int:
    """Tell the whole story. Returns the exit status; on failure the logs of the guest are saved first."""
    cache = open_cache()
    guest: Guest | None = None
    try:
        with chapter("a lab guest with a Debian kernel, the daemon and its helper under systemd"):
            guest = fleet.up(cache, "demo", "bookworm")
        show(Stage(guest))
    except (LabError, AssertionError) as error:
        print(f"\nThe demo failed: {error}", file=sys.stderr)
        if guest:
            save_logs(guest)
        return 1
    finally:
        fleet.down(cache, "demo")
    say(f"Done: from nothing to a booted guest and back to nothing, in {time.monotonic() - START:.0f} s.")
    return 0


def show(stage: Stage) -> None:
    """The story itself, once the guest is there."""
    nonce = f"cdmi-attach-{secrets.token_hex(8)}"
    say(f"The nonce of this run is {nonce}.")
    with chapter("a CDMI server with real iSCSI targets, and the daemon configured for it"):
        stage.set()
    before = stage.inventory()
    with chapter("put: a LUN container on the server, with a boot sector that prints the nonce, through CDMI"):
        lun = stage.make_lun("vol1", content=boot_sector(nonce))
    say(indented(stage.guest.run(["cdmi-attach", "resolve", lun.source]).stdout))
    with chapter("a libvirt domain without any disk, started paused"):
        stage.start_domain(DOMAIN)
    attach_and_boot(stage, lun, nonce)
    detach(stage, lun)
    with chapter("inventory, by iscsiadm, lsblk, targetcli and virsh"):
        stage.guest.run(f"virsh -q destroy {DOMAIN}")
        after = stage.inventory()
    say(indented(after))
    assert after == before, f"something was left:\n{before}\n---\n{after}"
    say("Nothing is left: the inventory equals the one taken before.")


def attach_and_boot(stage: Stage, lun: Lun, nonce: str) -> None:
    """Attach with the hand-over to the domain, let it run, and wait for its boot line."""
    with chapter("attach: resolve, grant, login, identity, hand-over"):
        link = stage.attach(NAME, lun.source, "--domain", DOMAIN, "--target", "sda")
    view = stage.status(NAME)
    assert view["phase"] == "attached" and view["verified"], view
    for step in view["steps"]:
        say(f"    {step['took_ms']:6d} ms  {step['what']}")
    device = view["device"]
    say(f"    {link} -> {device['path']} -> {device['node']}, {device['wwid']} proved by INQUIRY")
    assert device["wwid"] == lun.wwid, device
    with chapter("boot line: the domain resumes and boots from the disk"):
        stage.guest.run(f"virsh -q resume {DOMAIN}")
        line = stage.boot_line(DOMAIN, nonce)
    say(f"    the guest's serial port says: {line}")
    assert nonce in line, line


def detach(stage: Stage, lun: Lun) -> None:
    """Detach; the daemon's journal tells the steps, and the server that the permission is gone."""
    with chapter("detach: from the domain, device, session and record; revoke"):
        since = stage.guest.run("date +%s.%N").stdout.strip()
        stage.detach(NAME)
    journal = f"journalctl -u cdmi-attachd -o short-precise --no-hostname -q --since @{since}"
    say(indented(stage.guest.run(journal).stdout))
    permissions = stage.export(lun.name)["permissions"]
    assert permissions == [], f"the server still permits {permissions}"


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
