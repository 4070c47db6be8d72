"""A part of `make soak`: a host loses its power at random moments, again and again, and nothing is lost or left.

The CDMI server, its targets and its NFS server are in another guest, which stays on. What was flushed is kept here, so
that neither of them is asked what it ought to hold.
"""

import argparse
import json
import random
import subprocess
import sys
import threading
import time
from dataclasses import asdict, dataclass, field
from typing import Any

from tests.lab import fleet
from tests.lab.cache import open_cache
from tests.lab.guest import Guest
from tests.lab.inside_blocks import OWNER
from tests.lab.inside_soak import Disk
from tests.lab.nfs_scene import ROOT, Shares
from tests.lab.soak import SIZE
from tests.lab.two_hosts import TwoHosts, set_up

LUNS, FILES = 3, {"block0": "block", "block1": "block", "file0": "file"}
AT_WORK = 0.7
"""How often power is lost after something was written; else while the first disks are on their way in."""
LATEST_S = 15.0
BEGIN_S = 180.0
BOOT_S = 600.0
INSIDE = "cd /opt/cdmi-attach && exec python3 -m tests.lab.inside_power"
CHECK_S = 900.0


@dataclass
class Kept:
    """A disk, and what was flushed to it."""

    disk: Disk
    flushed: dict[int, int] = field(default_factory=dict)

    def entry(self) -> dict[str, Any]:
        """What the host is told of it."""
        return {"disk": asdict(self.disk), "flushed": self.flushed}


def make(hosts: TwoHosts) -> list[Kept]:
    """Disks over iSCSI, of NFS files, and NFS files themselves, as the far host asks for them."""
    shares = Shares(hosts.near)
    shares.serve()
    shares.declare("alive", hosts.near.server)
    disks = []
    for number in range(LUNS):
        stamp = f"lun {number}"
        lun = hosts.near.make_lun(f"lun{number}", target="power", size=SIZE, content=stamp.encode().ljust(512, b"\0"))
        export = hosts.near.read_export(lun.name)
        disks.append(Disk(lun.name, {"source": hosts.source(hosts.far, lun)}, stamp, export))
    for name, present in FILES.items():
        source = shares.put(f"alive/{name}.img", name.encode()).replace("127.0.0.1", hosts.near.server)
        disks.append(Disk(name, {"source": source, "present": present}, name, []))
    return [Kept(Disk(**asdict(disk) | {"number": number})) for number, disk in enumerate(disks, 1)]


def cut(rng: random.Random, guest: Guest, kept: list[Kept]) -> str:
    """Let the host work, and take its power away at a random moment. Returns the moment, and how much was flushed."""
    by_number = {one.disk.number: one for one in kept}
    last = max((number & ((1 << OWNER) - 1) for one in kept for number in one.flushed.values()), default=0)
    flushed, at_work = 0, threading.Event()

    def keep(lines: Any) -> None:
        nonlocal flushed
        for line in lines:
            if not line.endswith("\n"):
                return
            number, blocks = json.loads(line)
            by_number[number].flushed |= {int(place): write for place, write in blocks.items()}
            flushed += len(blocks)
            at_work.set()

    # Writes that were not told of any more have numbers below the next loss's first.
    command = f"{INSIDE} work {rng.randrange(1 << 20)} {last + (1 << 16)}"
    with subprocess.Popen(
        guest.argv(command), cwd=guest.place.folder, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as work:
        assert work.stdin and work.stdout
        reader = threading.Thread(target=keep, args=[work.stdout])
        reader.start()
        work.stdin.write(json.dumps([one.entry() for one in kept]))
        work.stdin.close()
        if rng.random() < AT_WORK:
            assert at_work.wait(BEGIN_S), "nothing was written"
        moment = rng.uniform(0, LATEST_S)
        reader.join(moment)
        ended_early = not reader.is_alive()
        guest.lose_power(timeout_s=BOOT_S)
        work.kill()
        reader.join()
    assert not ended_early, "the host did not work until then"
    return f"{moment:.1f} s {'after the first blocks' if flushed else 'after the first request'}, {flushed} blocks"


def check(guest: Guest, kept: list[Kept]) -> list[str]:
    """What is wrong with the disks, or left of them, once all were taken, read and given back."""
    told = guest.run(f"{INSIDE} check", input=json.dumps([one.entry() for one in kept]), timeout_s=CHECK_S).stdout
    print(*told.splitlines()[:-1], sep="\n")
    found = json.loads(told.splitlines()[-1])
    return [*found["wrong"], *found["left"]]


def main() -> int:
    """Bring up two guests. Returns 0 when after each loss of power all was as it had to be."""
    parser = argparse.ArgumentParser(prog="soak_power", description=__doc__)
    parser.add_argument("--losses", type=int, default=30)
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(1 << 30))
    options = parser.parse_args()
    print(f"{options.losses} losses of power, seed {options.seed}", flush=True)
    rng, cache, names = random.Random(options.seed), open_cache(), ("soak", "soak-other")
    try:
        near, far = (fleet.up(cache, name, "bookworm") for name in names)
        hosts = set_up(near, far, "--nfs-root", ROOT)
        kept, guest = make(hosts), hosts.far.guest
        guest.run("systemctl enable -q cdmi-attachd.socket cdmi-attach-helperd.socket cdmi-attachd.service && sync")
        for number in range(1, options.losses + 1):
            began = time.monotonic()
            story = cut(rng, guest, kept)
            wrong = check(guest, kept) or [line for line in [hosts.far.defects()] if line]
            print(f"{number}: {story}, {time.monotonic() - began:.0f} s {'; '.join(wrong)}", flush=True)
            if wrong:
                print(guest.run("journalctl --no-pager | tail -n 400", check=False).stdout)
                return 1
        blocks = sum(len(one.flushed) for one in kept)
        print(f"{options.losses} losses of power, seed {options.seed}: nothing left, {blocks} blocks as written")
        return 0
    finally:
        for name in names:
            fleet.down(cache, name)


if __name__ == "__main__":
    sys.exit(main())
