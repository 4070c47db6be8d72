"""Processes counted by the kernel: fork and exec of a family, in a tracing instance of our own."""

import re
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

TRACING = Path("/sys/kernel/tracing")
INSTANCE = TRACING / "instances/bench"
EVENTS = ("sched_process_fork", "sched_process_exec")
FORK = re.compile(r"sched_process_fork: .*?pid=(\d+) child_comm=.*? child_pid=(\d+)")
EXEC = re.compile(r"sched_process_exec: filename=(\S+) pid=(\d+)")
SLICE = Path("/sys/fs/cgroup/system.slice")


def set_up() -> None:
    """Make the instance, with a buffer that a run does not fill, and its events ready; it records only when told."""
    INSTANCE.mkdir(exist_ok=True)
    (INSTANCE / "tracing_on").write_text("0")
    (INSTANCE / "buffer_size_kb").write_text("2048")
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


@contextmanager
def traced(family: set[int]) -> Iterator[list[str]]:
    """Yield a list that holds, after the block, what these threads and all that come from them executed."""
    executed: list[str] = []
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
        elif (found := EXEC.search(line)) and int(found[2]) in family:
            executed.append(found[1].rpartition("/")[2])
