"""A libvirt domain that boots tests/lab/writing_sector.py: that it goes on, and what it has left on its disk."""

import base64
import shlex
from collections.abc import Callable

from tests.lab.stage import SERIAL, Stage
from tests.lab.writing_sector import EACH, FIRST, SECTOR, SECTORS, WELL, lost

MORE = SECTORS // EACH + 1
"""So many lines, and every sector has been written again."""
WAIT_S = 180


def suspended(name: str) -> Callable[[str], str]:
    """What has a command run while the domain stands still, with every write of it done (see tests/lab/writer.py)."""
    return lambda line: f"virsh -q suspend {name}; {line}; virsh -q resume {name}"


def goes_on(stage: Stage, name: str) -> None:
    """Wait until it has written every sector again, and see that nothing went wrong."""
    log = SERIAL.format(name)
    count = f"grep -c -a -F {shlex.quote(WELL)} {log}"
    loop = f"had=$({count}); until [ $({count}) -ge $((had + {MORE})) ]; do sleep 0.2; done"
    stage.guest.run(["timeout", str(WAIT_S), "sh", "-c", loop], timeout_s=WAIT_S + 30)
    told = stage.guest.run(f"tr -d '\\r\\n{WELL}' < {log}").stdout
    assert not told, "errors of the BIOS (E), or sectors that read otherwise than they were written (W)"


def nothing_lost(stage: Stage, name: str, node: str) -> bool:
    """Whether each sector has its last number, on the host and by the server; once the domain has ended."""
    first, last = FIRST * SECTOR, (FIRST + SECTORS) * SECTOR - 1
    by_host = f"dd if={node} bs={SECTOR} skip={FIRST} count={SECTORS} iflag=direct status=none"
    by_server = shlex.join([*stage.read_value(name), "-r", f"{first}-{last}"])
    same = f"{by_server} | cmp - /root/by-host && base64 -w0 /root/by-host"
    told = stage.guest.run(f"{by_host} > /root/by-host && {same}").stdout
    wrong = lost(base64.b64decode(told))
    assert not wrong, wrong
    return True
