"""A part of `make soak`: two daemons in two guests attach and detach one LUN 200 times each, both at once."""

import argparse
import sys

from tests.lab import fleet
from tests.lab.cache import open_cache
from tests.lab.two_hosts import STAMP, THIRD, set_up


def main() -> int:
    """Bring up two guests. Returns 0 when every round was right, and the permissions ended as they began."""
    parser = argparse.ArgumentParser(prog="soak_grants", description=__doc__)
    parser.add_argument("--rounds", type=int, default=200)
    rounds = parser.parse_args().rounds
    cache = open_cache()
    try:
        near, far = (fleet.up(cache, name, "bookworm") for name in ("soak", "soak-other"))
        hosts = set_up(near, far)
        lun = hosts.near.make_lun("contested", permissions=[THIRD], content=STAMP.encode().ljust(512, b"\0"))
        hosts.anchor(lun)
        told = hosts.contest(lun, rounds)
        left = hosts.permissions(lun)
        print(*told, f"permissions: {left}", sep="\n")
        return 1 if left != [THIRD] or any(one["wrong"] for one in told) else 0
    finally:
        for name in ("soak", "soak-other"):
            fleet.down(cache, name)


if __name__ == "__main__":
    sys.exit(main())
