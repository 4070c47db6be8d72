"""A plan is not for ever: every way is tried, a path that carries no I/O is none, and what moved is found again."""

from typing import Any

import pytest

from agent import timeouts
from agent.host.simulated_san import Lun
from agent.model import Access, Phase
from attachers.problems import Code, Problem
from tests.engine.cdmi_model import INITIATOR, REMOTE, REMOTE_2, wwid_of
from tests.engine.test_attachments import refused
from tests.engine.world import World, running

ONE, TWO = "127.0.0.1:3260", "127.0.0.2:3260"
TARGET = "iqn.2026-01.org.example:lun1"


def standby(world: World, *portals: str, state: str = "standby") -> None:
    """Put the LUN into an ALUA state at these portals; the hosts are told, as by a unit attention."""
    for portal in portals:
        world.san.access[TARGET, portal, 1] = state
    world.kernel.touch()


def links(world: World) -> dict[str, str]:
    """What the links of attachments lead to on the host: what the ledger says of them is no proof."""
    return world.kernel.kernel.links


async def test_a_lun_behind_the_second_portal_only_is_found(world: World) -> None:
    """Case 82: the first portal lets us in, and shows another LUN of the target."""
    source = world.add_object(portals=(ONE, TWO), hidden=(ONE,))
    world.san.add(Lun(TARGET, (ONE,), 7, wwid_of(7), 1 << 20, (INITIATOR,)))
    before = world.kernel.inventory()
    async with running(world) as daemon:
        view = await daemon.attach("vm", source)
        assert [path["via"] for path in view["device"]["paths"]] == [TWO] and view["verified"]
        await daemon.detach("vm")
    assert world.kernel.inventory() == before, "nor is anything left where it was looked for in vain"


async def test_a_path_in_standby_is_passed_over(world: World) -> None:
    """Case 82: it answers to an INQUIRY with the right name, and every read of it fails."""
    source = world.add_object(portals=(ONE, TWO))
    standby(world, ONE)
    before = world.kernel.inventory()
    async with running(world) as daemon:
        view = await daemon.attach("vm", source)
        assert [path["via"] for path in view["device"]["paths"]] == [TWO] and view["phase"] == "attached"
        await daemon.detach("vm")
    assert world.kernel.inventory() == before


@pytest.mark.parametrize("state", ["standby", "unavailable"])
async def test_where_no_path_carries_io_nothing_is_handed_out_and_the_state_is_named(world: World, state: str) -> None:
    source = world.add_object(portals=(ONE, TWO))
    standby(world, ONE, TWO, state=state)
    before = world.kernel.inventory()
    async with running(world) as daemon:
        with pytest.raises(Problem, match=f"ALUA state {state}") as caught:
            await daemon.attach("vm", source)
        assert caught.value.code is Code.DEVICE_TIMEOUT
    assert world.kernel.inventory() == before


async def test_a_path_that_goes_to_standby_is_told_and_comes_back(world: World) -> None:
    """Who has it open is not helped by another path: it stays where it is."""
    source = world.add_object(portals=(ONE, TWO))
    async with running(world) as daemon:
        before = await daemon.attach("vm", source)
        standby(world, ONE, TWO)
        with pytest.raises(Problem, match="standby"):
            await daemon.attach("vm", source, timeout_s=5)
        assert daemon.engine.view("vm")["phase"] == Phase.DEGRADED
        standby(world, ONE, TWO, state="")
        after = await daemon.attach("vm", source)
        assert (after["phase"], after["device"]) == ("attached", before["device"])


async def test_a_map_needs_a_path_that_carries_io_and_counts_no_spare_as_missing(world: World) -> None:
    """Several paths: one in standby joins, for when the others fail; the map is not handed out with that one alone."""
    world.kernel.kernel.multipathd.runs = True
    source = world.add_object(portals=(ONE, TWO))
    standby(world, ONE, TWO)
    async with running(world) as daemon:
        with pytest.raises(Problem, match="standby"):
            await daemon.attach("vm", source, timeout_s=10)
        standby(world, TWO, state="")
        await daemon.attach("vm", source)
        await daemon.engine.settled()
        view = daemon.engine.view("vm")
        assert view["phase"] == "attached" and view["problem"] is None
        assert {path["via"]: path["state"] for path in view["device"]["paths"]} == {ONE: "standby", TWO: "running"}
        await daemon.detach("vm")


async def test_a_lun_whose_number_has_changed_is_found_again_under_a_standing_attachment(world: World) -> None:
    """Case 83: the old place shows nothing any more, the server says where the unit is now; what was there goes."""
    source = world.add_object(lun=1)
    before = world.kernel.inventory()
    async with running(world) as daemon:
        old = await daemon.attach("vm", source, access=Access.RO)
        world.change(lun=5)
        new = await daemon.attach("vm", source, access=Access.RO)
        assert (new["phase"], new["verified"], new["device"]["wwid"]) == ("attached", True, old["device"]["wwid"])
        assert new["device"]["paths"][0]["hctl"].endswith(":5") and new["note"] is None
        assert not [line for line in world.kernel.inventory() if "device 3:0:0:1 " in line], "the old path is gone"
        assert links(world) == {"vm": new["device"]["path"]}, "and not what whoever has the disk opens it by"
        await daemon.detach("vm")
    assert world.kernel.inventory() == before and world.object().permissions == []


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ({"portals": (ONE,)}, {"portals": (TWO,)}),
        ({"lun": 1}, {"lun": 9}),
        ({"target": TARGET}, {"target": "iqn.2026-01.org.example:elsewhere", "lun": 3}),
    ],
    ids=["portal", "number", "target"],
)
async def test_what_moved_over_a_boot_is_asked_for_first(
    world: World, before: dict[str, Any], after: dict[str, Any]
) -> None:
    """Case 83: nothing of the old place is tried, which could be another's by now."""
    source = world.add_object(**before)
    empty = world.kernel.inventory()
    async with running(world) as daemon:
        await daemon.attach("vm", source)
    world.kernel.reboot()
    world.change(**after)
    began = world.clock.now()
    async with running(world) as daemon:
        await daemon.engine.settled()
        view = daemon.engine.view("vm")
        assert (view["phase"], view["verified"], view["problem"]) == ("attached", True, None)
        assert world.clock.now() - began < 5
        await daemon.detach("vm")
    assert world.kernel.inventory() == empty and world.object().permissions == []


async def test_a_server_that_is_away_after_a_boot_keeps_nobody_from_his_disk(world: World) -> None:
    source = world.add_object()
    async with running(world) as daemon:
        await daemon.attach("vm", source)
    world.kernel.reboot()
    world.cdmi.down = Problem(Code.CDMI_UNREACHABLE, "no route")
    async with running(world) as daemon:
        await daemon.engine.settled()
        assert daemon.engine.view("vm")["phase"] == "attached"


async def test_what_is_in_use_where_it_was_stays_and_is_told_until_nobody_uses_it(world: World) -> None:
    """The guest has the old disk open: it is not taken from it, though nothing can be had there any more."""
    source = world.add_object(lun=1)
    before = world.kernel.inventory()
    async with running(world) as daemon:
        await daemon.attach("vm", source, access=Access.RO)
        world.kernel.open_device("3:0:0:1")
        world.change(lun=5)
        view = await daemon.attach("vm", source, access=Access.RO)
        assert view["phase"] == "attached" and "in use by somebody" in view["note"]
        assert [line for line in world.kernel.inventory() if "device 3:0:0:1 " in line]
        with pytest.raises(Problem) as caught:
            await daemon.detach("vm")
        assert caught.value.code is Code.IN_USE
        assert daemon.engine.view("vm")["phase"] == "attached" and links(world) == {"vm": view["device"]["path"]}
    async with running(world) as daemon:  # and no restart forgets it
        await daemon.engine.settled()
        assert "in use by somebody" in daemon.engine.view("vm")["note"]
        world.kernel.close_device("3:0:0:1")
        daemon.engine.tending.round()
        await daemon.engine.settled()
        assert daemon.engine.view("vm")["note"] is None
        await daemon.detach("vm")
    assert world.kernel.inventory() == before


async def test_another_unit_is_never_followed(world: World) -> None:
    """The object has another logical unit by now, says its server: whoever was given the first one keeps its name."""
    source = world.add_object(lun=1)
    async with running(world) as daemon:
        await daemon.attach("vm", source, access=Access.RO)
        world.change(lun=5, wwid=wwid_of(9))
        with pytest.raises(Problem):
            await daemon.attach("vm", source, access=Access.RO, timeout_s=10)
        view = daemon.engine.view("vm")
        assert (view["phase"], view["verified"]) == ("degraded", False)
        assert view["device"]["paths"][0]["hctl"] == "3:0:0:1"
        await daemon.detach("vm")


async def test_a_place_that_is_anothers_here_is_not_taken(world: World) -> None:
    """Two objects have changed their numbers, and one is still where the other is to be: it waits for its turn."""
    first, second = (world.add_object(number, target=TARGET, lun=number) for number in (1, 2))
    before = world.kernel.inventory()
    async with running(world) as daemon:
        await daemon.attach("one", first, access=Access.RO)
        await daemon.attach("two", second, access=Access.RO)
        world.change(1, lun=3)
        world.change(2, lun=1)
        world.san.remove(TARGET, 2)
        with pytest.raises(Problem):
            await daemon.attach("two", second, access=Access.RO, timeout_s=10)
        assert daemon.engine.view("two")["phase"] == "degraded", "LUN 1 is the other's"
        assert (await daemon.attach("one", first, access=Access.RO))["device"]["paths"][0]["hctl"].endswith(":3")
        assert (await daemon.attach("two", second, access=Access.RO))["device"]["paths"][0]["hctl"].endswith(":1")
        for name in ("one", "two"):
            await daemon.detach(name)
    assert world.kernel.inventory() == before


async def test_a_map_gets_its_new_paths_under_its_user(world: World) -> None:
    """Case 83 with several paths: a portal has moved; the map goes on, and so does who has it open."""
    three = "127.0.0.3:3260"
    world.kernel.kernel.multipathd.runs = True
    source = world.add_object(portals=(ONE, TWO))
    before = world.kernel.inventory()
    async with running(world) as daemon:
        old = await daemon.attach("vm", source)
        await daemon.engine.settled()
        world.kernel.open_map(wwid_of(1))
        world.change(portals=(ONE, three))
        world.san.dead.add(TWO)
        world.clock.advance(timeouts.TEND_S)
        for _ in range(2):
            await daemon.attach("vm", source)
            await daemon.engine.settled()
            world.clock.advance(timeouts.TEND_S)
        view = daemon.engine.view("vm")
        assert view["phase"] == "attached" and view["device"]["node"] == old["device"]["node"]
        assert {path["via"] for path in view["device"]["paths"]} == {ONE, three}
        assert links(world) == {"vm": view["device"]["path"]}
        world.kernel.close_map(wwid_of(1))
        world.san.dead.clear()
        daemon.engine.tending.round()
        await daemon.engine.settled()
        await daemon.detach("vm")
    assert world.kernel.inventory() == before


async def test_over_fibre_channel_too(world: World) -> None:
    """The port has changed: what comes back by itself at the old one is ours no more once the new one is in use."""
    world.cable(REMOTE, REMOTE_2)
    source = world.add_fc_object()
    before = world.kernel.inventory()
    async with running(world) as daemon:
        await daemon.attach("vm", source, access=Access.RO)
        world.change(target=REMOTE_2, lun=4)
        view = await daemon.attach("vm", source, access=Access.RO)
        assert view["phase"] == "attached" and view["device"]["paths"][0]["hctl"].endswith(":4") and not view["note"]
        assert links(world) == {"vm": view["device"]["path"]}
        await daemon.detach("vm")
    assert world.kernel.inventory() == before


async def test_another_protocol_where_the_first_is_not_offered_any_more(world: World) -> None:
    world.cable()
    source = world.add_object_with_two_exports(first={}, second={})
    before = world.kernel.inventory()
    async with running(world) as daemon:
        assert (await daemon.attach("vm", source, access=Access.RO))["protocol"] == "iscsi"
        world.change(exported=False)
        view = await daemon.attach("vm", source, access=Access.RO)
        assert (view["protocol"], view["phase"], view["verified"]) == ("fc", "attached", True)
        assert links(world) == {"vm": view["device"]["path"]}
        await daemon.detach("vm")
    assert world.kernel.inventory() == before


async def test_what_may_not_have_been_written_out_where_it_was_is_not_given_up_silently(world: World) -> None:
    """The old disk was written to, and is silent: the new one is handed out, and the doubt is told on and on."""
    source = world.add_object(lun=1)
    before = world.kernel.inventory()
    async with running(world) as daemon:
        await daemon.attach("vm", source)
        world.change(lun=5)
        view = await daemon.attach("vm", source)
        assert view["phase"] == "attached" and "may not have been written out" in view["note"]
        with pytest.raises(Problem) as caught:
            await daemon.detach("vm")
        assert caught.value.code is Code.DIRTY
        await daemon.detach("vm", force=True)
    assert world.kernel.inventory() == before


async def test_where_another_unit_has_the_old_number_the_first_is_found_all_the_same(world: World) -> None:
    """The other one's disk is not left behind. What was written to the first may be in it: that is said at the end."""
    source = world.add_object(lun=1)
    before = world.kernel.inventory()
    async with running(world) as daemon:
        await daemon.attach("vm", source)
        world.change(lun=5)
        world.san.add(Lun(TARGET, (ONE,), 1, wwid_of(7), 1 << 20, (INITIATOR,)))
        view = await daemon.attach("vm", source)
        assert (view["phase"], view["device"]["wwid"], view["note"]) == ("attached", wwid_of(1), None)
        assert len(list(world.kernel.kernel.devices())) == 1
        await refused(daemon.detach("vm"), Code.DIRTY)
        await daemon.detach("vm", force=True)
    assert world.kernel.inventory() == before
