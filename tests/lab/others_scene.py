"""What others in a lab guest do with disks: use them so that it is hard to see, answer for them; what is told of it."""

import json
import shlex
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any

from tests.host.hidden import MEMORY
from tests.lab.iscsi_scene import wait_for
from tests.lab.stage import LUN_SIZE, Lun, Stage

EVENTS = "curl -sS --unix-socket /run/cdmi-attach/control.sock 'http://localhost/v1/events?follow=0&since={}'"


def events_since(stage: Stage, seq: int, name: str = "") -> list[dict[str, Any]]:
    """What was told since that event, of that attachment or of all."""
    told = [json.loads(line) for line in stage.guest.run(EVENTS.format(seq)).stdout.splitlines()]
    return [event for event in told if name in ("", event["attachment"])]


def last_event(stage: Stage) -> int:
    """The number of the last one."""
    return int(stage.guest.run(f"{EVENTS.format(0)} | tail -n 1 | jq .seq").stdout)


@contextmanager
def mapping(stage: Stage, node: str) -> Iterator[str]:
    """A linear mapping of device-mapper, as LVM makes them, which nobody has open. Yields what it is called."""
    stage.guest.run(f"dmsetup create hidden --table '0 2048 linear {node} 0' && udevadm settle")
    try:
        yield "device dm-"
    finally:
        stage.guest.run("dmsetup remove --retry hidden && udevadm settle")


@contextmanager
def memory(stage: Stage, node: str) -> Iterator[str]:
    """A process that has mapped a disk, and closed its descriptor. Yields what it is called."""
    stage.guest.write("/root/hidden.py", MEMORY)
    unit = ["--unit=hidden", "--service-type=exec", "--property=StandardOutput=truncate:/root/hidden.said"]
    program = f"sleep infinity | exec python3 /root/hidden.py {node}"
    stage.guest.run(["rm", "-f", "/root/hidden.said"])
    stage.guest.run(["systemd-run", "--quiet", *unit, "sh", "-c", program])
    try:
        wait_for(stage, "test -s /root/hidden.said")
        yield "python3 (pid "
    finally:
        stage.guest.run("systemctl stop hidden")


HIDDEN: dict[str, Callable[[Stage, str], AbstractContextManager[str]]] = {"mapping": mapping, "memory": memory}


def hidden_user(stage: Stage, how: str, node: str) -> AbstractContextManager[str]:
    """While somebody uses a disk without a descriptor."""
    return HIDDEN[how](stage, node)


SLOW_MS = 700
_TWIN = """
import rtslib_fb as lio
group = lio.TPG(lio.Target(lio.FabricModule("iscsi"), "{target}", "lookup"), 1)
(unit,) = group.luns
number = unit.lun
unit.delete()
unit = lio.LUN(group, number, lio.BlockStorageObject("twin", dev="/dev/mapper/twin", wwn="{serial}"))
for acl in group.node_acls:
    lio.MappedLUN(acl, number, unit)
"""
_SEEN = """
links() { for name in /dev/cdmi-attach/* /dev/cdmi-attach/path/*; do echo $name $(readlink -f $name); done; }
until test -e /root/enough; do links; sleep 0.1; done | sort -u
"""


@contextmanager
def twin(stage: Stage, lun: Lun, of: Lun) -> Iterator[None]:
    """Behind the server's back a disk answers at a LUN that says another one's name, and is slow to be read.

    The LUN goes with it.
    """
    sectors = LUN_SIZE // 512
    table = f"0 {sectors} delay $(losetup -f --show /root/twin.img) 0 {SLOW_MS}"
    stage.guest.run(f'truncate -s {LUN_SIZE} /root/twin.img && dmsetup create twin --table "{table}"')
    stage.guest.python(_TWIN.format(target=lun.target, serial=of.wwid.removeprefix("naa.6001405")))
    try:
        yield
    finally:
        stage.cdmi("DELETE", f"/{lun.name}/")
        stage.guest.python("import rtslib_fb as lio; lio.BlockStorageObject('twin').delete()")
        stage.guest.run("udevadm settle; dmsetup remove --retry twin && losetup -D")


@contextmanager
def links_seen(stage: Stage) -> Iterator[list[str]]:
    """Where each link to a device leads, at any moment: it is in the list when this has ended."""
    seen: list[str] = []
    stage.guest.write("/root/links.sh", _SEEN)
    unit = ["--unit=links", "--service-type=exec", "--property=StandardOutput=truncate:/root/links"]
    stage.guest.run(["rm", "-f", "/root/enough", "/root/links"])
    stage.guest.run(["systemd-run", "--quiet", *unit, "sh", "/root/links.sh"])
    try:
        yield seen
    finally:
        stage.guest.run(["touch", "/root/enough"])
        wait_for(stage, "! systemctl is-active --quiet links")
    seen += stage.guest.run("cat /root/links").stdout.splitlines()


DROPIN = "/etc/multipath/conf.d/cdmi-attach.conf"
GREEDY, EARLY = "/etc/multipath/conf.d/zz-greedy.conf", "/etc/udev/rules.d/55-early.rules"


@contextmanager
def hasty(stage: Stage, *, told: bool) -> Iterator[None]:
    """multipathd takes whatever it sees, and udev tells ID_WWN of every disk at once, as the rules of sg3-utils do;
    `told`: it is told to leave disks alone that are not proved.
    """
    rule = 'ACTION!="remove", KERNEL=="sd*", ENV{DEVTYPE}=="disk", ENV{ID_WWN}="0x1"'
    stage.guest.run(
        f"mkdir -p /etc/multipath/conf.d && printf 'defaults {{\\n find_multipaths greedy\\n}}\\n' > {GREEDY}"
    )
    stage.guest.run(f"test -e {DROPIN} && printf '%s\\n' {shlex.quote(rule)} > {EARLY} && udevadm control --reload")
    if not told:
        stage.guest.run(f"mv {DROPIN} /root/")
    stage.guest.run("systemctl reload multipathd.service")
    try:
        yield
    finally:
        back = "" if told else f"mv /root/cdmi-attach.conf {DROPIN} && "
        stage.guest.run(f"{back}rm {GREEDY} {EARLY} && udevadm control --reload && systemctl reload multipathd.service")
