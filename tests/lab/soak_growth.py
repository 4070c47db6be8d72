"""The last part of `make soak`: every way to a disk, attached and detached so often, and what it left."""

import argparse
import sys

from tests.lab import fleet
from tests.lab.cache import open_cache
from tests.lab.stage import Stage
from tests.lab.test_growth import grown
from tests.lab.whole_scene import Whole

NOISE_KIB = 2048
EVENTS_KIB = 6144
"""What 4096 events take (agent/events.py), which so many cycles fill; the same for all that comes after them."""


def main() -> int:
    """Bring up a guest with everything. Returns 0 when nothing has grown."""
    parser = argparse.ArgumentParser(prog="soak_growth", description=__doc__)
    parser.add_argument("--cycles", type=int, default=200)
    cycles = parser.parse_args().cycles
    cache = open_cache()
    stage = Stage(fleet.up(cache, "soak", "bookworm"))
    try:
        more = [_told(name, told) for name, told in grown(Whole(stage).set(), cycles).items()]
    finally:
        fleet.down(cache, "soak")
    return 1 if any(more) else 0


def _told(name: str, told: dict[str, dict[str, int]]) -> bool:
    """Show what a way left. Returns whether something has grown."""
    before, after = told["before"], told["after"]
    print(f"{name}: " + ", ".join(f"{key} {before[key]} -> {after[key]}" for key in before))
    slack = {"resident": NOISE_KIB + EVENTS_KIB}
    return any(after[key] - before[key] > slack.get(key, 0) for key in before)


if __name__ == "__main__":
    sys.exit(main())
