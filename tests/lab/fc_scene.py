"""Fibre Channel in a lab guest without an HBA: the kernel's software FCoE over veth pairs, with tcm_fc as the array.

Each pair is a fabric of its own (VN2VN, point to point): a port of the host's, and a port of the array's. A port's name
is 0x2000 and its interface's address. The array's targets are made before the ports are, since a port asks at its very
login whether it may come in. And the ports are made before the cables carry anything: a port that hears of another one
while it is being made brings the kernel down (Linux 6.1, libfcoe fcoe_ctlr_vn_recv without a local port).
"""

import json
import shlex
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from attachers.checks import with_colons
from tests.lab.stage import LUN_SIZE, Lun, Stage

FCOE = "/sys/module/libfcoe/parameters"
REMOTE = "/sys/class/fc_remote_ports"
LOST_S = 1
"""How long the kernel waits for a lost port here (dev_loss_tmo), instead of a minute."""
WAIT_S = 60
CREATED = "/var/lib/cdmi-attach-helper/created.sqlite"
ROWS = "SELECT kind, target, portal, hctl, name, wwid FROM created ORDER BY 1, 2, 3, 4, 5, 6"


@dataclass(frozen=True)
class Pair:
    """Two ports that see each other: the host's and the array's, by interface and name."""

    number: int

    @property
    def host(self) -> str:
        return f"fc{2 * self.number}"

    @property
    def array(self) -> str:
        return f"fc{2 * self.number + 1}"

    @property
    def initiator(self) -> str:
        return f"20000200000000{10 + 2 * self.number}"

    @property
    def target(self) -> str:
        return f"20000200000000{11 + 2 * self.number}"

    @property
    def via(self) -> str:
        return f"{with_colons(self.target)} from {with_colons(self.initiator)}"

    @property
    def wire(self) -> str:
        """The command that lays the cable, which carries nothing yet."""
        mine, its = _address(self.initiator), _address(self.target)
        wide = "; ".join(f"ip link set {name} mtu 2500" for name in (self.host, self.array))
        return f"ip link add {self.host} address {mine} type veth peer name {self.array} address {its}; {wide}"


def _address(port: str) -> str:
    return with_colons(port[4:])


def _until(pair: Pair, state: str, role: str = "") -> str:
    """The command that waits until the array's port of a pair is in that state, as the host sees it.

    The shell reads the files itself: on an emulated machine each process of a loop takes its time from the fabric.
    """
    seen = f"for r in {REMOTE}/*; do name= is= role=; read name < $r/port_name; read is < $r/port_state"
    seen += f"; read role < $r/roles; case $name,$is,$role in 0x{pair.target},'{state}',*'{role}'*) exit 0;; esac; done"
    loop = f"while true; do {seen}; sleep 0.05; done 2>/dev/null"
    said = f"{{ grep -H . {REMOTE}/*/port_name {REMOTE}/*/port_state {REMOTE}/*/roles; exit 1; }}"
    return f"timeout {WAIT_S} sh -c {shlex.quote(loop)} || {said}"


def _patience(pair: Pair, seconds: int) -> str:
    """The command that says how long the kernel waits for a lost port; first that nobody gives up earlier.

    multipathd has I/O fail after 5 s (fast_io_fail_tmo), and the kernel wants to wait for longer than that.
    """
    told = f"echo off > $r/fast_io_fail_tmo; echo {seconds} > $r/dev_loss_tmo"
    return f"for r in {REMOTE}/*; do read name < $r/port_name; [ $name != 0x{pair.target} ] || {{ {told}; }}; done"


def _put(name: str, source: str) -> list[str]:
    body = json.dumps({"source": source})
    return ["-X", "PUT", "-H", "Content-Type: application/json", "-d", body, f"http://localhost/v1/attachments/{name}"]


PAIRS = (Pair(0), Pair(1))
CABLES = f"modprobe -a fcoe tcm_fc veth; {'; '.join(pair.wire for pair in PAIRS)}"
PORTS = "; ".join(f"printf %s {name} > {FCOE}/create_vn2vn" for pair in PAIRS for name in (pair.array, pair.host))
OPTIONS = [word for pair in PAIRS for word in ("--fc-target", pair.target, "--fc-initiator", pair.initiator)]
"""Of the server, which makes the targets."""


class Fibre:
    """A stage with Fibre Channel on it."""

    def __init__(self, stage: Stage) -> None:
        self.stage = stage
        self.guest = stage.guest
        self._out: set[Pair] = set()

    def set(self, *server: str, config: str) -> "Fibre":
        """Lay the cables, start the server (these options more), make the ports; wait until they see each other."""
        self.guest.run(f"set -e; {CABLES}")
        self.stage.set(*OPTIONS, *server, config=f"\n[attach]\n{config}\n")
        self.guest.run(PORTS)
        self.plug(*PAIRS)
        return self

    def at_boot(self) -> None:
        """Let all that be so after each boot: cables before the server that `Stage.start_server` starts at boot (it
        needs OPTIONS), ports after it, and they see each other when they do.
        """
        up = "; ".join(f"ip link set {name} up" for pair in PAIRS for name in (pair.host, pair.array))
        self.guest.write("/root/cables.sh", f"{CABLES}\n")
        self.guest.write("/root/ports.sh", f"{PORTS}\n{up}\n")
        service = "[Service]\nExecStartPre=/bin/sh -e /root/cables.sh\nExecStartPost=/bin/sh -e /root/ports.sh\n"
        self.guest.write("/etc/systemd/system/cdmi-server.service.d/fabric.conf", service)

    def pull(self, *pairs: Pair, lost: bool = False, while_still: Callable[[str], str] = str) -> None:
        """Pull cables; `lost`: for so long that the kernel gives the disks up.

        `while_still` has the command run at a moment at which nothing is being written (writer.py, writing_guest.py).
        """
        self._out |= {*pairs}
        patience = [_patience(pair, LOST_S) for pair in pairs if lost]
        down = "; ".join(f"ip link set {pair.array} down" for pair in pairs)
        seen = [_until(pair, "Not Present" if lost else "Blocked") for pair in pairs]
        self.guest.run("; ".join([*patience, while_still(down), *seen]))

    def plug(self, *pairs: Pair) -> None:
        """Put cables back (those that are out, where none is named), and wait until the ports see each other again."""
        pairs = pairs or tuple(self._out)
        up = [f"ip link set {name} up" for pair in pairs for name in (pair.host, pair.array)]
        seen = [_until(pair, "Online", "FCP Target") for pair in pairs]
        if pairs:
            self.guest.run("; ".join([*up, *seen, *(_patience(pair, 60) for pair in pairs)]))
        self._out -= {*pairs}

    def until_disks(self, count: int) -> None:
        """Wait until there are just so many SCSI disks with a block device, and udev is done with them."""
        found = 'set -- /sys/class/scsi_disk/*/device/block/*; [ -e "$1" ] || shift'
        loop = f"while {found}; [ $# != {count} ]; do sleep 0.05; done; udevadm settle"
        self.guest.run(["timeout", str(WAIT_S), "sh", "-c", loop])

    def inventory(self) -> str:
        """What this host has of Fibre Channel disks, and what the helper's record says of them."""
        rows = (
            f"import sqlite3; print(*sqlite3.connect('file:{CREATED}?mode=ro', uri=True).execute({ROWS!r}), sep='\\n')"
        )
        return self.shown() + self.guest.run(f"python3 -SEc {shlex.quote(rows)}").stdout

    def shown(self) -> str:
        """Its disks, maps, links and claims, by other people's tools, once udev is done with them."""
        return self.guest.run(
            "udevadm settle; lsblk -S -n -o HCTL,TRAN; "
            "find /dev/cdmi-attach /run/cdmi-attach/disk /run/cdmi-attach/claim /run/cdmi-attach/map "
            "-mindepth 1 ! -type d -printf '%p %l\\n' 2>/dev/null | sort; "
            "cat /sys/block/dm-*/dm/uuid 2>/dev/null; grep -hs '^/' /etc/multipath/wwids; true"
        ).stdout

    def make_lun(self, name: str, *, content: bytes = b"", permissions: Sequence[str] = (), **metadata: str) -> Lun:
        """A LUN container that is exported over Fibre Channel."""
        wanted = {"cdmi_assignedsize": str(LUN_SIZE), **metadata}
        exports = {"Network/FC": {"permissions": list(permissions)}}
        made = self.stage.cdmi("PUT", f"/{name}/", {"metadata": wanted, "exports": exports})
        if content:
            self.stage.write_blocks(f"/{name}/", content)
        entry = made["exports"]["Network/FC"]
        wwid = str(entry["logical_unit_name"]).replace("0x", "naa.")
        return Lun(name, made["objectID"], wwid, str(entry["logical_unit_number"]))

    def export(self, name: str) -> Any:
        """The FC export of a LUN, as the server tells it."""
        return self.stage.cdmi("GET", f"/{name}/?exports")["exports"]["Network/FC"]

    def hide(self, lun: Lun, pair: Pair) -> None:
        """Take a LUN out of what the array shows a port of the host's, behind the server's back."""
        acl = f"/sys/kernel/config/target/fc/{with_colons(pair.target)}/tpgt_1/acls/{with_colons(pair.initiator)}"
        self.guest.run(f"cd {shlex.quote(acl)}/lun_{lun.target} && rm cdmi && cd .. && rmdir lun_{lun.target}")

    def remap(self, lun: Lun, pair: Pair, other: Lun) -> None:
        """Let another LUN answer at a LUN's number, for one port of the host's, behind everybody's back."""
        group = f"/sys/kernel/config/target/fc/{with_colons(pair.target)}/tpgt_1"
        place = shlex.quote(f"{group}/acls/{with_colons(pair.initiator)}/lun_{lun.target}")
        self.guest.run(f"cd {place} && rm cdmi && ln -s {group}/lun/lun_{other.target} cdmi")

    def ask_again(self, name: str, source: str, *, times: int) -> list[str]:
        """PUT an attachment that stands so many times. Returns the status of each answer."""
        return self._curl([_put(f"{name}#[1-{times}]", source)], times)

    def come_and_go(self, name: str, source: str, *, times: int) -> list[str]:
        """Attach and detach so many times. Returns the status of each answer."""
        return self._curl(
            [_put(name, source), ["-X", "DELETE", f"http://localhost/v1/attachments/{name}"]] * times, times
        )

    def _curl(self, requests: Sequence[Sequence[str]], times: int) -> list[str]:
        fixed = ["-sS", "-o", "/dev/null", "-w", "%{http_code}\\n", "--unix-socket", "/run/cdmi-attach/control.sock"]
        words = [word for request in requests for word in ("--next", *fixed, *request)][1:]
        return self.guest.run(["curl", *words], timeout_s=10 * times + 60).stdout.split()

    def disks(self) -> list[str]:
        """The SCSI disks of this host: address and name, by sysfs."""
        told = "cd /sys/class/scsi_disk && for d in *; do [ -e $d ] && echo $d $(cat $d/device/wwid); done; true"
        return self.guest.run(told).stdout.splitlines()
