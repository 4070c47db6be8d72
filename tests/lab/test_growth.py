"""What attaches and detaches leave behind: nothing, however many there were, and whatever way they took."""

import json
import shlex
from collections.abc import Sequence

from tests.lab.guest import Guest
from tests.lab.stage import Stage
from tests.lab.whole_scene import WAYS, Way, Whole

CYCLES = 4
WORKER_FDS, WORKER_KIB = 8, 32 << 10
NOISE_KIB = 4608
"""What the allocators of all processes, seven of them, and the events of fifty operations (agent/events.py) may
take; `make soak` looks closer."""

Account = dict[str, int]


def grown(whole: Whole, cycles: int, ways: Sequence[Way] = WAYS) -> tuple[Account, Account]:
    """Attach and detach so often by each of the ways. Returns what the host had before, and after."""
    wanted = [
        {"name": way.name, "body": way.body(whole.make(way, f"grow-{way.name}", b"grows".ljust(4096, b"\0")))}
        for way in ways
    ]
    command = f"cd /opt/cdmi-attach && exec python3 -m tests.lab.inside_growth {cycles}"
    told = json.loads(whole.stage.guest.run(command, input=json.dumps(wanted), timeout_s=120 + 60 * cycles).stdout)
    print(shlex.join(f"{key}={told['before'][key]}->{told['after'][key]}" for key in told["before"]))
    return told["before"], told["after"]


def test_cycles_by_every_way_leave_no_growth(guest: Guest) -> None:
    stage = Stage(guest)
    before, after = grown(Whole(stage).set(), CYCLES)
    more = {name: after.pop(name) - before.pop(name) for name in ("processes", "descriptors", "resident")}
    assert after == before
    assert more["processes"] <= 1, "a worker, where more were needed at once than ever before"
    assert more["descriptors"] <= WORKER_FDS * more["processes"]
    assert more["resident"] < NOISE_KIB + WORKER_KIB * more["processes"]
    assert stage.defects() == ""
