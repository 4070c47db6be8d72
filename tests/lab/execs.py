"""Counting processes: what a service executed, told by the kernel's own tracing and not by the service."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from tests.lab.guest import Guest

TRACING = "/sys/kernel/tracing"
EVENTS = "events/sched/sched_process_fork events/sched/sched_process_exec"
FORK = re.compile(r"sched_process_fork: .*?pid=(\d+) child_comm=.*? child_pid=(\d+)")
EXEC = re.compile(r"sched_process_exec: filename=(\S+) pid=(\d+)")


@dataclass
class Executed:
    """The programs that the traced services and their descendants executed, in order; filled when the trace ends."""

    programs: list[str] = field(default_factory=list)


@contextmanager
def traced(guest: Guest, *services: str) -> Iterator[Executed]:
    """Trace fork and execve of these services' processes, and of all that come from them."""
    listed = guest.run("cat " + " ".join(f"/sys/fs/cgroup/system.slice/{service}/cgroup.procs" for service in services))
    family = {int(pid) for pid in listed.stdout.split()}
    assert family, services
    switch = "; ".join(f"echo {{0}} > {TRACING}/{event}/enable" for event in EVENTS.split())
    guest.run(f"mount -t tracefs none {TRACING} 2>/dev/null; echo > {TRACING}/trace; {switch.format(1)}")
    executed = Executed()
    yield executed
    trace = guest.run(f"{switch.format(0)}; cat {TRACING}/trace").stdout
    for line in trace.splitlines():
        if fork := FORK.search(line):
            if int(fork[1]) in family:
                family.add(int(fork[2]))
        elif (found := EXEC.search(line)) and int(found[2]) in family:
            executed.programs.append(found[1])
