"""Units with several names, and disks that say the name of another one's unit."""

import pytest

from agent.host.simulated_kernel import Device
from attachers.problems import Code
from tests.engine.cdmi_model import PORTAL, wwid_of
from tests.engine.test_attachments import phase, refused
from tests.engine.world import World, running

EUI = "eui.0025385b71b0e3a1"
WWID = wwid_of(1)
LINK = f"/dev/cdmi-attach/{WWID}"
TWO = "10.0.0.2:3260"


@pytest.mark.parametrize("maps", [False, True])
async def test_a_unit_goes_by_one_name_whichever_its_export_says(world: World, maps: bool) -> None:
    """Case 86: link, map and what others need are found by the name that udev and multipath take."""
    world.kernel.kernel.multipathd.runs = maps
    source = world.add_object(portals=(PORTAL, TWO) if maps else (PORTAL,))
    world.change(wwid=EUI, behind=WWID, also=(EUI,))
    other = world.add_object(2)
    world.change(2, behind=WWID)
    before = world.kernel.inventory()
    async with running(world) as daemon:
        view = await daemon.attach("one", source)
        assert view["verified"] and view["device"]["wwid"] == WWID and view["device"]["path"] == LINK
        kernel = world.kernel.kernel
        assert kernel.device_links == {WWID: "/dev/dm-0" if maps else "3:0:0:1"}
        assert {*kernel.maps} == ({WWID} if maps else set())
        await refused(daemon.attach("two", other), Code.WRONG_DEVICE)
        assert phase(daemon, "one") == "attached"
        await daemon.attach("one", source)
        await daemon.detach("one")
    left = world.kernel.inventory()
    assert left == before


async def test_another_object_with_the_other_name_of_a_unit_is_refused(world: World) -> None:
    """Case 86: two objects are not one LUN, by whichever of its names."""
    first, second = world.add_object(), world.add_object(2)
    world.change(also=(EUI,))
    world.change(2, wwid=EUI, behind=WWID, also=(EUI,))
    async with running(world) as daemon:
        await daemon.attach("one", first)
        linked = dict(world.kernel.kernel.device_links)
        await refused(daemon.attach("two", second), Code.CONFLICT)
        assert world.kernel.kernel.device_links == linked
        await daemon.detach("one")
        assert (await daemon.attach("two", second))["device"]["path"] == LINK


@pytest.mark.parametrize("silent", [False, True])
async def test_a_disk_that_says_the_name_of_a_published_one_takes_nothing_of_it(world: World, silent: bool) -> None:
    """Case 96: of two disks that say the same udev gives the link to the newcomer; an unproved one claims none."""
    world.kernel.kernel.multipathd.runs = True
    world.kernel.kernel.multipathd.greedy = True
    good, hostile = world.add_object(), world.add_object(2, portals=(TWO,))
    world.change(2, behind=WWID)
    async with running(world) as daemon:
        await daemon.attach("one", good)
        kernel = world.kernel.kernel
        linked, known = dict(kernel.device_links), {*kernel.multipathd.known}
        found: list[Device] = []

        async def watch(*_: object) -> None:
            found.extend(device for _, device in kernel.devices() if device.hctl != linked[WWID])
            world.san.dead |= {TWO} if found and silent else set()
            assert kernel.device_links == linked and {*kernel.multipathd.known} == known and not kernel.maps

        world.kernel.hook = watch
        await refused(daemon.attach("two", hostile, timeout_s=20), Code.DEVICE_TIMEOUT if silent else Code.WRONG_DEVICE)
        assert found and found[0].wwid == WWID, "it said so to the kernel"
        assert phase(daemon, "one") == "attached" and kernel.device_links == linked
