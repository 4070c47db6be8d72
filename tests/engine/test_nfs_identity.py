"""Which file it is: pinned at the first attach, compared on every look, asked for on its server before it is anew."""

import asyncio
from pathlib import Path
from typing import Any

import pytest

from agent.host.simulated_faults import Moment
from agent.model import DomainRequest, Present, Request
from attachers.problems import Code, Problem
from attachers.sights import Query
from attachers.steps import LINKS, MakeDisk, Mount, Step
from tests.engine.cdmi_model import SHARE, SIZE
from tests.engine.test_nfs import FILE, detach_refused, refused
from tests.engine.world import BOTH, World, running


@pytest.fixture
def world(fast_disk: Path) -> World:
    return World(fast_disk)


async def test_a_file_that_was_replaced_under_a_link_is_not_led_to(world: World) -> None:
    """Case 93: whoever opened the link now would write to another file; the same file again is handed out again."""
    source, files = world.add_file(), world.san.nfs.exports[SHARE.source]
    world.kernel.add_domain("one-42")
    right = files["images/1.img"]
    async with running(world) as daemon:
        await daemon.attach("vm", source, **FILE)
        world.san.nfs.put(SHARE, "images/1.img", size=SIZE)
        problem = await refused(daemon, source, **FILE)
        assert problem.code is Code.WRONG_DEVICE and "another file" in problem.detail
        view = daemon.engine.view("vm")
        assert (view["phase"], view["verified"], view["link"], view["device"]) == ("degraded", False, None, None)
        assert "vm" not in world.kernel.kernel.links
        with pytest.raises(Problem) as caught:
            await daemon.engine.give("vm", DomainRequest("one-42", "sda"))
        assert caught.value.code is Code.BUSY and not world.kernel.kernel.domains["one-42"].disks
        files["images/1.img"] = right
        view = await daemon.attach("vm", source, **FILE)
        assert (view["phase"], view["verified"], view["link"]) == ("attached", True, f"{LINKS}/vm")
        await daemon.detach("vm")
        assert not world.kernel.inventory()


@pytest.mark.parametrize("fsid", [True, False])
@pytest.mark.parametrize("present", list(Present))
async def test_a_file_that_was_replaced_over_a_reboot_is_not_handed_out(
    world: World, present: Present, fsid: bool
) -> None:
    """Case 93: neither another number nor another file system; a detach, and an attach, says that it is meant."""
    source = world.add_file()
    async with running(world) as daemon:
        await daemon.attach("vm", source, present=present)
    world.kernel.reboot()
    if fsid:
        world.san.nfs.fsids[SHARE.source] = "77:0"
    else:
        world.san.nfs.put(SHARE, "images/1.img", size=SIZE)
    async with running(world) as daemon:
        await daemon.engine.settled()
        view = daemon.engine.view("vm")
        assert (view["phase"], view["verified"]) == ("degraded", False)
        assert view["problem"]["code"] == "wrong-device" and "attach again" in view["problem"]["hint"]
        assert not world.kernel.kernel.links and not world.kernel.kernel.shares.disks
        await daemon.detach("vm")
        assert (await daemon.attach("vm", source, present=present))["verified"]
        await daemon.detach("vm")
        assert not world.kernel.inventory()


async def test_a_file_is_swapped_between_look_and_step(world: World) -> None:
    """Case 93: the very descriptor that LIO gets is compared."""
    source = world.add_file()

    async def swap(moment: Moment, what: Step | Query) -> None:
        if isinstance(what, MakeDisk) and moment is Moment.BEFORE:
            world.san.nfs.put(SHARE, "images/1.img", size=SIZE)

    world.kernel.hook = swap
    async with running(world) as daemon:
        assert (await refused(daemon, source)).code is Code.WRONG_DEVICE
        assert not world.kernel.inventory()


async def rebooted(world: World, source: str, present: Present = Present.BLOCK) -> None:
    """Attached, and the host starts again."""
    async with running(world) as daemon:
        await daemon.attach("vm", source, present=present)
    world.kernel.reboot()


async def test_the_server_is_asked_before_a_file_is_mounted_anew(world: World) -> None:
    """Case 93: while it is away nothing is mounted; then all is well by itself."""
    source = world.add_file()
    await rebooted(world, source)
    world.cdmi.down = Problem(Code.CDMI_UNREACHABLE, "no answer", hint="wait")
    async with running(world) as daemon:
        await daemon.engine.settled()
        view = daemon.engine.view("vm")
        assert (view["phase"], view["verified"], view["problem"]["code"]) == ("degraded", False, "cdmi-unreachable")
        assert not world.kernel.inventory(), "neither mounted nor handed out"
        world.cdmi.down = None
        daemon.engine.tending.round()
        await daemon.engine.settled()
        view = daemon.engine.view("vm")
        assert (view["phase"], view["verified"]) == ("attached", True)
        await daemon.detach("vm")


async def test_each_object_of_a_share_is_asked_for(world: World) -> None:
    """Case 93: also where another one has the share mounted by then."""
    sources = [world.add_file(number) for number in (1, 2)]
    async with running(world) as daemon:
        for name, source in zip("ab", sources, strict=True):
            await daemon.attach(name, source)
    world.kernel.reboot()
    del world.cdmi.objects[world.object(2).object_id]
    async with running(world) as daemon:
        await daemon.engine.settled()
        assert daemon.engine.view("a")["phase"] == "attached"
        view = daemon.engine.view("b")
        assert (view["phase"], view["problem"]["code"]) == ("degraded", "not-found")
        assert "b" not in world.kernel.kernel.links and world.object(1).wwid in world.kernel.kernel.shares.disks
        for name in "ab":
            await daemon.detach(name)
        assert not world.kernel.inventory()


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"target": "images/moved.img"}, "wrong-device"),
        ({"object_id": f"{7:032X}"}, "wrong-device"),
        ({"exported": False}, "no-usable-export"),
    ],
)
async def test_an_object_that_is_elsewhere_by_now_is_not_looked_for_in_its_old_place(
    world: World, change: dict[str, Any], code: str
) -> None:
    source = world.add_file()
    await rebooted(world, source)
    for name, value in change.items():
        setattr(world.object(), name, value)
    async with running(world) as daemon:
        await daemon.engine.settled()
        view = daemon.engine.view("vm")
        assert (view["phase"], view["verified"], view["problem"]["code"]) == ("degraded", False, code)
        assert view["problem"]["hint"] and not world.kernel.inventory()
        await daemon.detach("vm")


@pytest.mark.parametrize("present", list(Present))
async def test_what_stands_is_adopted_without_its_server(world: World, present: Present) -> None:
    """It is the pinned file, and was never let go."""
    source = world.add_file()
    async with running(world) as daemon:
        await daemon.attach("vm", source, present=present)
    world.cdmi.down = Problem(Code.CDMI_UNREACHABLE, "no answer", hint="wait")
    async with running(world) as daemon:
        await daemon.engine.settled()
        view = daemon.engine.view("vm")
        assert (view["phase"], view["verified"]) == ("attached", True)
        world.cdmi.down = None
        await daemon.detach("vm")


async def test_a_plan_of_an_earlier_life_is_asked_for_too(world: World) -> None:
    """Case 93: nothing was handed out, and nothing pinned, when the daemon went down."""
    source, begun = world.add_file(), asyncio.Event()

    async def stuck(moment: Moment, what: Step | Query) -> None:
        if isinstance(what, Mount) and moment is Moment.BEFORE:
            begun.set()
            await asyncio.Event().wait()

    world.kernel.hook = stuck
    async with running(world) as daemon:
        await daemon.engine.attach(Request("vm", source, **BOTH), wait_s=0)
        await begun.wait()
        assert daemon.ledger.rows["vm"].plan
    world.kernel.hook = None
    world.san.nfs.put(SHARE, "images/1.img", size=SIZE)
    del world.cdmi.objects[world.object().object_id]
    async with running(world) as daemon:
        await daemon.engine.settled()
        view = daemon.engine.view("vm")
        assert (view["phase"], view["problem"]["code"]) == ("failed", "not-found") and not world.kernel.inventory()


async def test_a_row_of_an_earlier_version_gets_its_pin_at_the_next_look(world: World) -> None:
    source = world.add_file()
    async with running(world) as daemon:
        await daemon.attach("vm", source)
        plan = daemon.ledger.rows["vm"].plan or {}
        old = {key: value for key, value in plan.items() if key not in ("fsid", "fileid")}
        await daemon.ledger.change("vm", plan=old)
    async with running(world) as daemon:
        await daemon.engine.settled()
        assert daemon.engine.view("vm")["phase"] == "attached" and daemon.ledger.rows["vm"].plan == plan
        await daemon.detach("vm")


async def test_a_guest_that_has_the_old_file_keeps_it(world: World) -> None:
    """Case 93: a detach is refused for who has the pinned file open, and its link does not come back."""
    source = world.add_file()
    async with running(world) as daemon:
        await daemon.attach("vm", source, **FILE)
        world.kernel.kernel.shares.open.setdefault(SHARE.file("images/1.img"), []).append("qemu (pid 7)")
        world.san.nfs.put(SHARE, "images/1.img", size=SIZE)
        assert (await detach_refused(daemon)).code is Code.IN_USE
        view = daemon.engine.view("vm")
        assert (view["phase"], view["verified"], view["link"]) == ("degraded", False, None)
        assert not world.kernel.kernel.links
        world.kernel.kernel.shares.open.clear()
        await daemon.detach("vm")
        assert not world.kernel.inventory()
