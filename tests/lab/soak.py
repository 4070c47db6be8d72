"""`make soak`: kill -9 of daemon and helper at random moments of attach and detach, on the real kernel, for long."""

import argparse
import json
import random
import subprocess
import sys
from dataclasses import asdict, replace

from tests.lab import fleet
from tests.lab.cache import open_cache
from tests.lab.inside_soak import Disk
from tests.lab.stage import Stage
from tests.lab.whole_scene import WAYS, Way, Whole

OVER = {"all": ("iscsi", "fc", "nfs", "file"), "iscsi": ("iscsi",), "fc": ("fc",), "nfs": ("nfs", "file")}
SINGLE = '\nmultipath = "never"'
EACH = 2
SIZE = 4 << 20
"""Of a LUN: all of it is read again and again."""


def disks(scene: Whole, way: Way, *, single: bool) -> list[Disk]:
    """Objects that are reached by this way; those over iSCSI share a target."""
    found = []
    for number in range(EACH):
        name = f"{way.name}-{number}"
        stamp = f"the stamp of {name}"
        content = stamp.encode().ljust(512, b"\0")
        if way.protocol == "iscsi":
            source = scene.stage.make_lun(name, target="soak", size=SIZE, content=content).source
        elif way.protocol == "fc":
            source = scene.fibre.make_lun(name, content=content, cdmi_assignedsize=str(SIZE)).source
        else:
            source = scene.make(way, name, content)
        export = scene.stage.read_export(name) if way.protocol != "nfs" else []
        body = (replace(way, paths=1) if single else way).body(source) | {"protocols": [way.protocol]}
        found.append(Disk(name, body, stamp, export, several=not single and way.paths > 1))
    return found


def main() -> int:
    """Bring up a guest, and let `inside_soak` run in it. Returns its exit status; the seed is said at the start."""
    parser = argparse.ArgumentParser(prog="soak", description=__doc__)
    parser.add_argument("--cycles", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(1 << 30))
    parser.add_argument("--over", choices=OVER, default="all")
    parser.add_argument("--single", action="store_true", help="one path, and no maps")
    options = parser.parse_args()
    print(f"{options.cycles} cycles, seed {options.seed}", flush=True)
    cache = open_cache()
    guest = fleet.up(cache, "soak", "bookworm")
    try:
        scene = Whole(Stage(guest)).set(SINGLE if options.single else "")
        ways = [way for way in WAYS if way.name in OVER[options.over]]
        made = [disk for way in ways for disk in disks(scene, way, single=options.single)]
        wanted = [replace(disk, number=number) for number, disk in enumerate(made, 1)]
        command = f"cd /opt/cdmi-attach && exec python3 -m tests.lab.inside_soak {options.cycles} {options.seed}"
        done = subprocess.run(
            guest.argv(command), cwd=guest.place.folder, input=json.dumps([asdict(disk) for disk in wanted]), text=True
        )
        if done.returncode:
            print(guest.run("journalctl -b --no-pager | tail -n 300", check=False).stdout)
        if defects := scene.stage.defects():
            print(defects)
        return done.returncode or (1 if defects else 0)
    finally:
        fleet.down(cache, "soak")


if __name__ == "__main__":
    sys.exit(main())
