"""`make soak`: kill -9 of daemon and helper at random moments of attach and detach, on the real kernel, for long."""

import argparse
import json
import random
import subprocess
import sys

from tests.lab import fleet
from tests.lab.cache import open_cache
from tests.lab.stage import Stage


def main() -> int:
    """Bring up a guest, and let `inside_soak` run in it. Returns its exit status; the seed is said at the start."""
    parser = argparse.ArgumentParser(prog="soak", description=__doc__)
    parser.add_argument("--cycles", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(1 << 30))
    options = parser.parse_args()
    print(f"{options.cycles} cycles, seed {options.seed}", flush=True)
    cache = open_cache()
    guest = fleet.up(cache, "soak", "bookworm")
    try:
        stage = Stage(guest).set()
        luns = []
        for number in range(4):
            name = f"soak{number}"
            stamp = f"the stamp of {name}"
            lun = stage.make_lun(name, target=f"soak-{number // 2}", content=stamp.encode().ljust(512, b"\0"))
            luns.append({"source": lun.source, "stamp": stamp, "export": "\t".join(stage.read_export(name))})
        command = f"cd /opt/cdmi-attach && exec python3 -m tests.lab.inside_soak {options.cycles} {options.seed}"
        done = subprocess.run(guest.argv(command), cwd=guest.place.folder, input=json.dumps(luns), text=True)
        if done.returncode:
            print(guest.run("journalctl -b --no-pager | tail -n 300", check=False).stdout)
        return done.returncode
    finally:
        fleet.down(cache, "soak")


if __name__ == "__main__":
    sys.exit(main())
