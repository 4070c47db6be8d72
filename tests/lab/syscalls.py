"""The system calls of the helper's processes, in order, told by strace and not by the helper."""

import re
import shlex
from collections.abc import Iterator
from contextlib import contextmanager

from tests.lab.guest import Guest

TRACE = "/root/syscalls.trace"
PROCESSES = "/sys/fs/cgroup/system.slice/cdmi-attach-helperd.service/cgroup.procs"
WATCHED = "fsync,ioctl,write"
LONG_S = 60
RELEASE = "systemctl stop syscalls.service"
"""Ends the watch: what it delays goes on."""


@contextmanager
def watched(guest: Guest, *more: str) -> Iterator[list[str]]:
    """Watch what the helper and its workers do to devices; the calls are there when the watch has ended.

    `more` are options of strace, which can also delay a call.
    """
    calls: list[str] = []
    strace = shlex.join(["strace", "-f", "-qq", "-y", "-e", f"trace={WATCHED}", "-o", TRACE, *more])
    attached = "for p in $(cat {0}); do grep -q 'TracerPid:.[1-9]' /proc/$p/status || exit 1; done"
    wait = f"until ( {attached.format(PROCESSES)} ); do sleep 0.1; done"
    command = f"exec {strace} $(sed 's/^/-p /' {PROCESSES})"
    try:
        guest.run(["systemd-run", "--quiet", "--collect", "--unit=syscalls", "sh", "-c", command])
        guest.run(["timeout", str(LONG_S), "bash", "-c", wait])
        yield calls
    finally:
        guest.run(RELEASE, check=False)
        calls += [call for call in guest.run(f"cat {TRACE}").stdout.splitlines() if "resumed>" not in call]


def assert_in_order(calls: list[str], *wanted: str) -> None:
    """Each of these is called, after the one before it."""
    at = 0
    for pattern in wanted:
        found = next((n for n, call in enumerate(calls[at:], at) if re.search(pattern, call)), None)
        assert found is not None, f"no {pattern} in: " + " / ".join(calls[at:])
        at = found + 1


def writes_out(node: str) -> tuple[str, str]:
    """The calls that write a block device out, and forget what is cached of it."""
    done = r"(\)\s+= 0| <unfinished)"
    return rf"fsync\(\d+<{node}>{done}", rf"ioctl\(\d+<{node}>, BLKFLSBUF{done}"


def deletes(hctl: str) -> str:
    """The call that deletes the SCSI device at that address."""
    return rf'write\(\d+</sys/devices/.*/{hctl}/delete>, "1"'
