"""Links and udev, by our very rule: what has proved itself gets a link that goes with it, and nothing else does."""

import time
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import pytest

from agent.host import announced, dm, links, linux_links, proofs, sysfs
from agent.host.roots import Roots
from agent.host.tools import Tools
from agent.host.uevents import Changes
from attachers.problems import Code, Problem
from attachers.steps import JoinMap, LeaveMap, Publish, Unpublish
from tests.unit.linux_tree import WWID, add_disk, add_session, link, roots_in, write
from tests.unit.udev_model import Udev

ONE, TWO = "6:0:0:1", "7:0:0:2"
NAME = dm.multipath_name(WWID)
PUBLISH = Publish("vm", ONE, WWID, False, "")
IN_CAPITALS = f"naa.{WWID[4:].upper()}\0\0\0\0"


class Host:
    """Two disks at two addresses, sda and sdb, that both say the same name; and udev."""

    def __init__(self, roots: Roots, *, rule: bool = True, wwid: str = WWID) -> None:
        self.roots = roots
        for number, hctl in enumerate((ONE, TWO), 1):
            add_disk(roots, add_session(roots, number, host=number + 5), number, f"sd{'ab'[number - 1]}", wwid=wwid)
            self.renew(hctl, number)
        self.udev = Udev(roots, rule=rule)
        self.tools = Tools(roots, cast(Any, self.udev), Changes(), cast(Any, None), cast(Any, None))

    def renew(self, hctl: str, sequence: int) -> None:
        """Another disk is at that address."""
        write(Path(self.disk(hctl).place) / f"block/{self.disk(hctl).node}/diskseq", str(sequence))

    def disk(self, hctl: str) -> sysfs.Disk:
        found = sysfs.disk(self.roots, hctl)
        assert found
        return found

    def claim(self, *hctls: str) -> None:
        for hctl in hctls:
            links.claim(self.roots, hctl, unit=WWID)
            self.udev.event(self.disk(hctl).node or "")

    async def publish(self, hctl: str) -> None:
        publish = Publish("vm", hctl, WWID, False, "")
        await linux_links.lead_to_disk(self.tools, publish, self.disk(hctl), soon())

    def linked(self) -> str | None:
        return links.of_device(self.roots, WWID)

    def add_map(self, *nodes: str) -> dm.Map:
        block = self.roots.sys / "devices/virtual/block/dm-0"
        for name, text in (
            ("dm/uuid", dm.uuid_of(WWID)),
            ("dm/name", "mpatha"),
            ("dm/suspended", "0"),
            ("dev", "253:0"),
        ):
            write(block / name, text)
        for node in nodes:
            (block / "slaves" / node).mkdir(parents=True)
        link(self.roots.sys / "block/dm-0", block)
        (self.roots.dev / "dm-0").touch()
        found = dm.at(self.roots, "dm-0")
        assert found
        return found


@pytest.fixture
def roots(tmp_path: Path) -> Roots:
    return roots_in(tmp_path)


def soon() -> float:
    return time.monotonic() + 5


async def test_of_two_disks_that_say_the_same_only_the_proved_one_is_linked(roots: Roots) -> None:
    """Case 96: udev gives a link to the newcomer; the newcomer here is not proved."""
    host = Host(roots)
    host.claim(ONE)
    assert host.linked() is None, "not by what it says"
    await host.publish(ONE)
    assert host.linked() == "/dev/sda"
    host.claim(TWO)
    assert host.linked() == "/dev/sda"
    entry = host.udev.event("sdb")
    assert entry["ID_SERIAL"] == f"cdmi-attach-{TWO}" and "ID_WWN" not in entry, "multipathd leaves it alone"
    assert (roots.devices / f"path/{TWO}").readlink() == Path("../../sdb")
    host.udev.remove("sda")
    assert host.linked() is None and not (roots.devices / WWID).is_symlink()


@pytest.mark.parametrize("wwid", [IN_CAPITALS, "iqn.2012-06.com.example:t,lun,0", "t10.FreeBSD iSCSI DISK"])
async def test_the_link_goes_with_its_disk_whatever_the_kernel_calls_that(roots: Roots, wwid: str) -> None:
    """Case 76: ours and udev's are one link."""
    host = Host(roots, wwid=wwid)
    host.claim(ONE)
    await host.publish(ONE)
    assert sorted(path.name for path in roots.devices.iterdir()) == [WWID, "path"]
    host.udev.remove("sda")
    (roots.dev / "sda").write_text("another tenant's disk")
    assert not (roots.devices / WWID).exists()


async def test_the_link_of_a_disk_that_was_there_before_goes_with_it_too(roots: Roots) -> None:
    """Case 95."""
    host = Host(roots)
    before = host.udev.event("sda")
    await host.publish(ONE)
    assert host.linked() == "/dev/sda" and not (roots.devices / "path").exists()
    entry = host.udev.event("sda")
    assert {key for key in entry if key not in before} == {"CDMI_ATTACH_LINK"}, "it stays as its owner has it"
    host.udev.remove("sda")
    assert not (roots.devices / WWID).is_symlink()


@pytest.mark.parametrize("claimed", [True, False])
async def test_without_our_rule_a_link_of_the_hosts_own_has_to_do(
    roots: Roots, claimed: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(linux_links, "KEPT_S", 0.01)
    host = Host(roots, rule=False)
    if claimed:
        host.claim(ONE)
    with pytest.raises(Problem) as refused:
        await host.publish(ONE)
    assert refused.value.code is Code.UNSUPPORTED_ON_HOST and proofs.RULE in refused.value.hint
    assert not (roots.devices / WWID).is_symlink() and not list(roots.proofs.iterdir())
    for name, node in (("ata-other", "sda"), ("wwn-0x6001405", "sdb"), ("wwn-0x6001405335a0af48", "sda")):
        link(roots.dev / "disk/by-id" / name, roots.dev / node)
    await host.publish(ONE)
    assert (roots.devices / WWID).readlink() == Path("../disk/by-id/wwn-0x6001405335a0af48")
    assert host.linked() == "/dev/sda"


async def test_where_the_unit_is_at_another_disk_the_first_gives_its_link_up(roots: Roots) -> None:
    host = Host(roots)
    host.claim(ONE, TWO)
    await host.publish(ONE)
    await host.publish(TWO)
    assert host.linked() == "/dev/sdb" and host.udev.claims[f"cdmi-attach/{WWID}"] == ["sdb"]
    host.udev.event("sda")
    assert host.linked() == "/dev/sdb"
    host.udev.remove("sdb")
    assert not (roots.devices / WWID).is_symlink()


async def test_what_comes_at_the_same_address_has_to_prove_itself_anew(roots: Roots) -> None:
    """FC: the kernel brings disks back by itself, and the claim outlasts them."""
    host = Host(roots)
    host.claim(ONE)
    await host.publish(ONE)
    host.renew(ONE, 9)
    assert host.udev.event("sda")["ID_SERIAL"] == f"cdmi-attach-{ONE}" and host.linked() is None
    assert not proofs.is_linked(roots, "sda", WWID)
    links.drop_stale_claims(roots)
    assert not list(roots.proofs.iterdir())


async def test_a_path_of_a_map_is_told_to_multipathd_once_it_is_proved(roots: Roots) -> None:
    host = Host(roots)
    announced.put(roots, WWID)
    host.claim(ONE, TWO)
    assert host.udev.event("sda")["ID_SERIAL"] != NAME
    await linux_links.tell_path(host.tools, JoinMap(ONE, WWID), host.disk(ONE), soon())
    entry = host.udev.event("sda")
    assert (entry["ID_SERIAL"], entry["ID_WWN"]) == (NAME, f"0x{WWID[4:20]}") and host.linked() is None
    assert host.udev.event("sdb")["ID_SERIAL"] != NAME
    host.add_map("sda")
    host.udev.event("dm-0")
    assert host.linked() == "/dev/dm-0"
    await linux_links.untell_path(host.tools, LeaveMap(ONE, WWID), soon())
    assert proofs.knows_path(roots, host.disk(ONE).number, WWID) is False


class Behind(Changes):
    """udev has so much to do that it comes to our events at the third look only, or (`never`) not at all."""

    def __init__(self, host: Host, *, never: bool = False) -> None:
        super().__init__()
        self.host, self.never, self.looks = host, never, 0
        self.nodes: list[str] = []
        host.tools = replace(host.tools, pool=cast(Any, self), changes=self)

    async def call(self, name: str, args: dict[str, Any], *, timeout_s: float, what: str = "") -> None:
        self.nodes.append(Path(args["path"]).parent.name)

    async def above(self, since: int, *, timeout_s: float) -> None:
        self.looks += 1
        if self.looks == 3 and not self.never:
            for node in self.nodes:
                self.host.udev.event(node)


async def test_a_udev_that_is_behind_is_waited_for(roots: Roots, monkeypatch: pytest.MonkeyPatch) -> None:
    """Else multipathd is given a path that it does not know yet, and calls it blacklisted."""
    monkeypatch.setattr(linux_links, "KEPT_S", 0)
    host = Host(roots)
    announced.put(roots, WWID)
    host.claim(ONE)
    Behind(host)
    await linux_links.tell_path(host.tools, JoinMap(ONE, WWID), host.disk(ONE), soon())
    assert proofs.knows_path(roots, host.disk(ONE).number, WWID)


async def test_the_link_of_a_disk_that_was_there_before_waits_for_it_as_well(
    roots: Roots, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(linux_links, "KEPT_S", 0)
    host = Host(roots)
    host.udev.event("sda")
    Behind(host)
    await host.publish(ONE)
    assert host.linked() == "/dev/sda" and proofs.keeps_link(roots, host.disk(ONE).number, WWID)


async def test_a_udev_that_does_not_come_in_time_is_told(roots: Roots) -> None:
    host = Host(roots)
    announced.put(roots, WWID)
    host.claim(ONE)
    Behind(host, never=True)
    with pytest.raises(Problem, match="udev has not come to /dev/sda") as late:
        await linux_links.tell_path(host.tools, JoinMap(ONE, WWID), host.disk(ONE), time.monotonic() + 0.01)
    assert late.value.code is Code.UNAVAILABLE, "the step is repeated as long as its attach has time"


@pytest.mark.parametrize("ours", [True, False])
async def test_the_link_to_a_map_goes_with_it(roots: Roots, ours: bool) -> None:
    """Case 95: a borrowed map, too, and nothing else of it changes."""
    host = Host(roots)
    if ours:
        announced.put(roots, WWID)
    else:
        announced.put_path(roots, WWID)
    found = host.add_map("sda")
    host.udev.event("dm-0")
    await linux_links.lead_to_map(host.tools, Publish("vm", "", WWID, False, ""), found, soon())
    assert host.linked() == "/dev/dm-0" and proofs.is_linked(roots, "dm-0", WWID)
    assert ("SYSTEMD_READY" in host.udev.event("dm-0")) is ours
    if not ours:
        await linux_links.drop(host.tools, WWID, Unpublish("vm", WWID), soon())
        assert host.linked() is None and not proofs.is_linked(roots, "dm-0", WWID)
        host.udev.event("dm-0")
        assert host.linked() is None
        return
    host.udev.remove("dm-0")
    assert not (roots.devices / WWID).is_symlink()


async def test_what_is_given_back_is_forgotten_by_udev(roots: Roots) -> None:
    host = Host(roots)
    await host.publish(ONE)
    await linux_links.drop(host.tools, WWID, Unpublish("vm", WWID), soon())
    host.udev.event("sda")
    assert host.linked() is None and not list(roots.proofs.iterdir())


def test_what_an_earlier_version_handed_out_stays(roots: Roots) -> None:
    """Its disks have no proofs: the next event would take their links, and their paths out of their maps."""
    host = Host(roots)
    host.claim(ONE, TWO)
    links.put(roots.devices / WWID, "../sda")
    other = f"{WWID[:-1]}f"
    announced.put(roots, WWID)
    host.add_map("sdb")
    proofs.take_over(roots)
    host.udev.event("sda")
    assert host.linked() == "/dev/sda" and proofs.is_linked(roots, "sda", WWID)
    assert host.udev.event("sdb")["ID_SERIAL"] == NAME
    links.put(roots.devices / other, "../sdb")
    proofs.take_over(roots)
    assert not proofs.is_linked(roots, "sdb", other), "once"


def test_a_rule_that_stands_in_place_of_ours_is_not_relied_on(roots: Roots) -> None:
    Udev(roots)
    assert proofs.has_rule(roots)
    link(roots.etc / "udev/rules.d" / proofs.RULE, Path("/dev/null"))
    assert not proofs.has_rule(roots)
