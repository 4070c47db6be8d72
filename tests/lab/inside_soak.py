"""Runs in the guest: attach, write and detach for as many cycles as wanted, several disks at once, and kill -9 the
services. What was written is read back, every block, each time that a disk is there again.

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
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from tests.lab.inside_blocks import Blocks
from tests.lab.inside_writer import BLOCK, FIRST

SOCKET = "/run/cdmi-attach/control.sock"
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
AT_ONCE = 4
WRITTEN = 16
"""Blocks that are written each time that a disk is there."""


@dataclass(frozen=True, eq=False)
class Disk:
    """What is attached: the body of the request, what is to be read from it, and the command that tells its export.

    `number` is above 0, and another for each.
    """

    name: str
    body: dict[str, Any]
    stamp: str
    export: list[str]
    several: bool = False
    number: int = 1

    @cached_property
    def blocks(self) -> Blocks:
        """What has been written to it."""
        return Blocks(self.number)

    @property
    def link(self) -> str:
        return f"/run/cdmi-attach/disk/{self.name}"


class Unix(http.client.HTTPConnection):
    """HTTP to the daemon's socket."""

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(SETTLE_S)
        self.sock.connect(SOCKET)


def call(method: str, disk: Disk, *, force: bool = False) -> int:
    """One request for an attachment. Returns the status, 0 when the connection was lost."""
    connection = Unix("localhost", timeout=SETTLE_S)
    try:
        query = "?force=1" if force else ""
        connection.request(
            method, f"/v1/attachments/{disk.name}{query}", json.dumps(disk.body) if method == "PUT" else None
        )
        answer = connection.getresponse()
        answer.read()
        return answer.status
    except (OSError, http.client.HTTPException):
        return 0
    finally:
        connection.close()


def until(method: str, disk: Disk) -> None:
    """Ask again until it is done. A PUT that meets an attachment on its way out waits for that.

    Where the helper was killed while it wrote out, what became of that is not known, and somebody has to say so.
    """
    wanted = (200, 201) if method == "PUT" else (204,)
    deadline = time.monotonic() + SETTLE_S
    while (status := call(method, disk)) not in wanted:
        if time.monotonic() > deadline:
            raise AssertionError(f"{method} {disk.name} still answers {status}")
        if method == "PUT" and status == 409:
            until("DELETE", disk)
        if method == "DELETE" and status == 500:
            print(f"{disk.name} is dirty, and given up", flush=True)
            call("DELETE", disk, force=True)
    if method == "PUT":
        assert read_stamp(disk) == disk.stamp, f"the wrong disk as {disk.name}"
        wrong = disk.blocks.wrong(disk.link)
        assert not wrong, f"{disk.name}: {'; '.join(wrong[:8])} ({len(wrong)} in all)"


def use(rng: random.Random, disk: Disk) -> dict[int, int]:
    """Write some blocks anywhere on a disk that is there."""
    node = os.open(disk.link, os.O_RDONLY | os.O_CLOEXEC)
    try:
        end = os.lseek(node, 0, os.SEEK_END) // BLOCK
    finally:
        os.close(node)
    return disk.blocks.write(disk.link, [rng.randrange(FIRST, end) for _ in range(WRITTEN)])


def all_at_once(work: Callable[[Disk], object], disks: Iterable[Disk]) -> None:
    """Do that with each of them, at the same time."""
    with ThreadPoolExecutor(AT_ONCE) as pool:
        for future in [pool.submit(work, disk) for disk in disks]:
            future.result()


def kill_amid(rng: random.Random, methods: Mapping[Disk, str]) -> str:
    """Make these requests, and kill one or both services at a random moment of them. Returns who was killed when."""
    victims = rng.choice([UNITS[:1], UNITS[1:], UNITS])
    moment = rng.uniform(0, max(LONGEST_S[disk.several] for disk in methods))
    ended = threading.Event()

    def ask() -> None:
        all_at_once(lambda disk: call(methods[disk], disk), methods)
        ended.set()

    thread = threading.Thread(target=ask)
    thread.start()
    ended.wait(moment)
    subprocess.run(["systemctl", "kill", "--signal=KILL", *victims], check=True)
    thread.join()
    return f"{moment:.2f} s {'+'.join(victim.split('.')[0] for victim in victims)}"


def read_stamp(disk: Disk) -> str:
    """The first bytes of what the link leads to, past every cache."""
    command = ["dd", f"if={disk.link}", "bs=512", "count=1", "iflag=direct", "status=none"]
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
    for folder in ("/dev/cdmi-attach", *(f"/run/cdmi-attach/{name}" for name in ("disk", "claim", "map", "unwritten"))):
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


def cycle(rng: random.Random, disks: Sequence[Disk]) -> str:
    """One cycle: some are on their way in and some on their way out when it happens. Returns what was done."""
    chosen = rng.sample(disks, rng.randint(1, AT_ONCE))
    methods = {disk: "PUT" if rng.random() < 0.6 else "DELETE" for disk in chosen}
    standing = [disk for disk in chosen if methods[disk] == "DELETE"]
    all_at_once(lambda disk: until("PUT", disk), standing)
    for disk in standing:
        use(rng, disk)
    killed = kill_amid(rng, methods)
    finished = [disk for disk in chosen if methods[disk] == "PUT" and rng.random() < 0.5]
    all_at_once(lambda disk: until("PUT", disk), finished)
    for disk in finished:
        use(rng, disk)
    all_at_once(lambda disk: until("DELETE", disk), chosen)
    return ", ".join([killed, *(_told(disk, methods[disk], disk in finished) for disk in chosen)])


def _told(disk: Disk, method: str, finished: bool) -> str:
    return f"{method} {disk.name}{' finished' if finished else ''}"


def main() -> int:
    """Run the cycles. Returns 0 when nothing was ever left."""
    cycles, seed = int(sys.argv[1]), int(sys.argv[2])
    disks = [Disk(**values) for values in json.load(sys.stdin)]
    rng = random.Random(seed)
    for number in range(1, cycles + 1):
        story = cycle(rng, disks)
        remains = left(disks)
        print(f"{number}: {story}{': LEFT: ' + '; '.join(remains) if remains else ''}", flush=True)
        if remains:
            return 1
    blocks = sum(len(disk.blocks.flushed) for disk in disks)
    load = os.getloadavg()[0]
    print(f"{cycles} cycles, seed {seed}: nothing left, no wrong disk, {blocks} blocks as written, {load:.1f} load")
    return 0


if __name__ == "__main__":
    sys.exit(main())
