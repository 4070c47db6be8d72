"""Case 79: a disk that this host uses already is not handed out for writing, and is not taken from under its user."""

import pytest

from agent.model import Access, DomainRequest, Present
from attachers.problems import Code, Problem
from tests.engine.cdmi_model import INITIATOR, LOCAL, PORTAL, SHARE, wwid_of
from tests.engine.faults import Steps
from tests.engine.test_attachments import phase, refused
from tests.engine.world import Processes, World, running

MOUNT = "mount /srv (seen by pid 1)"
LVM = "device dm-7"


def foreign_disk(world: World, *, holder: str = "") -> str:
    """A LUN that an administrator has logged in to, scanned, and perhaps uses. Returns its address."""
    target = world.object().target
    world.kernel.foreign_session(target, PORTAL)
    hctl = world.kernel.foreign_device(target, PORTAL, world.object().lun)
    if holder:
        world.kernel.open_device(hctl, holder=holder)
    return hctl


async def one_attachment(daemon: Processes, source: str) -> None:
    """Attached, with a borrowed disk."""
    view = await daemon.attach("one", source)
    assert view["phase"] == "attached"


async def test_a_disk_that_is_mounted_is_not_handed_out_for_writing(world: World) -> None:
    source = world.add_object(permissions=[INITIATOR])
    hctl = foreign_disk(world, holder=MOUNT)
    before = world.kernel.inventory()
    async with running(world) as daemon:
        problem = await refused(daemon.attach("one", source), Code.IN_USE)
        assert MOUNT in problem.detail
        assert world.kernel.inventory() == before, "and nothing of the refused attach is left"
        view = await daemon.attach("two", source, access=Access.RO)
        assert view["phase"] == "attached", "to be read it may be, beside its user"
        world.kernel.close_device(hctl, holder=MOUNT)
        await daemon.detach("two")
        await daemon.detach("one")
    assert world.kernel.inventory() == before


async def test_a_borrowed_disk_stays_with_its_user_at_the_detach(world: World) -> None:
    source = world.add_object(permissions=[INITIATOR])
    hctl = foreign_disk(world)
    async with running(world) as daemon:
        await one_attachment(daemon, source)
        before = world.kernel.inventory()
        world.kernel.open_device(hctl, holder="domain vm7 (qemu-system-x86_64, pid 7)")
        problem = await refused(daemon.detach("one"), Code.IN_USE)
        assert "domain vm7" in problem.detail
        assert world.kernel.inventory() == before and phase(daemon, "one") == "attached", "its link stays"
        assert world.object().permissions == [INITIATOR]
        world.kernel.close_device(hctl, holder="domain vm7 (qemu-system-x86_64, pid 7)")
        await daemon.detach("one")


async def test_a_borrowed_disk_gets_a_user_at_the_last_moment(world: World) -> None:
    """After the link went, and before the permission does: both stay."""
    source = world.add_object()
    async with running(world) as daemon:
        await daemon.attach("one", source)
        hctl = (daemon.engine.view("one"))["device"]["paths"][0]["hctl"]
        world.kernel.foreign_removal(hctl)
        world.kernel.foreign_device(world.object().target, PORTAL, 1)
        await daemon.attach("one", source)
        before, permitted = world.kernel.inventory(), list(world.object().permissions or ())

        async def opens(_: object, what: object) -> None:
            if type(what).__name__ == "Unpublish" and not world.kernel.kernel.users(wwid_of(1)):
                world.kernel.open_device(hctl, holder=LVM)

        world.kernel.hook = opens
        problem = await refused(daemon.detach("one"), Code.IN_USE)
        world.kernel.hook = None
        assert LVM in problem.detail
        assert world.kernel.inventory() == before and world.object().permissions == permitted
        world.kernel.close_device(hctl, holder=LVM)
        await daemon.detach("one")


@pytest.mark.parametrize("lost", [False, True])
async def test_lvm_is_first_after_a_boot(world: World, lost: bool) -> None:
    """The kernel finds a LUN behind FC before the daemon runs, and LVM a volume group on it: whoever wrote it."""
    world.cable()
    source = world.add_fc_object()
    async with running(world) as daemon:
        await daemon.attach("one", source)
    world.kernel.reboot()
    if lost:
        (world.disk / "created.sqlite").unlink()
    (hctl,) = (device.hctl for _, device in world.kernel.kernel.devices())
    world.kernel.open_device(hctl, holder=LVM)
    permitted = list(world.object().permissions or ())
    async with running(world) as daemon:
        await daemon.engine.settled()
        assert phase(daemon, "one") == "degraded"
        assert LVM in daemon.engine.view("one")["problem"]["detail"]
        problem = await refused(daemon.detach("one"), Code.IN_USE)
        assert LVM in problem.detail
        assert world.object().permissions == permitted == [LOCAL], "nor is it withdrawn under its user"
        world.kernel.close_device(hctl, holder=LVM)
        await daemon.attach("one", source)
        assert phase(daemon, "one") == "attached"
        await daemon.detach("one")


async def test_the_users_of_another_path_to_the_unit_count(world: World) -> None:
    """The administrator uses it by a path that the export does not name."""
    source = world.add_object(portals=(PORTAL, "10.0.0.3:3260"), permissions=[INITIATOR])
    world.change(portals=(PORTAL, "10.0.0.3:3260"))
    target = world.object().target
    world.kernel.foreign_session(target, "10.0.0.3:3260")
    hctl = world.kernel.foreign_device(target, "10.0.0.3:3260", 1)
    world.kernel.open_device(hctl, holder=MOUNT)
    world.object().portals = (PORTAL,)
    async with running(world) as daemon:
        problem = await refused(daemon.attach("one", source), Code.IN_USE)
        assert MOUNT in problem.detail


async def test_a_borrowed_disk_keeps_owner_and_flag_and_the_note_says_so(world: World) -> None:
    world.settings = type(world.settings)(owner="qemu:kvm")
    source = world.add_object(permissions=[INITIATOR])
    hctl = foreign_disk(world)
    async with running(world) as daemon:
        view = await daemon.attach("one", source)
        found = world.kernel.kernel.device(hctl)
        assert found and (found[1].owner, found[1].set_read_only) == ("root:disk", False)
        assert "keeps its owner root:disk" in view["note"] and "qemu:kvm" in view["note"]
        await daemon.attach("one", source)
        assert daemon.engine.view("one")["note"].count("keeps its owner") == 1
        await daemon.detach("one")


async def test_our_own_guest_is_no_stranger(world: World) -> None:
    """It has the disk open; the link that was lost meanwhile is made again, and a second reader is let in."""
    source = world.add_object()
    world.kernel.add_domain("vm1")
    async with running(world) as daemon:
        await daemon.attach("one", source, access=Access.RO, domain=DomainRequest("vm1", "sda"))
        world.kernel.kernel.links.pop("one")
        view = await daemon.attach("one", source, access=Access.RO, domain=DomainRequest("vm1", "sda"))
        assert view["phase"] == "attached"
        await daemon.attach("two", source, access=Access.RO)
        await daemon.detach("two")
        await daemon.detach("one")


async def test_what_is_ours_and_used_by_others_is_not_handed_out_either(world: World) -> None:
    """A program that was faster than we were."""
    source = world.add_object()

    async def is_faster(_: object, what: object) -> None:
        if type(what).__name__ == "Publish":
            for _, device in world.kernel.kernel.devices():
                device.holders = [LVM]

    async with running(world) as daemon:
        world.kernel.hook = is_faster
        with pytest.raises(Problem) as caught:
            await daemon.attach("one", source)
        world.kernel.hook = None
        assert LVM in caught.value.detail and not world.kernel.kernel.links
        for _, device in world.kernel.kernel.devices():
            device.holders.clear()
        await daemon.detach("one")
    assert world.object().permissions == []


@pytest.mark.parametrize("present", [Present.BLOCK, Present.FILE])
async def test_a_file_that_somebody_writes_to_is_not_handed_out_for_writing(world: World, present: Present) -> None:
    """By another mount of the share, or as root beneath ours; whoever only reads it stands in nobody's way."""
    source = world.add_file()
    users = world.kernel.kernel.shares.elsewhere.setdefault(SHARE.file("images/1.img"), ["qemu (pid 7)"])
    async with running(world) as daemon:
        problem = await refused(daemon.attach("one", source, present=present), Code.IN_USE)
        assert "qemu (pid 7)" in problem.detail
        users[:] = ["tar (pid 8)"]
        world.kernel.kernel.shares.readers.add("tar (pid 8)")
        await daemon.attach("three", source, present=present)
        users.clear()
        await daemon.detach("three")
        await daemon.detach("one")
    assert not world.kernel.inventory()


async def test_a_disk_of_a_file_stays_with_its_user_and_keeps_its_link(world: World) -> None:
    source = world.add_file()
    async with running(world) as daemon:
        hctl = (await daemon.attach("one", source))["device"]["paths"][0]["hctl"]
        before = world.kernel.inventory()
        world.kernel.open_device(hctl, holder=LVM)
        seen = Steps(world)
        assert LVM in (await refused(daemon.detach("one"), Code.IN_USE)).detail
        assert world.kernel.inventory() == before and not seen.taken, "the link was never away"
        world.kernel.close_device(hctl, holder=LVM)
        await daemon.detach("one")
