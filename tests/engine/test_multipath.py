"""Several paths to one LUN: the map is handed out with the first, the others join; and all of it goes in one go."""

import asyncio
from pathlib import Path
from typing import Any

import pytest

from agent.engine.desk import Settings
from agent.host.simulated_faults import Moment
from agent.model import Access, DomainRequest
from attachers.problems import Code, Problem
from attachers.steps import Login, RemoveDevice, RemoveMap
from tests.engine.cdmi_model import wwid_of
from tests.engine.test_attachments import refused
from tests.engine.world import Processes, World, running

ONE, TWO = "127.0.0.1:3260", "127.0.0.2:3260"
TARGET = "iqn.2026-01.org.example:lun1"
WWID = wwid_of(1)
MAP = f"/dev/cdmi-attach/{WWID}"


@pytest.fixture
def world(fast_disk: Path) -> World:
    """A LUN behind two portals, and a host on which multipathd runs."""
    world = World(fast_disk)
    world.kernel.kernel.multipathd.runs = True
    world.add_object(portals=(ONE, TWO))
    return world


SOURCE = f"cdmi://server/cdmi_objectid/{1:032X}"


def path_states(view: dict[str, Any]) -> dict[str, str]:
    return {path["via"]: path["state"] for path in view["device"]["paths"]}


async def until(daemon: Processes, phase: str, *, within_s: float = 120) -> dict[str, Any]:
    """Wait until the attachment is in that phase, by the host's clock."""
    end = daemon.desk.host.now() + within_s
    while (view := daemon.engine.view("vm"))["phase"] != phase:
        assert daemon.desk.host.now() < end, view
        await daemon.desk.host.changed(daemon.desk.host.changes, timeout_s=1)
    return view


async def test_two_paths_and_back_to_nothing(world: World) -> None:
    before = world.kernel.inventory()
    async with running(world) as daemon:
        view = await daemon.attach("vm", SOURCE)
        assert view["verified"] and view["device"]["path"] == MAP and view["device"]["node"] == "/dev/dm-0"
        await daemon.engine.settled()
        view = daemon.engine.view("vm")
        assert view["phase"] == "attached" and view["problem"] is None and view["note"] is None
        assert path_states(view) == {ONE: "running", TWO: "running"}
        assert world.kernel.kernel.device_links == {WWID: "/dev/dm-0"}
        await daemon.detach("vm")
    assert world.kernel.inventory() == before


async def test_a_repeated_request_takes_no_step(world: World) -> None:
    async with running(world) as daemon:
        await daemon.attach("vm", SOURCE)
        await daemon.engine.settled()
        before = len(daemon.engine.view("vm")["steps"])
        await daemon.attach("vm", SOURCE)
        await daemon.engine.settled()
        assert len(daemon.engine.view("vm")["steps"]) == before


async def test_a_dead_portal_costs_the_caller_nothing(world: World) -> None:
    """Case 17: the answer is there while the login at the dead portal is still pending; events say so, not a clock."""
    world.san.dead.add(TWO)
    async with running(world) as daemon:
        view = await daemon.attach("vm", SOURCE)
        assert view["phase"] == "degraded" and TWO in view["problem"]["detail"]
        told = daemon.desk.events.since(0)
        login = Login(TARGET, TWO).describe()
        assert [e["kind"] for e in told if e.get("what") == login] == ["step-began"], "it has not ended"
        world.san.dead.discard(TWO)
        view = await until(daemon, "attached")
        assert path_states(view) == {ONE: "running", TWO: "running"}
        await daemon.detach("vm")


async def test_a_detach_beside_a_dead_portal(world: World) -> None:
    """What can go, goes at once; only the login that cannot be called off is awaited."""
    before = world.kernel.inventory()
    world.san.dead.add(TWO)
    async with running(world) as daemon:
        await daemon.attach("vm", SOURCE)
        await daemon.detach("vm")
        steps = [event for event in daemon.desk.events.since(0) if event["kind"] == "step-began"]
        assert any(RemoveMap(WWID).describe() == event["what"] for event in steps)
    assert world.kernel.inventory() == before


async def test_as_many_paths_as_were_asked_for(world: World) -> None:
    async with running(world) as daemon:
        view = await daemon.attach("vm", SOURCE, min_paths=2)
        assert view["phase"] == "attached" and path_states(view) == {ONE: "running", TWO: "running"}
        await daemon.detach("vm")
        world.san.dead.add(TWO)
        with pytest.raises(Problem) as caught:
            await daemon.attach("vm", SOURCE, min_paths=2, timeout_s=30)
        assert caught.value.code is Code.TARGET_TIMEOUT and TWO in caught.value.detail
        with pytest.raises(Problem, match="the export names 2 ways") as caught:
            await daemon.attach("vm2", SOURCE, min_paths=3)
        assert caught.value.code is Code.UNSUPPORTED_ON_HOST


async def test_a_path_is_lost_and_comes_back(world: World) -> None:
    """Case 54: nothing is logged out or removed for it."""
    async with running(world) as daemon:
        await daemon.attach("vm", SOURCE)
        await until(daemon, "attached")
        sessions = dict(world.kernel.kernel.sessions)
        world.san.dead.add(TWO)
        world.kernel.set_session_state(TARGET, TWO, "FAILED")
        view = await until(daemon, "degraded")
        assert path_states(view) == {ONE: "running", TWO: "failed"}
        world.san.dead.discard(TWO)
        world.kernel.set_session_state(TARGET, TWO, "LOGGED_IN")
        await until(daemon, "attached")
        assert world.kernel.kernel.sessions == sessions
        await daemon.detach("vm")


async def test_all_paths_are_lost_then_detached(world: World) -> None:
    """Case 45: nothing can be written out, so that it stays, and goes when somebody says that the loss is known."""
    before = world.kernel.inventory()
    async with running(world) as daemon:
        await daemon.attach("vm", SOURCE)
        await until(daemon, "attached")
        for portal in (ONE, TWO):
            world.san.dead.add(portal)
            world.kernel.set_session_state(TARGET, portal, "FAILED")
        with pytest.raises(Problem) as caught:
            await daemon.detach("vm")
        assert caught.value.code is Code.DIRTY and world.kernel.kernel.maps
        await daemon.detach("vm", force=True)
    assert world.kernel.inventory() == before


async def test_a_map_in_use_stays_and_keeps_its_link(world: World) -> None:
    """Case 44: the holder is named."""
    async with running(world) as daemon:
        await daemon.attach("vm", SOURCE)
        await until(daemon, "attached")
        world.kernel.open_map(WWID)
        with pytest.raises(Problem, match=r"somebody \(pid 4711\)") as caught:
            await daemon.detach("vm")
        assert caught.value.code is Code.IN_USE
        assert world.kernel.kernel.links == {"vm": MAP} and world.kernel.kernel.device_links == {WWID: "/dev/dm-0"}
        assert len(world.kernel.kernel.maps[WWID].paths) == 2
        world.kernel.close_map(WWID)
        await daemon.detach("vm")


async def test_a_domain_gets_the_map(world: World) -> None:
    world.kernel.add_domain("one-42")
    async with running(world) as daemon:
        await daemon.attach("vm", SOURCE, domain=DomainRequest("one-42", "sda"))
        assert world.kernel.kernel.maps[WWID].holders == ["domain one-42"]
        await until(daemon, "attached")
        await daemon.detach("vm")
        assert not world.kernel.kernel.maps


async def test_another_lun_behind_one_portal_never_joins(world: World) -> None:
    """Case 3: every path of a map has to be the same logical unit."""
    world.san.astray[TARGET, TWO, 1] = wwid_of(9)
    async with running(world) as daemon:
        view = await daemon.attach("vm", SOURCE)
        await daemon.engine.settled()
        view = daemon.engine.view("vm")
        assert view["phase"] == "degraded" and view["problem"]["code"] == "wrong-device"
        assert len(world.kernel.kernel.maps[WWID].paths) == 1
        await daemon.detach("vm")


async def test_a_lun_swapped_behind_one_path_is_taken_out_of_the_map(world: World) -> None:
    async with running(world) as daemon:
        await daemon.attach("vm", SOURCE)
        await until(daemon, "attached")
        world.kernel.open_map(WWID)
        world.san.astray[TARGET, TWO, 1] = wwid_of(9)
        view = await until(daemon, "degraded")
        await daemon.engine.settled()
        assert daemon.engine.view("vm")["problem"]["code"] == "wrong-device", "and not what is done about it"
        assert world.kernel.kernel.maps[WWID].paths == [
            path["hctl"] for path in view["device"]["paths"] if path["via"] == ONE
        ]
        world.san.astray.clear()
        await until(daemon, "attached")
        assert len(world.kernel.kernel.maps[WWID].paths) == 2, "the right one comes back"
        world.kernel.close_map(WWID)
        await refused(daemon.detach("vm"), Code.DIRTY)
        await daemon.detach("vm", force=True)


async def test_a_later_path_joins_when_multipathd_has_seen_the_map(world: World) -> None:
    """Case 53: what multipathd does not take at once is asked for again."""
    world.kernel.kernel.multipathd.settling = True
    async with running(world) as daemon:
        await daemon.attach("vm", SOURCE)
        waiting = asyncio.create_task(until(daemon, "attached"))
        await daemon.desk.host.changed(daemon.desk.host.changes, timeout_s=5)
        world.kernel.kernel.multipathd.settling = False
        await waiting
        await daemon.detach("vm")


async def test_paths_that_multipathd_does_not_let_go(world: World) -> None:
    """Case 43: it does not hear that they went, and is told."""
    before = world.kernel.inventory()
    async with running(world) as daemon:
        await daemon.attach("vm", SOURCE)
        await until(daemon, "attached")
        world.kernel.kernel.multipathd.deaf = True
        await daemon.detach("vm")
    assert world.kernel.inventory() == before


async def test_a_path_that_somebody_brings_back_is_removed_again(world: World) -> None:
    """Case 12: the server has not withdrawn the LUN yet."""
    before = world.kernel.inventory()
    async with running(world) as daemon:
        await daemon.attach("vm", SOURCE)
        await until(daemon, "attached")
        again = iter([1, 2])

        async def rescan(moment: Moment, what: object) -> None:
            """Somebody else's rescan finds the LUN after the first disk of it is gone, and once more."""
            if moment is Moment.AFTER and isinstance(what, RemoveDevice) and next(again, None):
                world.kernel.foreign_device(TARGET, ONE if what.hctl.startswith("3:") else TWO, 1)

        world.kernel.hook = rescan
        await daemon.detach("vm")
    assert world.kernel.inventory() == before


async def test_a_map_of_somebody_else_is_borrowed(world: World) -> None:
    world.object().permissions = ["iqn.2026-01.org.example:host-1"]
    world.cdmi.show(world.object())
    host = world.kernel.foreign_session(TARGET, ONE)
    world.kernel.kernel.multipathd.listed.add(WWID)
    world.kernel.foreign_device(TARGET, ONE, 1)
    assert world.kernel.kernel.maps[WWID].paths == [f"{host}:0:0:1"]
    before = world.kernel.inventory()
    async with running(world) as daemon:
        await daemon.attach("vm", SOURCE)
        await until(daemon, "attached")
        assert len(world.kernel.kernel.maps[WWID].paths) == 2
        await daemon.detach("vm")
    assert world.kernel.inventory() == before


async def test_multipathd_makes_a_map_of_a_single_path_of_its_own_accord(world: World) -> None:
    """Case 48: find_multipaths "no". The map goes with our disk."""
    world.kernel.kernel.multipathd.greedy = True
    world.change(portals=(ONE,))
    before = world.kernel.inventory()
    async with running(world) as daemon:
        await daemon.attach("vm", SOURCE)
        await daemon.detach("vm")
    assert {line for line in world.kernel.inventory() - before if not line.startswith("multipathd lists")} == set()


@pytest.mark.parametrize("why", ["no multipathd", "never", "no name"])
async def test_one_path_where_there_cannot_be_a_map(world: World, why: str) -> None:
    world.kernel.kernel.multipathd.runs = why != "no multipathd"
    world.settings = Settings(multipath="never" if why == "never" else "auto", allow_unverified=True)
    world.change(named=why != "no name")
    async with running(world) as daemon:
        view = await daemon.attach("vm", SOURCE)
        assert view["phase"] == "attached" and view["device"]["node"] == "/dev/sda"
        assert (view["note"] or "").startswith({"never": ""}.get(why, "one path of 2"))
        await daemon.detach("vm")


@pytest.mark.parametrize("ways", [1, 2])
async def test_always_means_a_map(world: World, ways: int) -> None:
    world.settings = Settings(multipath="always")
    world.change(portals=(ONE, TWO)[:ways])
    async with running(world) as daemon:
        view = await daemon.attach("vm", SOURCE)
        assert view["device"]["node"] == "/dev/dm-0"
        await daemon.detach("vm")
        world.kernel.kernel.multipathd.runs = False
        with pytest.raises(Problem, match="multipathd does not run") as caught:
            await daemon.attach("vm", SOURCE)
        assert caught.value.code is Code.UNSUPPORTED_ON_HOST


async def test_what_stands_is_adopted_without_a_step(world: World) -> None:
    async with running(world) as daemon:
        await daemon.attach("vm", SOURCE)
        await until(daemon, "attached")
    before = world.kernel.inventory()
    async with running(world) as daemon:
        await daemon.engine.settled()
        assert daemon.engine.view("vm")["steps"] == [] and daemon.engine.view("vm")["phase"] == "attached"
        assert world.kernel.inventory() == before
        await daemon.detach("vm")


async def test_after_a_reboot_it_is_made_again(world: World) -> None:
    before = world.kernel.inventory()
    async with running(world) as daemon:
        await daemon.attach("vm", SOURCE)
        await until(daemon, "attached")
    world.kernel.reboot()
    async with running(world) as daemon:
        view = await until(daemon, "attached")
        assert path_states(view) == {ONE: "running", TWO: "running"}
        await daemon.detach("vm")
    assert world.kernel.inventory() == before


async def test_detached_after_a_reboot_nothing_is_left_on_multipaths_list(world: World) -> None:
    before = world.kernel.inventory()
    async with running(world) as daemon:
        await daemon.attach("vm", SOURCE)
        await until(daemon, "attached")
    world.kernel.reboot()
    world.san.dead |= {ONE, TWO}
    async with running(world) as daemon:
        await daemon.detach("vm")
    assert world.kernel.inventory() == before


async def test_two_readers_share_a_map(world: World) -> None:
    async with running(world) as daemon:
        for name in ("vm", "vm2"):
            await daemon.attach(name, SOURCE, access=Access.RO)
        await daemon.engine.settled()
        await daemon.detach("vm")
        assert len(world.kernel.kernel.maps[WWID].paths) == 2 and world.kernel.kernel.links == {"vm2": MAP}
        await daemon.detach("vm2")
        assert not world.kernel.kernel.maps


async def test_two_luns_behind_a_portal_that_is_dead(world: World) -> None:
    """What one attachment waits for holds up no other on the same target."""
    world.add_object(2, target=TARGET, lun=2, portals=(ONE, TWO))
    world.san.dead.add(TWO)
    other = f"cdmi://server/cdmi_objectid/{2:032X}"
    async with running(world) as daemon:
        began = daemon.desk.host.now()
        await asyncio.gather(daemon.attach("vm", SOURCE), daemon.attach("vm2", other))
        assert daemon.desk.host.now() - began < 5
        await asyncio.gather(daemon.detach("vm"), daemon.detach("vm2"))
        assert not world.kernel.kernel.sessions and not world.kernel.kernel.records


async def test_a_dead_portal_is_not_besieged(world: World) -> None:
    """A login there takes 15 s to fail, and is tried again every half a minute, not at once."""
    world.san.dead.add(TWO)
    async with running(world) as daemon:
        await daemon.attach("vm", SOURCE)
        end = daemon.desk.host.now() + 300
        while daemon.desk.host.now() < end:
            await daemon.desk.host.changed(daemon.desk.host.changes, timeout_s=10)
        login = Login(TARGET, TWO).describe()
        told = [event for event in daemon.desk.events.since(0) if event.get("what") == login]
        assert 5 <= len([event for event in told if event["kind"] == "step-began"]) <= 11
        await daemon.detach("vm")
