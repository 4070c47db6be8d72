"""`python -m bench.content`: an import through the socket, beside curl on the server's own URL, in turns."""

import argparse
import os
import socket
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from urllib.parse import quote

from bench import rows
from bench.service import House, resident_mb

SIZE_MB = 1024
RUNS = 5
TICK_S = 0.02


def main(argv: Sequence[str] | None = None) -> int:
    """Measure. Returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m bench.content", description=__doc__)
    parser.add_argument("--size", type=int, default=SIZE_MB, metavar="MB", help=f"of the object ({SIZE_MB})")
    parser.add_argument("--runs", type=int, default=RUNS, metavar="N", help="runs of each, after a discarded one")
    options = parser.parse_args(argv)
    with tempfile.TemporaryDirectory(prefix="cdmi-bench.") as top, House(Path(top)) as house:
        url = make_object(house, options.size)
        measured = measure(house, url, options.size, options.runs)
    rows.save(measured)
    print(rows.table(measured))
    return 0


def make_object(house: House, size_mb: int) -> str:
    """An object that is no zeros, on the server; its URL."""
    url = f"{house.url.rstrip('/')}/content"
    with tempfile.TemporaryFile() as value:
        block = os.urandom(1 << 20)
        for _ in range(size_mb):
            value.write(block)
        value.seek(0)
        put = urllib.request.Request(url, value, {"Content-Length": str(size_mb << 20)}, method="PUT")
        with urllib.request.urlopen(put, timeout=600) as answer:
            answer.read()
    return url


def measure(house: House, url: str, size_mb: int, runs: int) -> list[rows.Row]:
    """MB/s of each, in turns, and how the daemon's memory grows meanwhile."""
    route = f"http://localhost/v1/objects/content?uri={quote(url, safe='')}"
    ways = {
        "ours": ["--unix-socket", str(house.socket), route],
        "peer": [url],
        "cat": [],
    }
    paces: dict[str, list[float]] = {way: [] for way in ways}
    idle = resident_mb(house.daemon.pid)
    with Highest(house.daemon.pid) as highest:
        for _ in range(runs + 1):
            for way, words in ways.items():
                command = ["curl", "-sSf", "-o", "/dev/null", *words] if words else cat(house, url)
                paces[way].append(size_mb / timed(command))
    middle = {way: rows.middle(found[1:]) for way, found in paces.items()}
    return [
        pace("content.curl", middle["ours"], middle["peer"], runs),
        pace("content.cat_o", middle["cat"], middle["peer"], runs),
        rows.row("content.rss", "MiB", ours=highest.mb, floor=idle, runs=1),
        rows.row("content.rss.growth", "MiB", ours=highest.mb - idle, runs=1),
    ]


def pace(name: str, ours: float | None, peer: float | None, runs: int) -> rows.Row:
    """More is better here: `ratio_peer` is how much of the peer's pace is ours."""
    assert ours and peer
    row = rows.row(name, "MB/s", ours=ours, peer=peer, runs=runs)
    return rows.Row(**{**asdict(row), "ratio_peer": round(ours / peer, 2)})


def cat(house: House, url: str) -> list[str]:
    """Our own command, into a file."""
    words = ["cat", url, "-o", str(house.top / "out")]
    return [sys.executable, "-m", "agent.cli.main", "--socket", str(house.socket), *words]


def timed(command: Sequence[str]) -> float:
    """How long it took, in s."""
    began = time.perf_counter()
    subprocess.run(command, check=True, stderr=subprocess.DEVNULL)
    return time.perf_counter() - began


class Highest:
    """The most memory that a process has had resident while the block ran, in MiB."""

    def __init__(self, pid: int) -> None:
        self.mb = 0.0
        self._pid = pid
        self._over, self._end = socket.socketpair()
        self._over.settimeout(TICK_S)
        self._thread = threading.Thread(target=self._watch)

    def __enter__(self) -> "Highest":
        self._thread.start()
        return self

    def __exit__(self, *_error: object) -> None:
        self._end.close()
        self._thread.join()
        self._over.close()

    def _watch(self) -> None:
        while True:
            self.mb = max(self.mb, resident_mb(self._pid))
            try:
                self._over.recv(1)
                return
            except TimeoutError:
                pass


if __name__ == "__main__":
    sys.exit(main())
