"""The last part of `make soak`: every way to a disk, attached and detached so often, and what it left."""

import argparse
import sys

from tests.lab import fleet
from tests.lab.cache import open_cache
from tests.lab.stage import Stage
from tests.lab.test_growth import grown
from tests.lab.whole_scene import WAYS, Whole

NOISE_KIB = 2048
"""What the allocators may keep for each of the ways."""
EVENTS_KIB = 6144
"""What 4096 events take (agent/events.py), which so many cycles fill."""


def main() -> int:
    """Bring up a guest with everything. Returns 0 when nothing has grown."""
    parser = argparse.ArgumentParser(prog="soak_growth", description=__doc__)
    parser.add_argument("--cycles", type=int, default=200)
    parser.add_argument("--way", action="append", choices=[way.name for way in WAYS], help="only by this one")
    options = parser.parse_args()
    ways = [way for way in WAYS if way.name in (options.way or [way.name])]
    cache = open_cache()
    stage = Stage(fleet.up(cache, "soak", "bookworm"))
    try:
        before, after = grown(Whole(stage).set(), options.cycles, ways)
    finally:
        fleet.down(cache, "soak")
    slack = {"resident": NOISE_KIB * len(ways) + EVENTS_KIB}
    return 1 if any(after[key] - before[key] > slack.get(key, 0) for key in before) else 0


if __name__ == "__main__":
    sys.exit(main())
