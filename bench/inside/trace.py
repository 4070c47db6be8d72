"""Processes counted by the kernel: fork and exec of a family, in a tracing instance of our own."""

import re
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

TRACING = Path("/sys/kernel/tracing")
INSTANCE = TRACING / "instances/bench"
EVENTS = ("sched_process_fork", "sched_process_exec", "sched_process_exit")
FORK = re.compile(r"sched_process_fork: .*?pid=(\d+) child_comm=.*? child_pid=(\d+)")
EXEC = re.compile(r" (\d+\.\d+): sched_process_exec: filename=(\S+) pid=(\d+)")
EXIT = re.compile(r" (\d+\.\d+): sched_process_exit: .*?pid=(\d+)")
SLICE = Path("/sys/fs/cgroup/system.slice")


def set_up() -> None:
    """Make the instance, with a buffer that a run does not fill, and its events ready; it records only when told."""
    INSTANCE.mkdir(exist_ok=True)
    (INSTANCE / "tracing_on").write_text("0")
    (INSTANCE / "buffer_size_kb").write_text("2048")
    (INSTANCE / "trace_clock").write_text("mono")
    for event in EVENTS:
        (INSTANCE / "events/sched" / event / "enable").write_text("1")


def threads_below(pid: int) -> set[int]:
    """The threads of a process and of all its descendants."""
    found = set()
    for task in Path(f"/proc/{pid}/task").iterdir():
        found.add(int(task.name))
        for child in (task / "children").read_text().split():
            found |= threads_below(int(child))
    return found


def threads_of(services: Iterable[str]) -> set[int]:
    """The threads of some services."""
    return {int(tid) for service in services for tid in (SLICE / service / "cgroup.threads").read_text().split()}


@dataclass(slots=True)
class Program:
    """One that was executed: its name, and from when to when in ms since the trace began."""

    what: str
    start_ms: float
    took_ms: float = 0.0


@contextmanager
def traced(family: set[int]) -> Iterator[list[Program]]:
    """Yield a list that holds, after the block, what these threads and all that come from them executed."""
    executed: list[Program] = []
    running: dict[int, Program] = {}
    began = time.monotonic()
    (INSTANCE / "trace").write_text("")
    (INSTANCE / "tracing_on").write_text("1")
    try:
        yield executed
    finally:
        (INSTANCE / "tracing_on").write_text("0")
    family = set(family)
    for line in (INSTANCE / "trace").read_text().splitlines():
        if fork := FORK.search(line):
            if int(fork[1]) in family:
                family.add(int(fork[2]))
        elif (found := EXEC.search(line)) and int(found[3]) in family:
            running[int(found[3])] = Program(found[2].rpartition("/")[2], (float(found[1]) - began) * 1e3)
            executed.append(running[int(found[3])])
        elif (ended := EXIT.search(line)) and (program := running.pop(int(ended[2]), None)):
            program.took_ms = (float(ended[1]) - began) * 1e3 - program.start_ms
