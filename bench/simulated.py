"""`python -m bench.simulated`: cheap things stay cheap; both processes over a simulated host, without a lab.

Everything is measured with no attachment and with 500 (rows `... .0` and `... .500`), the daemon and the helper each
in a process of its own. The floor of a start is a unit that only imports aiohttp and serves; that of the command is an
empty Python.
"""

import argparse
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from pathlib import Path
from statistics import quantiles

from bench import rows
from bench.service import House, call, ready_after, resident_mb

ROOT = Path(__file__).resolve().parents[1]
PYTHON = "/usr/bin/python3"
MANY = 500
AT_ONCE = 16
NAME = "bench-{}"
GROWTH = 1.2
EMPTY_UNIT = """\
import asyncio, os, socket, sys
from aiohttp import web
async def main():
    runner = web.AppRunner(web.Application())
    await runner.setup()
    await web.UnixSite(runner, sys.argv[1]).start()
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
        sock.sendto(b"READY=1", os.environ["NOTIFY_SOCKET"])
    await asyncio.Event().wait()
asyncio.run(main())
"""


def main(argv: Sequence[str] | None = None) -> int:
    """Measure. Returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m bench.simulated", description=__doc__)
    parser.add_argument("--runs", type=int, default=300, metavar="N", help="requests of each kind; starts: a twentieth")
    parser.add_argument("--many", type=int, default=MANY, metavar="N", help="how many attachments are many")
    options = parser.parse_args(argv)
    measured: list[rows.Row] = []
    with tempfile.TemporaryDirectory(prefix="cdmi-bench.") as top, House(Path(top)) as house:
        sources = house.make_luns([NAME.format(number) for number in range(options.many + 1)])
        for count in (0, options.many):
            attach_all(house, dict(list(sources.items())[1 : count + 1]))
            measured += measure(house, sources, count, options.runs)
    rows.save(measured)
    print(rows.table(sorted(measured, key=lambda row: row.name.rpartition(".")[0])))
    print_growth(measured)
    return 0


def attach_all(house: House, sources: dict[str, str]) -> None:
    """Make these attachments, several at once."""
    with ThreadPoolExecutor(AT_ONCE) as pool:
        list(pool.map(lambda item: attach(house, *item), sources.items()))


def attach(house: House, name: str, source: str) -> None:
    status, text = call(house.socket, "PUT", f"/v1/attachments/{name}", {"source": source})
    if status not in (200, 201):
        raise SystemExit(f"{name}: {status} {text.decode()}")


def measure(house: House, sources: dict[str, str], count: int, runs: int) -> list[rows.Row]:
    """All figures at one number of attachments; the one that is put again and again is beside them."""
    starts = max(runs // 20, 3)
    measured = starting(house, count, starts)
    measured.append(rows.row(f"start.cpu.{count}", "s", ours=house.rest(), runs=1))
    measured += resident(house, count)
    measured += requests(f"api.list.{{}}.{count}", runs, lambda: call(house.socket, "GET", "/v1/attachments"))
    measured += command(house, count, starts)
    name, source = next(iter(sources.items()))
    attach(house, name, source)
    route = f"/v1/attachments/{name}"
    measured += requests(
        f"api.put_again.{{}}.{count}", runs, lambda: call(house.socket, "PUT", route, {"source": source})
    )
    measured += requests(f"api.get_one.{{}}.{count}", runs, lambda: call(house.socket, "GET", route))
    call(house.socket, "DELETE", route)
    return measured


def requests(name: str, runs: int, ask: Callable[[], object]) -> list[rows.Row]:
    """p50 and p99 of a round trip, with a connection of its own, on a warm daemon."""
    for _ in range(10):
        ask()
    cuts = quantiles(timed(ask, runs), n=100)
    return [rows.row(name.format(f"p{at}"), "ms", ours=cuts[at - 1], runs=runs) for at in (50, 99)]


def command(house: House, count: int, runs: int) -> list[rows.Row]:
    """`cdmi-attach status` as a whole process and as it is installed (systemd/install.sh), beside an empty Python."""
    main = f"import sys; sys.path.append({str(ROOT)!r}); from agent.cli.main import main; sys.exit(main())"
    status = [PYTHON, "-IS", "-c", main, "--socket", str(house.socket), "status"]
    ours, floor = alternating(lambda: run(status), lambda: run([PYTHON, "-S", "-c", "pass"]), runs)
    return [rows.row(f"cli.status.{count}", "ms", ours=rows.middle(ours), floor=rows.middle(floor), runs=runs)]


def starting(house: House, count: int, runs: int) -> list[rows.Row]:
    """From exec to READY=1, beside a unit that does nothing; the daemon of the last start stays."""
    socket = house.top / "empty.sock"

    def empty() -> float:
        socket.unlink(missing_ok=True)
        process, took_ms = ready_after([sys.executable, "-c", EMPTY_UNIT, str(socket)], house.top)
        process.terminate()
        process.wait()
        return took_ms

    ours, floor = [], []
    for _ in range(runs):
        floor.append(empty())
        ours.append(house.restart_daemon())
    return [rows.row(f"start.ready.{count}", "ms", ours=rows.middle(ours), floor=rows.middle(floor), runs=runs)]


def resident(house: House, count: int) -> list[rows.Row]:
    """Idle resident memory of the daemon and of the helper, in MiB."""
    found = {"daemon": resident_mb(house.daemon.pid), "helper": resident_mb(house.helper.pid)}
    return [rows.row(f"rss.{which}.{count}", "MiB", ours=size, runs=1) for which, size in found.items()]


def alternating(one: Callable[[], object], other: Callable[[], object], runs: int) -> tuple[list[float], list[float]]:
    """The times of two, in turns, in ms; the first run of each is dropped."""
    times: tuple[list[float], list[float]] = ([], [])
    for _ in range(runs + 1):
        for kept, do in zip(times, (one, other), strict=True):
            kept += timed(do, 1)
    return times[0][1:], times[1][1:]


def timed(do: Callable[[], object], runs: int) -> list[float]:
    """How long each call took, in ms."""
    marks = [time.perf_counter()]
    for _ in range(runs):
        do()
        marks.append(time.perf_counter())
    return [(after - before) * 1e3 for before, after in pairwise(marks)]


def run(command: Sequence[str]) -> None:
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)


def print_growth(measured: Sequence[rows.Row]) -> None:
    """How much more each figure is with many attachments."""
    print(f"\nwith many against none (bar: {GROWTH}x)")
    few = {row.name.removesuffix(".0"): row.ours for row in measured if row.name.endswith(".0")}
    for row in measured:
        name, _, count = row.name.rpartition(".")
        if count != "0" and row.ours and few.get(name):
            growth = row.ours / (few[name] or 1)
            print(f"  {name:22} {growth:6.2f}x{'' if growth <= GROWTH else '  missed'}")


if __name__ == "__main__":
    sys.exit(main())
