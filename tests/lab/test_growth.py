"""What attaches and detaches leave behind: nothing, however many there were, and whatever way they took."""

import json
import shlex
from typing import Any

import pytest

from tests.lab.guest import Guest
from tests.lab.stage import Stage
from tests.lab.whole_scene import WAYS, Way, Whole

CYCLES = 10
WORKER_FDS, WORKER_KIB = 8, 32 << 10
NOISE_KIB = 3072
"""What the allocators of all processes, seven of them, may keep of ten cycles; `make soak` looks closer."""


@pytest.fixture(scope="module")
def accounts(guest: Guest) -> dict[str, Any]:
    """What the host had before and after, by way."""
    return grown(Whole(Stage(guest)).set(), CYCLES)


def grown(whole: Whole, cycles: int) -> dict[str, Any]:
    """Attach and detach so often by each way. Returns the accounts."""
    wanted = [
        {"name": way.name, "body": way.body(whole.make(way, f"grow-{way.name}", b"grows".ljust(4096, b"\0")))}
        for way in WAYS
    ]
    command = f"cd /opt/cdmi-attach && exec python3 -m tests.lab.inside_growth {cycles}"
    lines = whole.stage.guest.run(command, input=json.dumps(wanted), timeout_s=60 + 30 * cycles).stdout.splitlines()
    return {told["name"]: told for told in map(json.loads, lines)}


@pytest.mark.parametrize("way", WAYS, ids=lambda way: way.name)
def test_ten_cycles_leave_no_growth(accounts: dict[str, Any], way: Way) -> None:
    before, after = (dict(accounts[way.name][when]) for when in ("before", "after"))
    print(f"{way.name}: {shlex.join(f'{key}={before[key]}->{after[key]}' for key in before)}")
    more = {name: after.pop(name) - before.pop(name) for name in ("processes", "descriptors", "resident")}
    assert after == before
    assert more["processes"] <= 1, "a worker, where more were needed at once than ever before"
    assert more["descriptors"] <= WORKER_FDS * more["processes"]
    assert more["resident"] < NOISE_KIB + WORKER_KIB * more["processes"]
