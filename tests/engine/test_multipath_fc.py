"""Several Fibre Channel paths to one LUN: the same map, under ports that the kernel itself loses and brings back."""

from pathlib import Path

import pytest

from tests.engine.cdmi_model import REMOTE, REMOTE_2
from tests.engine.test_multipath import MAP, SOURCE, WWID, path_states, until
from tests.engine.world import World, running


@pytest.fixture
def fibre(fast_disk: Path) -> World:
    """A LUN behind two Fibre Channel ports of the array, both of which this host sees."""
    world = World(fast_disk)
    world.kernel.kernel.multipathd.runs = True
    world.cable(REMOTE, REMOTE_2)
    world.add_fc_object(beside=(REMOTE_2,))
    return world


async def test_two_fibre_channel_paths_and_back_to_nothing(fibre: World) -> None:
    before = fibre.kernel.inventory()
    async with running(fibre) as daemon:
        view = await daemon.attach("vm", SOURCE)
        assert view["protocol"] == "fc" and view["device"]["path"] == MAP and view["device"]["node"] == "/dev/dm-0"
        view = await until(daemon, "attached")
        assert list(path_states(view).values()) == ["running", "running"]
        await daemon.detach("vm")
        assert not daemon.helper.guarded.created
    assert fibre.kernel.inventory() == before


async def test_a_fibre_channel_cable_pulled_and_put_back(fibre: World) -> None:
    """The kernel removes the disk with its port and brings another back, which joins again."""
    before = fibre.kernel.inventory()
    async with running(fibre) as daemon:
        await daemon.attach("vm", SOURCE)
        await until(daemon, "attached")
        fibre.kernel.open_map(WWID)
        fibre.kernel.fabric.pull(REMOTE)
        view = await until(daemon, "degraded")
        assert sorted(path_states(view).values()) == ["failed", "running"]
        fibre.kernel.fabric.lose(REMOTE)
        assert len(fibre.kernel.kernel.maps[WWID].paths) == 1
        fibre.kernel.fabric.plug(REMOTE)
        view = await until(daemon, "attached")
        assert list(path_states(view).values()) == ["running", "running"]
        fibre.kernel.close_map(WWID)
        await daemon.detach("vm")
    assert fibre.kernel.inventory() == before


async def test_a_fibre_channel_port_that_nobody_sees_is_missing(fibre: World) -> None:
    fibre.kernel.fabric.lose(REMOTE_2)
    async with running(fibre) as daemon:
        view = await daemon.attach("vm", SOURCE)
        assert view["phase"] == "degraded" and "20:00:02:00:00:00:00:13" in view["problem"]["detail"]
        fibre.kernel.fabric.plug(REMOTE_2)
        await until(daemon, "attached")
        await daemon.detach("vm")
