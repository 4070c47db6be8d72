"""A plan is not for ever: every way is tried, a path that carries no I/O is none, and what moved is found again."""

import pytest

from agent.host.simulated_san import Lun
from agent.model import Phase
from attachers.problems import Code, Problem
from tests.engine.cdmi_model import INITIATOR, wwid_of
from tests.engine.world import World, running

ONE, TWO = "127.0.0.1:3260", "127.0.0.2:3260"
TARGET = "iqn.2026-01.org.example:lun1"


def standby(world: World, *portals: str, state: str = "standby") -> None:
    """Put the LUN into an ALUA state at these portals; the hosts are told, as by a unit attention."""
    for portal in portals:
        world.san.access[TARGET, portal, 1] = state
    world.kernel.touch()


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
