"""The hook for a lost host: waits for it as OpenNebula's own does, withdraws it from its disks, and then lets that run.

Whatever is not certain ends it with one line, and no VM is made anew.
"""

from __future__ import annotations

import base64
import binascii
import getopt
import os
import re
import subprocess
import sys
import threading
import xml.etree.ElementTree as ElementTree
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from cdmi_one.clones import object_of
from cdmi_one.failure import Failure
from cdmi_one.pool import Host, hosts, vms_on
from cdmi_one.settings import Settings, load
from cdmi_one.vm import Disk, Vm, show
from cdmi_one.withdrawal import Target, names_of, through, withdraw

STOCK = Path(__file__).resolve().parents[2] / "hooks" / "ft" / "host_error.rb"
STOCK_S = 4 * 3600.0
MIGRATE = 4
"""LCM_STATE of a live migration: the last host of the history is its destination (include/VirtualMachine.h)."""
CYCLES, CYCLE_S = 2, 180
"""What the stock hook waits without -p, and oned's own interval where oned.conf has none."""
SHORT, LONG = "mdrfup:", ["migrate", "delete", "recreate", "force", "no-fencing", "pause=", "unfenced-others"]
OURS = "--unfenced-others"
_INTERVAL = re.compile(r"^\s*MONITORING_INTERVAL_HOST\s*=\s*\"?(\d+)", re.MULTILINE | re.IGNORECASE)


@dataclass(frozen=True)
class Order:
    """What oned's hook was called with: the host, its template as it came, and the options of the stock script.

    `cycles` are waited for the host to come back; `unfenced`: nobody but us fences anything.
    """

    host: str
    template: str
    options: tuple[str, ...]
    cycles: int
    unfenced: bool
    others_too: bool
    by_argument: bool


def host_lost(words: Sequence[str]) -> None:
    """`TEMPLATE OPTIONS`, as arguments or on standard input. Raises `Failure`."""
    order = order_of(words, "" if words else sys.stdin.read())
    if not STOCK.exists():
        raise Failure(f"{STOCK} is not there", "it is OpenNebula's: install it again")
    everyone = _waited_for(order)
    host = _of(everyone, order.host)
    if not host.is_lost:
        print(f"host {host.name} came back: nothing is done")
        return
    settings = load()
    vms = [show(vm) for vm in vms_on(host)]
    _refuse_migrating(vms)
    if order.unfenced and not order.others_too:
        _refuse_others(vms)
    targets = [_target(vm, disk, settings) for vm in vms for disk in vm.disks if is_written(disk)]
    if targets:
        withdraw(targets, names_of(host, everyone, settings), through(host, everyone, settings))
    print(f"host {host.name} is withdrawn from {len(targets)} disks of {len(vms)} VMs")
    _go_on(order)


def order_of(words: Sequence[str], text: str) -> Order:
    """Read what the hook was called with. Raises `Failure`."""
    given = list(words) or text.split()
    remedy = 'the hook has ARGUMENTS = "$TEMPLATE -m -p 5 -u" and ARGUMENTS_STDIN = "yes"'
    try:
        root = ElementTree.fromstring(base64.b64decode(given[0], validate=True))
        options, rest = getopt.getopt(given[1:], SHORT, LONG)
    except (IndexError, binascii.Error, ElementTree.ParseError):
        raise Failure("what the hook was called with is not the template of a host", remedy) from None
    except getopt.GetoptError as error:
        raise Failure(f"the hook's arguments: {error}", remedy) from None
    number, names = (root.findtext("ID") or "").strip(), {name for name, _ in options}
    if not number.isdigit() or rest:
        raise Failure("what the hook was called with is not the template of a host, and options", remedy)
    cycles = next((value for name, value in reversed(options) if name in ("-p", "--pause")), str(CYCLES))
    if not (cycles.isascii() and cycles.isdigit()):
        raise Failure(f"-p {cycles} is no number of monitoring cycles", remedy)
    passed = tuple(name for name, _ in options if name not in ("-p", "--pause", OURS))
    return Order(
        host=number,
        template=given[0],
        options=(*passed, "-p", "0"),
        cycles=int(cycles),
        unfenced=bool(names & {"-u", "--no-fencing"}),
        others_too=OURS in names,
        by_argument=bool(words),
    )


def is_written(disk: Disk) -> bool:
    """Whether it is an object of a CDMI server that a host may write."""
    return disk.is_ours and not disk.read_only


def _waited_for(order: Order) -> tuple[Host, ...]:
    """Look once in each monitoring cycle, for as long as the hook waits, or until the host is back."""
    found = hosts()
    for _ in range(order.cycles):
        if not _of(found, order.host).is_lost:
            break
        threading.Event().wait(_cycle_s())
        found = hosts()
    return found


def _cycle_s() -> int:
    file = Path(
        os.environ.get("ONE_LOCATION") or "/", "etc" if os.environ.get("ONE_LOCATION") else "etc/one", "oned.conf"
    )
    try:
        match = _INTERVAL.search(file.read_text(encoding="utf-8", errors="replace"))
    except OSError:
        match = None
    return int(match[1]) if match else CYCLE_S


def _of(everyone: Sequence[Host], number: str) -> Host:
    for host in everyone:
        if host.id == number:
            return host
    raise Failure(f"oned knows no host {number}", "see: onehost list")


def _refuse_migrating(vms: Sequence[Vm]) -> None:
    """A guest that was on its way here may still run where it came from. Raises `Failure`."""
    for vm in vms:
        if vm.lcm_state == MIGRATE:
            what = f"VM {vm.id} is being migrated, and may still run on {', '.join(vm.hosts[:-1]) or 'another host'}"
            raise Failure(what, "retry the hook when oned says that the migration has ended")


def _refuse_others(vms: Sequence[Vm]) -> None:
    """Nobody fences what is not ours: such a VM could run twice, and write twice. Raises `Failure`."""
    for vm in vms:
        for disk in vm.disks:
            if not disk.read_only and not is_written(disk):
                what = f"disk {disk.number} of VM {vm.id} is of no CDMI server, and with -u nobody fences it"
                raise Failure(what, f"leave -u away and set up ft/fence_host.sh; or say {OURS} in the hook's arguments")


def _target(vm: Vm, disk: Disk, settings: Settings) -> Target:
    return Target(object_of(disk, vm.id, settings), may_miss=disk.is_clone)


def _go_on(order: Order) -> None:
    """OpenNebula's own script; its wait is over. Raises `Failure`."""
    words = [order.template, *order.options]
    given = words if order.by_argument else []
    text = "" if order.by_argument else " ".join(words)
    try:
        done = subprocess.run([str(STOCK), *given], input=text, text=True, timeout=STOCK_S, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise Failure(f"{STOCK}: {error}", "the host is withdrawn; see host_error.log") from None
    if done.returncode:
        what = f"{STOCK.name} ended with status {done.returncode}"
        raise Failure(what, "the host is withdrawn; see host_error.log, and retry the hook")
