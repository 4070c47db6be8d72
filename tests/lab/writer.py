"""A user of a disk in the guest: tests/lab/inside_writer.py as a service, and what it says when it is stopped."""

import json
import shlex
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from tests.lab.guest import Guest

SAID = "/root/writer.json"
FIRST = 50
"""So many writes are done before anything is let happen."""


@dataclass
class Written:
    """What came of it; filled when the writer has ended. `longest_s` is the longest that one write took."""

    written: int = 0
    errors: int = -1
    wrong: int = -1
    longest_s: float = 0.0

    @property
    def well(self) -> bool:
        """Whether every write was done, and is what is read."""
        return self.errors == self.wrong == 0 and self.written > FIRST


def while_still(line: str) -> str:
    """The shell line, run at a moment at which no write is under way. The writer goes on after it, as if nothing were.

    A kernel that is host and array at once needs it: where a cable is pulled under a write, the array's half waits for
    that write's data for ever (Linux 6.1 tcm_fc, ft_prlo, target_wait_for_cmds), on the one queue (libfc, fc_rport_eq)
    on which the host's half would notice that its port is gone.
    """
    stopped = 'while read line < /proc/$pid/stat; do case $line in *") T "*) break;; esac; sleep 0.01; done'
    hold = f"pid=$(systemctl show -P MainPID writer.service); kill -STOP $pid; {stopped}"
    return f"{hold}; {line}; kill -CONT $pid"


@contextmanager
def writing(guest: Guest, link: str) -> Iterator[Written]:
    """Write numbered, checksummed blocks to a disk all the while, and read them back at the end."""
    unit = ["--quiet", "--collect", "--unit=writer", f"--property=StandardOutput=file:{SAID}"]
    unit += ["--property=WorkingDirectory=/opt/cdmi-attach"]
    guest.run(["systemd-run", *unit, "/usr/bin/python3", "-m", "tests.lab.inside_writer", link])
    begun = f"while read _ _ _ _ n _ < /sys/block/$0/stat; [ $n -lt {FIRST} ]; do sleep 0.05; done"
    result = Written()
    try:
        guest.run(f"timeout 60 sh -c {shlex.quote(begun)} $(basename $(realpath {link}))")
        yield result
    finally:
        ended = "while systemctl --quiet is-active writer.service; do sleep 0.1; done"
        said = guest.run(f"systemctl kill writer.service; timeout 90 sh -c {shlex.quote(ended)}; cat {SAID}").stdout
    for name, value in json.loads(said).items():
        setattr(result, name, value)
    print(result)
