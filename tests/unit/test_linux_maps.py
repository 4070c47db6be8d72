"""Multipath maps in sysfs, multipath's file of known LUNs, and what udev is told, on a host of files."""

import asyncio
import errno
import struct
from pathlib import Path
from typing import Any, cast

import pytest

from agent.host import announced, dm, linux_maps, wwids
from agent.host.created import Kind
from agent.host.guarded_judge import look_for, things_of_map
from agent.host.iscsiadm import Iscsiadm
from agent.host.linux_nfs import bearer
from agent.host.lun_sights import LunSights
from agent.host.multipathd import Multipathd
from agent.host.roots import Roots
from agent.host.tools import Tools, deadline_in
from agent.host.uevents import Changes
from agent.workers.pool import Abandoned
from attachers.problems import Code, Problem
from attachers.sights import IscsiQuery
from attachers.steps import RemoveMap
from tests.unit.linux_tree import PORTAL, TARGET, WWID, add_disk, add_session, link, roots_in, write

NAME = f"3{WWID[4:]}"
OTHER = "naa.6001405000000000000000000000002a"


@pytest.fixture
def roots(tmp_path: Path) -> Roots:
    return roots_in(tmp_path)


def add_map(roots: Roots, *slaves: str, node: str = "dm-0", uuid: str = f"mpath-{NAME}", name: str = "mpatha") -> Path:
    """A map as drivers/md/dm-sysfs.c shows it."""
    place = roots.sys / f"devices/virtual/block/{node}"
    for path, text in (("dm/uuid", uuid), ("dm/name", name), ("dm/suspended", "0"), ("size", "131072"), ("ro", "0")):
        write(place / path, text)
    write(place / "dev", f"253:{node[3:]}")
    for folder in ("slaves", "holders"):
        (place / folder).mkdir()
    for slave in slaves:
        link(place / "slaves" / slave, roots.sys / "block" / slave)
    link(roots.sys / f"block/{node}", place)
    return place


def test_a_map_is_known_by_its_uuid_whatever_its_name(roots: Roots) -> None:
    """Case 49: friendly names and aliases are names only."""
    add_disk(roots, add_session(roots), 1)
    add_map(roots, "sda")
    add_map(roots, node="dm-1", uuid="LVM-x", name=NAME)
    add_map(roots, node="dm-2", uuid=dm.uuid_of(OTHER), name="mpathb")
    found = dm.find(roots, [WWID])
    assert found and (found.node, found.name, found.number, found.slaves) == ("dm-0", "mpatha", "253:0", ("sda",))
    assert found.size == 64 << 20 and not found.suspended and not found.read_only
    assert dm.find(roots, ["naa.6001405000000000000000000000002b"]) is None


def test_whoever_has_a_name_already_is_found(roots: Roots) -> None:
    """No disk is made of a file under the name of another one: multipathd would take both for one unit."""
    assert bearer(roots, WWID) is None
    add_disk(roots, add_session(roots), 1)
    assert bearer(roots, WWID) == "sda" and bearer(roots, OTHER) is None
    add_map(roots, uuid=dm.uuid_of(OTHER))
    assert bearer(roots, OTHER) == "dm-0"


def test_a_map_under_another_name_of_the_unit_is_found_by_its_paths(roots: Roots) -> None:
    add_disk(roots, add_session(roots), 1)
    add_map(roots, "sda", uuid="mpath-20123456789abcdef")
    found = dm.find(roots, [WWID], {"sda"})
    assert found and found.uuid == "mpath-20123456789abcdef"
    assert dm.find(roots, ["eui.0123456789abcdef"]) == found


def test_the_partitions_of_a_map(roots: Roots) -> None:
    add_map(roots)
    add_map(roots, node="dm-1", uuid=f"part1-mpath-{NAME}", name="mpatha-part1")
    add_map(roots, node="dm-2", uuid="LVM-x", name="vg-lv")
    whole = dm.find(roots, [WWID])
    assert whole
    assert dm.partition(roots, "dm-1", whole) == ("dm-1", "253:1")
    assert dm.partition(roots, "dm-2", whole) is None


def test_the_address_of_a_disk(roots: Roots) -> None:
    hctl = add_disk(roots, add_session(roots), 1)
    assert dm.hctl_of(roots, "sda") == hctl
    assert dm.hctl_of(roots, "sdz") == ""


TABLE = "1 queue_if_no_path 1 alua 1 1 service-time 0 2 1 8:0 1 8:16 1 "
STATUS = "2 0 0 0 1 1 E 0 2 2 8:0 A 0 0 1 8:16 F 3 0 1 "


def answer(targets: str, opens: int) -> bytes:
    head = dm._HEAD.pack(4, 0, 0, 400, dm._HEAD.size, 1, opens, 0, 0, 0, 0, b"mpatha", b"mpath-x", b"")
    return head + dm._TARGET.pack(0, 131072, 0, 0, b"multipath") + targets.encode() + b"\0"


def test_what_device_mapper_tells_of_a_map(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    control = tmp_path / "control"
    control.touch()

    def ioctl(_: int, request: int, buffer: bytearray) -> None:
        assert request & 0xFF == dm.TABLE_STATUS and request >> 16 & 0x3FFF == dm._HEAD.size
        head = dm._HEAD.unpack_from(buffer)
        assert head[:3] == (4, 0, 0) and head[12].rstrip(b"\0") == b"mpath-x" and not head[11].rstrip(b"\0")
        text = TABLE if head[7] & dm.STATUS_TABLE else STATUS
        buffer[: len(answer(text, 2))] = answer(text, 2)

    monkeypatch.setattr("agent.host.dm.fcntl.ioctl", ioctl)
    seen = dm.map_status("mpath-x", str(control))
    assert seen == {"opens": 2, "queueing": True, "paths": {"8:0": True, "8:16": False}}


@pytest.mark.parametrize(("number", "outcome"), [(errno.ENXIO, None), (errno.EBUSY, Code.IN_USE)])
def test_a_map_is_removed_by_its_uuid(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int, outcome: Code | None
) -> None:
    """Case 47: what is open is refused by the kernel itself."""
    control = tmp_path / "control"
    control.touch()

    def ioctl(*_: Any) -> None:
        raise OSError(number, "no")

    monkeypatch.setattr("agent.host.dm.fcntl.ioctl", ioctl)
    if outcome is None:
        dm.map_remove("mpath-x", str(control))
        dm.map_stop_queueing("mpath-x", str(control))
        assert dm.map_status("mpath-x", str(control)) is None
        return
    with pytest.raises(Problem) as caught:
        dm.map_remove("mpath-x", str(control))
    assert caught.value.code is outcome


def test_the_ioctl_has_the_size_of_the_kernels_structure() -> None:
    assert dm._HEAD.size == 312 and struct.calcsize("=QQiI16s") == dm._TARGET.size == 40


HEADER = "# Multipath wwids, Version : 1.0\n# Valid WWIDs:\n"


def test_what_multipath_lists(roots: Roots) -> None:
    assert not wwids.has(roots, NAME)
    wwids.strike_off(str(wwids.path_of(roots)), NAME)  # there is no file: nothing to do, and none is made
    assert not wwids.path_of(roots).exists()
    path = wwids.path_of(roots)
    write(path, f"{HEADER}/3600a/\n/{NAME}/\n/{NAME}ff/\n#{NAME}/\n/3600b/")
    assert wwids.has(roots, NAME) and wwids.has(roots, "3600b") and not wwids.has(roots, NAME[:-1])
    wwids.strike_off(str(path), NAME)
    assert path.read_text() == f"{HEADER}/3600a/\n/{NAME}ff/\n/3600b/\n"


def test_what_udev_is_told(roots: Roots) -> None:
    assert not announced.has(roots, WWID)
    announced.put(roots, WWID)
    of_path, of_map = roots.announced / WWID, roots.announced / f"mpath-{NAME}"
    assert of_path.read_text().splitlines() == [
        f"CDMI_ATTACH_MAP={WWID}",
        "ID_BUS=scsi",
        f"ID_SERIAL={NAME}",
        f"ID_WWN=0x{WWID[4:20]}",
    ]
    assert of_map.read_text() == f"CDMI_ATTACH_WWID={WWID}\n"
    assert announced.has(roots, WWID) and not announced.is_owned(roots, WWID, (1, 6))
    announced.put(roots, WWID, (1, 6))
    assert announced.is_owned(roots, WWID, (1, 6)) and not announced.is_owned(roots, WWID, (1, 7))
    announced.put(roots, OTHER)
    announced.drop(roots, WWID)
    assert not announced.has(roots, WWID) and not announced.is_ours(roots, WWID)
    assert sorted(path.name for path in roots.announced.iterdir()) == sorted([OTHER, dm.uuid_of(OTHER)])


def test_udev_is_told_nothing_of_a_borrowed_map(roots: Roots) -> None:
    announced.put_path(roots, WWID)
    assert announced.has(roots, WWID) and not announced.is_ours(roots, WWID)
    assert [path.name for path in roots.announced.iterdir()] == [WWID]


class SilentPool:
    """Workers of which every INQUIRY waits for ever in the kernel."""

    def __init__(self) -> None:
        self.asked = 0

    async def call(self, name: str, args: dict[str, Any], *, timeout_s: float, what: str = "") -> Any:
        if name == "map_status":
            return {"opens": 0, "queueing": True, "paths": {"8:16": False}}
        self.asked += 1
        raise Abandoned(what, asyncio.get_running_loop().create_future())


@pytest.mark.parametrize(("state", "asked"), [("running", 1), ("blocked", 0), ("transport-offline", 0)])
async def test_a_silent_path_of_a_map_is_asked_once_however_often_the_map_is_looked_at(
    roots: Roots, state: str, asked: int
) -> None:
    """Case 46: every look that left a worker behind would end with none left on this host."""
    session = add_session(roots)
    hctl = add_disk(roots, session, 1)
    write(session / f"target6:0:0/{hctl}/state", state)
    add_map(roots, "sda")
    pool: Any = SilentPool()
    luns = LunSights(Tools(roots, pool, Changes(), Iscsiadm(roots), Multipathd(roots)))
    for _ in range(3):
        sight = await luns.look(look_for(things_of_map(WWID)[Kind.MAP]), lambda _: ())
        assert sight.map and [(p.hctl, p.designators) for p in sight.map.paths] == [(hctl, frozenset())]
    assert pool.asked == asked


class AnsweringPool(SilentPool):
    """Workers whose every INQUIRY is answered with this name."""

    def __init__(self, name: str) -> None:
        super().__init__()
        self.name = name

    async def call(self, name: str, args: dict[str, Any], *, timeout_s: float, what: str = "") -> Any:
        if name != "prove_path":
            return await super().call(name, args, timeout_s=timeout_s, what=what)
        return {"names": [self.name], "unread": "", "access": ""}


@pytest.mark.parametrize(("answer", "shown"), [(WWID, True), (OTHER, False)])
async def test_the_map_of_another_unit_is_not_taken_for_the_one_that_was_asked_for(
    roots: Roots, answer: str, shown: bool
) -> None:
    """Case 3: a server shows another LUN there, of which this host has a map. That one is none of our business."""
    session = add_session(roots)
    add_disk(roots, session, 1, wwid=answer)
    add_map(roots, "sda", uuid=dm.uuid_of(OTHER) if answer == OTHER else "mpath-20123456789abcdef")
    pool: Any = AnsweringPool(answer)
    luns = LunSights(Tools(roots, pool, Changes(), Iscsiadm(roots), Multipathd(roots)))
    sight = await luns.look(IscsiQuery("vm", TARGET, (PORTAL,), 1, WWID), lambda _: ())
    assert [path.designators for path in sight.paths] == [{answer}]
    assert (sight.map is not None) == shown


FALSE = "cdmi-attach-6:0:0:1"


def test_a_map_of_a_disk_that_was_not_proved_is_found_to_be_taken_away_and_for_nothing_else(roots: Roots) -> None:
    add_disk(roots, add_session(roots), 1)
    add_map(roots, "sda", uuid=f"mpath-{FALSE}", name=FALSE)
    assert dm.find(roots, [WWID]) is None, "nothing is handed out by it"
    found = dm.find_any(roots, [WWID])
    assert found and found.node == "dm-0" and dm.is_misnamed(found)
    assert dm.find_any(roots, [OTHER]) is None
    add_map(roots, node="dm-1")
    right = dm.find_any(roots, [WWID])
    assert right and right.node == "dm-1" and not dm.is_misnamed(right)


class WillingMultipathd:
    """A multipathd that removes a map when it is told to."""

    def __init__(self, roots: Roots) -> None:
        self._roots = roots
        self.told: list[str] = []
        self.does_not_wait: list[str] = []

    async def disable_queueing(self, name: str) -> None:
        self.does_not_wait.append(name)

    async def del_map(self, name: str) -> None:
        self.told.append(name)
        for place in (self._roots.sys / "block").glob("dm-*"):
            if (place / "dm/name").read_text().strip() == name:
                place.unlink()


class DoingPool(SilentPool):
    """Workers who do what they are asked to, as far as a tree of files goes; `called` is what that was."""

    zygote_pid = 0

    def __init__(self) -> None:
        super().__init__()
        self.called: list[tuple[str, Any]] = []

    async def call(self, name: str, args: dict[str, Any], *, timeout_s: float, what: str = "") -> Any:
        self.called.append((name, args.get("name")))
        if name == "users":
            return [[] for _ in args["disks"]]
        return {"opens": 0, "queueing": False, "paths": {"8:0": True}} if name == "map_status" else None


async def test_a_map_of_such_a_name_is_removed_as_the_units_own(roots: Roots) -> None:
    """multipathd made it where find_multipaths is no: a detach of the disk would wait for it for ever."""
    add_disk(roots, add_session(roots), 1)
    add_map(roots, "sda", uuid=f"mpath-{FALSE}", name="mpathx")
    pool, multipathd = DoingPool(), WillingMultipathd(roots)
    tools = Tools(roots, cast(Any, pool), Changes(), Iscsiadm(roots), cast(Any, multipathd))
    await linux_maps.take(tools, RemoveMap(WWID, listed=False), deadline_in(20))
    assert multipathd.told == ["mpathx"] and dm.find_any(roots, [WWID]) is None
    assert ("strike_off", FALSE) in pool.called, "or the next disk at that address would be one that multipath knows"


async def test_every_map_that_was_made_of_its_disks_goes_with_the_units_own(roots: Roots) -> None:
    """As seen on the real kernel: the false map had lost its disk, and stayed, as a probe waited for a path of it."""
    add_disk(roots, add_session(roots), 1)
    add_map(roots, node="dm-0", uuid=f"mpath-{FALSE}", name=FALSE)
    add_map(roots, "sda", node="dm-1")
    add_map(roots, node="dm-2", uuid="mpath-cdmi-attach-7:0:0:9", name="another's")
    pool, multipathd = DoingPool(), WillingMultipathd(roots)
    tools = Tools(roots, cast(Any, pool), Changes(), Iscsiadm(roots), cast(Any, multipathd))
    await linux_maps.take(tools, RemoveMap(WWID, listed=False), deadline_in(20))
    assert multipathd.told == ["mpatha", FALSE] and multipathd.does_not_wait == [FALSE]
    assert [place.name for place in (roots.sys / "block").glob("dm-*")] == ["dm-2"]
