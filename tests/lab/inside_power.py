"""Runs in a host that loses its power: attaches, writes and detaches until then; afterwards looks for what was written.

    python3 -m tests.lab.inside_power work SEED NUMBER < DISKS
    python3 -m tests.lab.inside_power check < DISKS

DISKS is a list of {"disk": what inside_soak.Disk has, "flushed": {block: the write that was flushed}}. `work` prints a
line of JSON for whatever was flushed: [the disk's number, {block: write}], for somebody who keeps it elsewhere; its
writes begin above NUMBER. `check` prints one: {"wrong": [...], "left": [...], "given_up": [...]}.
"""

import json
import random
import sys
from concurrent.futures import ThreadPoolExecutor

from tests.lab.inside_soak import Disk, left, until, use

BATCHES = 6
STAYS = 0.5
"""How many batches are written to a disk before it may go, and how often it goes then."""


def work(disk: Disk, seed: int) -> None:
    """Take it, write to it, and give it back or keep it, for ever."""
    rng = random.Random(seed * 1000 + disk.number)
    while True:
        until("PUT", disk)
        for _ in range(rng.randint(1, BATCHES)):
            print(json.dumps([disk.number, use(rng, disk)]), flush=True)
        if rng.random() > STAYS:
            until("DELETE", disk)


def check(disk: Disk) -> list[str]:
    """Take it, read it, and give it back. Returns what is wrong with it."""
    try:
        until("PUT", disk)
        until("DELETE", disk)
    except AssertionError as error:
        return [str(error)]
    return []


def main() -> int:
    """As the module says."""
    disks = []
    for entry in json.load(sys.stdin):
        disks.append(disk := Disk(**entry["disk"]))
        disk.blocks.flushed.update({int(place): number for place, number in entry["flushed"].items()})
        disk.blocks.number = int(sys.argv[3]) if sys.argv[1] == "work" else 0
    with ThreadPoolExecutor(len(disks)) as pool:
        if sys.argv[1] == "work":
            list(pool.map(lambda disk: work(disk, int(sys.argv[2])), disks))
        wrong = [text for found in pool.map(check, disks) for text in found]
    print(json.dumps({"wrong": wrong, "left": left(disks)}), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
