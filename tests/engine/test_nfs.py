"""Attaching over NFS: disks made of files, files themselves, one mount for all of them, and servers that die."""

from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from xml.etree import ElementTree

import pytest

from agent.engine.desk import Settings
from agent.host.simulated_faults import Moment
from agent.model import Access, DomainRequest, Outcome, Phase, Present
from attachers.nfs_share import Share
from attachers.problems import Code, Problem
from attachers.sights import Query
from attachers.steps import DEVICES, LINKS, MakeDisk, Step
from tests.engine.cdmi_model import SHARE, SIZE
from tests.engine.world import Processes, World, running

FILE = {"present": Present.FILE}
OPTIONS = "rw,nosuid,nodev,noexec,nosymfollow,vers=4.2"


@pytest.fixture
def world(fast_disk: Path) -> World:
    return World(fast_disk)


async def refused(daemon: Processes, source: str, name: str = "vm", **more: object) -> Problem:
    with pytest.raises(Problem) as caught:
        await daemon.attach(name, source, **more)
    return caught.value


async def detach_refused(daemon: Processes, name: str = "vm") -> Problem:
    with pytest.raises(Problem) as caught:
        await daemon.detach(name)
    return caught.value


def mounts(world: World) -> int:
    return len(world.kernel.kernel.shares.mounts)


async def test_a_file_becomes_a_disk_and_nothing_is_left(world: World) -> None:
    source = world.add_file()
    async with running(world) as daemon:
        view = await daemon.attach("vm", source)
        wwid = world.object().wwid
        assert (view["phase"], view["protocol"], view["verified"]) == ("attached", "nfs", True)
        assert view["device"]["path"] == f"{DEVICES}/{wwid}" and view["device"]["size"] == SIZE
        assert 'type="block"' in view["disk_xml"]
        assert await daemon.outcome("vm", source) is Outcome.ALREADY
        await daemon.detach("vm")
        assert not world.kernel.inventory() and not daemon.helper.guarded.created


async def test_a_file_is_handed_out_itself(world: World) -> None:
    source = world.add_file()
    world.kernel.add_domain("one-42")
    async with running(world) as daemon:
        view = await daemon.attach("vm", source, domain=DomainRequest("one-42", "sda"), **FILE)
        assert (view["device"]["kind"], view["device"]["path"]) == ("file", SHARE.file("images/1.img"))
        disk = ElementTree.fromstring(view["disk_xml"])
        driver, given = disk.find("driver"), disk.find("source")
        assert disk.get("type") == "file" and given is not None and given.get("file") == f"{LINKS}/vm"
        assert driver is not None and driver.get("type") == "raw", "whatever its header looks like"
        await daemon.detach("vm")
        assert not world.kernel.kernel.domains["one-42"].disks
        assert not world.kernel.inventory()


async def test_all_files_of_a_share_have_one_mount(world: World) -> None:
    """Case 62: it goes with its last user."""
    sources = [world.add_file(number) for number in (1, 2)]
    async with running(world) as daemon:
        await daemon.attach("a", sources[0])
        await daemon.attach("b", sources[1], **FILE)
        assert mounts(world) == 1
        await daemon.detach("a")
        assert mounts(world) == 1 and daemon.engine.view("b")["phase"] == "attached"
        await daemon.detach("b")
        assert not world.kernel.inventory()


async def test_one_object_both_ways(world: World) -> None:
    source = world.add_file()
    async with running(world) as daemon:
        await daemon.attach("a", source, access=Access.RO)
        await daemon.attach("b", source, access=Access.RO, **FILE)
        await daemon.detach("a")
        assert daemon.engine.view("b")["phase"] == "attached" and mounts(world) == 1
        await daemon.detach("b")
        assert not world.kernel.inventory()


async def test_a_file_in_use_stays_where_it_is(world: World) -> None:
    source = world.add_file()
    async with running(world) as daemon:
        await daemon.attach("vm", source, **FILE)
        users = world.kernel.kernel.shares.open.setdefault(SHARE.file("images/1.img"), [])
        users.append("qemu (pid 7)")
        before = world.kernel.inventory()
        problem = await detach_refused(daemon)
        assert problem.code is Code.IN_USE and "qemu (pid 7)" in problem.detail
        assert world.kernel.inventory() == before, "its link was put back"
        assert daemon.engine.view("vm")["phase"] == "attached"
        users.clear()
        await daemon.detach("vm")
        assert not world.kernel.inventory()


async def test_a_disk_in_use_stays_where_it_is(world: World) -> None:
    source = world.add_file()
    async with running(world) as daemon:
        view = await daemon.attach("vm", source)
        hctl = view["device"]["paths"][0]["hctl"]
        world.kernel.open_device(hctl)
        before = world.kernel.inventory()
        assert (await detach_refused(daemon)).code is Code.IN_USE
        assert world.kernel.inventory() == before
        world.kernel.close_device(hctl)
        await daemon.detach("vm")
        assert not world.kernel.inventory()


async def test_a_dead_server_is_given_up_and_nothing_is_left(world: World) -> None:
    """Cases 57 and 58; and another server is not held up."""
    other = Share("127.0.0.6", "/srv", "4")
    sources = [world.add_file(1), world.add_file(2, share=other)]
    world.san.nfs.dead.add(SHARE.server)
    async with running(world) as daemon:
        problem = await refused(daemon, sources[0])
        assert problem.code is Code.TARGET_TIMEOUT and problem.hint
        assert not world.kernel.inventory()
        assert (await daemon.attach("b", sources[1]))["phase"] == "attached"
        world.san.nfs.dead.clear()
        assert (await daemon.attach("vm", sources[0]))["phase"] == "attached"
        await daemon.detach("vm")
        await daemon.detach("b")
        assert not world.kernel.inventory()


@pytest.mark.parametrize("present", list(Present))
async def test_a_server_that_dies_under_an_attachment(world: World, present: Present) -> None:
    """Case 57: what was handed out stays, is said to be degraded, and is well again with its server."""
    source = world.add_file()
    async with running(world) as daemon:
        await daemon.attach("vm", source, present=present)
        before = world.kernel.inventory()
        world.san.nfs.dead.add(SHARE.server)
        problem = await refused(daemon, source, present=present, timeout_s=10)
        assert problem.code is Code.TARGET_TIMEOUT
        assert daemon.engine.view("vm")["phase"] == Phase.DEGRADED
        assert world.kernel.inventory() == before
        world.san.nfs.dead.clear()
        assert (await daemon.attach("vm", source, present=present))["phase"] == "attached"
        world.san.nfs.dead.add(SHARE.server)
        if present is Present.FILE:  # what the kernel has of it, nobody can tell (98)
            assert (await detach_refused(daemon)).code is Code.DIRTY and mounts(world) == 1
            await daemon.detach("vm", force=True)
            assert daemon.engine.view("vm")["tainted"]
        else:
            await daemon.detach("vm")
        assert not world.kernel.inventory(), "nobody had it open, and nothing of its disk was dirty"


async def test_a_file_that_was_replaced_on_the_server_is_told(world: World) -> None:
    source = world.add_file()
    async with running(world) as daemon:
        await daemon.attach("vm", source)
        world.san.nfs.put(SHARE, "images/1.img", size=SIZE)
        problem = await refused(daemon, source)
        assert problem.code is Code.WRONG_DEVICE and "another file" in problem.detail
        assert daemon.engine.view("vm")["phase"] == Phase.DEGRADED
        await daemon.detach("vm")
        assert (await daemon.attach("vm", source))["phase"] == "attached"
        await daemon.detach("vm")


async def test_a_file_that_grows_between_look_and_step_is_looked_at_again(world: World) -> None:
    """Case 94: the disk has the size that the file has when it is made, not that of the look before."""
    source, grown = world.add_file(), 2 * SIZE

    async def grow(moment: Moment, what: Step | Query) -> None:
        if isinstance(what, MakeDisk) and moment is Moment.BEFORE:
            files = world.san.nfs.exports[SHARE.source]
            files["images/1.img"] = replace(files["images/1.img"], size=grown)

    world.kernel.hook = grow
    async with running(world) as daemon:
        view = await daemon.attach("vm", source)
        assert (view["phase"], view["device"]["size"]) == ("attached", grown)
        await daemon.detach("vm")
        assert not world.kernel.inventory()


async def test_discards_are_told_by_the_version_that_the_mount_runs(world: World) -> None:
    """Case 94: nothing is tried."""
    world.settings = Settings(nfs_downgrade=True)
    sources = [world.add_file(1), world.add_file(2, share=Share("127.0.0.6", "/srv", "4"))]
    world.san.nfs.versions["127.0.0.6"] = ("4.1",)
    async with running(world) as daemon:
        for name, source in zip("ab", sources, strict=True):
            await daemon.attach(name, source)
        disks = world.kernel.kernel.shares.disks
        assert [disks[world.object(number).wwid].discard for number in (1, 2)] == [True, False]
        for name in "ab":
            await daemon.detach(name)


async def test_a_file_in_a_read_only_export_is_not_handed_out_for_writing(world: World) -> None:
    """It is opened so, and nothing is written."""
    source = world.add_file()
    world.san.nfs.read_only.add(SHARE.source)
    async with running(world) as daemon:
        problem = await refused(daemon, source, **FILE)
        assert problem.code is Code.TARGET_REFUSED and "read-only" in problem.detail and "access ro" in problem.hint
        assert (await refused(daemon, source)).code is Code.TARGET_REFUSED, "nor is a disk made of it"
        assert not world.kernel.inventory()
        view = await daemon.attach("vm", source, access=Access.RO, **FILE)
        assert view["verified"] and view["note"] is None
        await daemon.detach("vm")


async def test_what_root_cannot_open_is_said(world: World) -> None:
    source = world.add_file()
    world.san.nfs.squashed.add(SHARE.source)
    async with running(world) as daemon:
        view = await daemon.attach("vm", source, **FILE)
        assert view["phase"] == "attached" and "root_squash" in view["note"] and "no_root_squash" in view["note"]
        world.san.nfs.squashed.clear()
        assert (await daemon.attach("vm", source, **FILE))["note"] is None, "as it was last seen"
        await daemon.detach("vm")


async def test_a_stale_mount_of_ours_is_made_anew(world: World) -> None:
    """Case 60: where nobody has anything of it; what was handed out is left as it is."""
    sources = [world.add_file(number) for number in (1, 2)]
    async with running(world) as daemon:
        await daemon.attach("vm", sources[0], **FILE)
        world.san.nfs.stale.add(SHARE.source)
        problem = await refused(daemon, sources[0], **FILE)
        assert problem.code is Code.TARGET_REFUSED and "stale" in problem.detail
        problem = await refused(daemon, sources[1], name="b")
        assert "stale" in problem.detail
        assert daemon.engine.view("vm")["phase"] == Phase.DEGRADED and mounts(world) == 1
        await daemon.detach("vm")
        assert (await daemon.attach("vm", sources[0]))["phase"] == "attached"
        await daemon.detach("vm")
        assert not world.kernel.inventory()


async def test_a_mount_over_ours_is_refused_and_left_alone(world: World) -> None:
    """Case 64."""
    source = world.add_file()
    async with running(world) as daemon:
        await daemon.attach("vm", source, **FILE)
        world.kernel.kernel.shares.add(SHARE.point, "127.0.0.9:/other", options=OPTIONS)
        assert (await refused(daemon, source, **FILE)).code is Code.CONFLICT
        problem = await detach_refused(daemon)
        assert problem.code is Code.CONFLICT and SHARE.point in problem.hint
        assert mounts(world) == 2 and daemon.engine.view("vm")["phase"] == Phase.QUARANTINED
        world.kernel.kernel.shares.drop(SHARE.point)
        await daemon.detach("vm")
        assert not world.kernel.inventory()


async def test_another_share_at_our_place_is_neither_used_nor_touched(world: World) -> None:
    """Case 61."""
    source = world.add_file()
    world.kernel.kernel.shares.add(SHARE.point, "127.0.0.9:/other", options=OPTIONS)
    before = world.kernel.inventory()
    async with running(world) as daemon:
        assert (await refused(daemon, source)).code is Code.CONFLICT
        assert world.kernel.inventory() == before


async def test_a_lower_version_only_where_it_is_allowed(world: World) -> None:
    """Case 61."""
    source = world.add_file()
    world.san.nfs.versions[SHARE.server] = ("4.1",)
    async with running(world) as daemon:
        assert (await refused(daemon, source)).code is Code.TARGET_REFUSED
        assert not world.kernel.inventory()
    world.settings = Settings(nfs_downgrade=True)
    async with running(world) as daemon:
        view = await daemon.attach("vm", source, **FILE)
        assert view["device"]["paths"][0]["via"] == f"{SHARE.source} (NFS 4.1)"
        await daemon.detach("vm")


async def test_one_file_is_one_objects(world: World) -> None:
    sources = [world.add_file(number) for number in (1, 2)]
    world.object(2).target = world.object(1).target
    async with running(world) as daemon:
        await daemon.attach("a", sources[0])
        problem = await refused(daemon, sources[1], name="b")
        assert problem.code is Code.CONFLICT and "another object" in problem.detail
        await daemon.detach("a")


async def test_the_wish_survives_a_reboot(world: World) -> None:
    source = world.add_file()
    async with running(world) as daemon:
        await daemon.attach("vm", source)
    world.kernel.reboot()
    async with running(world) as daemon:
        with suppress(Problem):
            await daemon.engine.settled()
        assert daemon.engine.view("vm")["phase"] == "attached"
        await daemon.detach("vm")
        assert not world.kernel.inventory()
