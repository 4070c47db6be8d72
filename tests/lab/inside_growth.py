"""Runs in the guest: attach and detach some objects many times, and tell what the host had before and after.

    python3 -m tests.lab.inside_growth CYCLES < '[{"name": ..., "body": {"source": ...}}, ...]'

In a cycle they come and go all at once. Some cycles go before the first account, so that what is made once and kept is
there. What ends late (a kept connection, a worker that was needed for a moment) is waited for before the second one;
what has leaked stays. Prints one JSON line.
"""

import json
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from tests.lab.inside_soak import LEDGERS, UNITS, Unix

FIRST = 3
SETTLED_S = 120.0
AGAIN_S = 0.5


def call(method: str, name: str, body: Any = None) -> None:
    """One request for an attachment. Raises `AssertionError` where it is refused."""
    connection = Unix("localhost", timeout=SETTLED_S)
    connection.request(method, f"/v1/attachments/{name}", None if body is None else json.dumps(body))
    answer = connection.getresponse()
    text = answer.read().decode()
    connection.close()
    assert answer.status < 300, f"{method} {name}: {answer.status} {text}"


def cycles(count: int, wanted: Sequence[Any]) -> None:
    """Attach all of them, read each through its link, past every cache, and detach them; so often."""
    with ThreadPoolExecutor(len(wanted)) as pool:
        for _ in range(count):
            list(pool.map(come_and_go, wanted))


def come_and_go(one: Any) -> None:
    """One of them in one cycle."""
    name = one["name"]
    call("PUT", name, one["body"])
    command = ["dd", f"if=/run/cdmi-attach/disk/{name}", "bs=4096", "count=1", "iflag=direct", "status=none"]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    call("DELETE", name)


def account() -> dict[str, int]:
    """Processes of the services, their resident memory (KiB) and descriptors; records, maps' memory, ledgers' rows."""
    pids = [pid for unit in UNITS for pid in _pids(unit)]
    wwids = Path("/etc/multipath/wwids")
    told = {
        "processes": len(pids),
        "resident": sum(_resident(pid) for pid in pids),
        "descriptors": sum(len(list(Path(f"/proc/{pid}/fd").iterdir())) for pid in pids),
        "records": len([path for path in Path("/etc/iscsi/nodes").rglob("*") if path.is_file()]),
        "wwids": len([line for line in wwids.read_text().splitlines() if line[:1] == "/"]) if wwids.exists() else 0,
        "mounts": Path("/proc/self/mountinfo").read_text().count("/run/cdmi-attach/"),
    }
    for path, tables in LEDGERS.items():
        with sqlite3.connect(f"file:{path}?mode=ro", uri=True) as db:
            for table in tables:
                told[table] = db.execute(f"SELECT count(*) FROM {table}").fetchone()[0]
    return told


def settled(least: dict[str, int]) -> dict[str, int]:
    """The account once nothing but memory is above the least one, or after `SETTLED_S`."""
    deadline, never = time.monotonic() + SETTLED_S, threading.Event()
    while True:
        told = account()
        above = [name for name in told if name != "resident" and told[name] > least[name]]
        if not above or time.monotonic() > deadline:
            return told
        never.wait(AGAIN_S)


def _pids(unit: str) -> list[int]:
    command = ["systemctl", "show", "-P", "ControlGroup", unit]
    shown = subprocess.run(command, check=True, capture_output=True, text=True)
    return [int(pid) for pid in Path(f"/sys/fs/cgroup{shown.stdout.strip()}/cgroup.procs").read_text().split()]


def _resident(pid: int) -> int:
    status = Path(f"/proc/{pid}/status").read_text()
    return int(status.partition("VmRSS:")[2].split()[0])


def main() -> int:
    """Run the cycles. Returns 0; whoever reads the accounts judges them."""
    wanted = json.load(sys.stdin)
    for one in wanted:  # one after the other the first time: the kernel loads what it needs for each
        come_and_go(one)
    cycles(FIRST, wanted)
    before = account()
    cycles(int(sys.argv[1]), wanted)
    print(json.dumps({"before": before, "after": settled(before)}), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
