"""A libvirt domain that boots tests/lab/writing_sector.py: that it goes on, and what it has left on its disk."""

import base64
import shlex
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from tests.lab.stage import SERIAL, Stage
from tests.lab.writing_sector import EACH, FAILED, FIRST, SECTOR, SECTORS, WELL, WRONG, lost, newest

MORE = SECTORS // EACH + 1
"""So many lines, and every sector has been written again."""
WAIT_S = 180


@contextmanager
def writing(stage: Stage, name: str, disk: str) -> Iterator["Writer"]:
    """While a domain with that disk (libvirt's element) writes to it."""
    stage.start_domain(name, disk=disk, paused=False)
    try:
        yield Writer(stage, name)
    finally:
        stage.guest.run(f"virsh -q destroy {name}", check=False)


@dataclass(frozen=True)
class Writer:
    """The domain."""

    stage: Stage
    name: str

    @property
    def _lines(self) -> str:
        return f"grep -c -a -F {shlex.quote(WELL)} {SERIAL.format(self.name)}"

    def while_still(self, line: str) -> str:
        """The command, run while the domain stands still with every write of it done (see tests/lab/writer.py)."""
        return f"virsh -q suspend {self.name} && {{ {line}; virsh -q resume {self.name}; }}"

    def told(self) -> str:
        """Every error that it has told of so far, a letter each (E, W)."""
        return self.stage.guest.run(f"tr -d '\\r\\n{WELL}' < {SERIAL.format(self.name)}").stdout

    def lines(self) -> int:
        """How many lines of sectors it has told of."""
        return int(self.stage.guest.run(self._lines).stdout)

    def writes(self) -> None:
        """Wait until it has written some more."""
        self._until_lines(1)

    def fails(self) -> None:
        """Wait until it tells of an error once more."""
        errors = f"grep -c -a -F {FAILED} {SERIAL.format(self.name)}"
        loop = f"had=$({errors}); until [ $({errors}) -gt $had ]; do sleep 0.2; done"
        self.stage.guest.run(["timeout", str(WAIT_S), "sh", "-c", loop], timeout_s=WAIT_S + 30)

    def recovers(self) -> None:
        """Wait until it writes again after errors, and goes on; it never reads otherwise than it wrote."""
        self._until_lines(1)
        before = self.told()
        assert WRONG not in before
        self.goes_on(after=before)

    def goes_on(self, *, after: str = "") -> None:
        """Wait until it has written every sector again, and see that nothing went wrong but what it told before."""
        self._until_lines(MORE)
        assert self.told() == after, "errors of the BIOS (E), or sectors that read otherwise than they were written (W)"

    def _until_lines(self, more: int) -> None:
        loop = f"had=$({self._lines}); until [ $({self._lines}) -ge $((had + {more})) ]; do sleep 0.2; done"
        self.stage.guest.run(["timeout", str(WAIT_S), "sh", "-c", loop], timeout_s=WAIT_S + 30)

    def has_lost_nothing(self, node: str) -> None:
        """See, once it has ended, that each sector has its last number, on the host and by the server."""
        first, last = FIRST * SECTOR, (FIRST + SECTORS) * SECTOR - 1
        by_host = f"dd if={node} bs={SECTOR} skip={FIRST} count={SECTORS} iflag=direct status=none"
        by_server = shlex.join([*self.stage.read_value(self.name), "-r", f"{first}-{last}"])
        same = f"{by_server} | cmp - /root/by-host && base64 -w0 /root/by-host"
        sectors = base64.b64decode(self.stage.guest.run(f"{by_host} > /root/by-host && {same}").stdout)
        assert not lost(sectors)
        assert newest(sectors) >= EACH * self.lines(), "what it told of is there"
