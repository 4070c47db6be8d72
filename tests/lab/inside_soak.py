"""Runs in the guest: attach and detach for as many cycles as wanted, and kill -9 the services at random moments.

    python3 -m tests.lab.inside_soak CYCLES SEED < DISKS

DISKS is a list of what `Disk` has. After each cycle nothing may be left: no session, record, mount, disk, map, link,
claim, row in either ledger, or permission.
"""

import http.client
import json
import os
import random
import socket
import sqlite3
import subprocess
import sys
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

SOCKET = "/run/cdmi-attach/control.sock"
NAME = "soak"
UNITS = ("cdmi-attachd.service", "cdmi-attach-helperd.service")
LEDGERS = {
    "/var/lib/cdmi-attach/ledger.sqlite": ("attachments", "grants"),
    "/var/lib/cdmi-attach-helper/created.sqlite": ("created",),
}
LIO = "/sys/kernel/config/target"
SETTLE_S = 180.0
MULTIPATH_LUNS = Path("/etc/multipath/wwids")
LONGEST_S = {False: 1.2, True: 3.0}
"""How late a moment may be; `True` where several paths are brought up and taken down."""


@dataclass(frozen=True)
class Disk:
    """What is attached: the body of the request, what is to be read from it, and the command that tells its export."""

    name: str
    body: dict[str, Any]
    stamp: str
    export: list[str]
    several: bool = False


class Unix(http.client.HTTPConnection):
    """HTTP to the daemon's socket."""

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(SETTLE_S)
        self.sock.connect(SOCKET)


def call(method: str, body: Any = None) -> int:
    """One request for the attachment. Returns the status, 0 when the connection was lost."""
    connection = Unix("localhost", timeout=SETTLE_S)
    try:
        connection.request(method, f"/v1/attachments/{NAME}", None if body is None else json.dumps(body))
        answer = connection.getresponse()
        answer.read()
        return answer.status
    except (OSError, http.client.HTTPException):
        return 0
    finally:
        connection.close()


def until(method: str, wanted: tuple[int, ...], body: Any = None) -> None:
    """Ask again until the answer is a wanted one. A PUT that meets an attachment on its way out waits for that."""
    deadline = time.monotonic() + SETTLE_S
    while (status := call(method, body)) not in wanted:
        if time.monotonic() > deadline:
            raise AssertionError(f"{method} still answers {status}")
        if method == "PUT" and status == 409:
            until("DELETE", (204,))


def kill_amid(rng: random.Random, method: str, longest_s: float, body: Any = None) -> str:
    """Make a request, and kill one or both services at a random moment of it. Returns who was killed when."""
    ended = threading.Event()

    def ask() -> None:
        call(method, body)
        ended.set()

    thread = threading.Thread(target=ask)
    thread.start()
    victims, moment = rng.choice([UNITS[:1], UNITS[1:], UNITS]), rng.uniform(0, longest_s)
    ended.wait(moment)
    subprocess.run(["systemctl", "kill", "--signal=KILL", *victims], check=True)
    thread.join()
    return f"{method} {moment:.2f} s {'+'.join(victim.split('.')[0] for victim in victims)}"


def read_stamp() -> str:
    """The first bytes of what the link leads to, past every cache."""
    command = ["dd", f"if=/run/cdmi-attach/disk/{NAME}", "bs=512", "count=1", "iflag=direct", "status=none"]
    return subprocess.run(command, check=True, capture_output=True).stdout.rstrip(b"\0").decode()


def maps() -> list[str]:
    """The multipath maps, and the LUNs that multipath remembers."""
    uuids = [path.read_text().strip() for path in Path("/sys/block").glob("dm-*/dm/uuid")]
    known = MULTIPATH_LUNS.read_text().splitlines() if MULTIPATH_LUNS.exists() else []
    return [*uuids, *(f"{MULTIPATH_LUNS}: {line}" for line in known if line.startswith("/"))]


def left(disks: list[Disk]) -> list[str]:
    """Everything that should not be there any more."""
    found = []
    for command in ("iscsiadm -m session", "iscsiadm -m node", "lsblk -S -n -o NAME"):
        done = subprocess.run(command.split(), capture_output=True, text=True)
        found += [f"{command}: {line}" for line in done.stdout.splitlines()]
    found += maps()
    for folder in ("/dev/cdmi-attach", *(f"/run/cdmi-attach/{name}" for name in ("disk", "claim", "map"))):
        found += [str(path) for path in Path(folder).rglob("*") if not path.is_dir() or path.is_symlink()]
    found += [line for line in Path("/proc/mounts").read_text().splitlines() if "/run/cdmi-attach/" in line]
    for folder, names in (("/run/cdmi-attach/mnt", "*"), (LIO, "loopback/naa.*"), (LIO, "core/fileio_*/cdmi-attach-*")):
        found += [str(path) for path in Path(folder).glob(names)]
    for path, tables in LEDGERS.items():
        with sqlite3.connect(f"file:{path}?mode=ro", uri=True) as db:
            for table in tables:
                found += [f"{table}: {row}" for row in db.execute(f"SELECT * FROM {table}")]
    for disk in [disk for disk in disks if disk.export]:
        shown = subprocess.run(disk.export, check=True, capture_output=True, text=True).stdout
        found += [name for entry in json.loads(shown)["exports"].values() for name in entry["permissions"]]
    return found


def cycle(rng: random.Random, disk: Disk) -> str:
    """One cycle. Returns what was done."""
    longest_s, story = LONGEST_S[disk.several], [disk.name]
    if rng.random() < 0.6:
        story.append(kill_amid(rng, "PUT", longest_s, disk.body))
        if rng.random() < 0.5:
            until("PUT", (200, 201), disk.body)
            assert read_stamp() == disk.stamp, "the wrong disk"
            story.append("finished")
    else:
        until("PUT", (200, 201), disk.body)
        assert read_stamp() == disk.stamp, "the wrong disk"
        story.append(kill_amid(rng, "DELETE", longest_s))
    until("DELETE", (204,))
    return ", ".join(story)


def main() -> int:
    """Run the cycles. Returns 0 when nothing was ever left."""
    cycles, seed = int(sys.argv[1]), int(sys.argv[2])
    disks = [Disk(**values) for values in json.load(sys.stdin)]
    rng = random.Random(seed)
    for number in range(1, cycles + 1):
        story = cycle(rng, rng.choice(disks))
        remains = left(disks)
        print(f"{number}: {story}{': LEFT: ' + '; '.join(remains) if remains else ''}", flush=True)
        if remains:
            return 1
    print(f"{cycles} cycles, seed {seed}: nothing left, no wrong disk, {os.getloadavg()[0]:.1f} load", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
