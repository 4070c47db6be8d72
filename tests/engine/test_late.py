"""Late and overtaking requests: a script that was given up goes on, and comes after what was asked for later."""

import json
from typing import Any

import pytest

from agent.engine import generations
from agent.model import Access, Request
from attachers.problems import Code
from tests.engine.test_attachments import refused
from tests.engine.world import World, running


async def test_a_late_attach_after_a_later_detach_does_nothing(world: World) -> None:
    source = world.add_object()
    async with running(world) as daemon:
        await daemon.attach("one", source, generation=7)
        await daemon.detach("one", generation=9)
        await refused(daemon.attach("one", source, generation=8), Code.STALE)
        await refused(daemon.attach("two", source, generation=8), Code.STALE)
        assert daemon.views() == [] or all(view["phase"] == "failed" for view in daemon.views())
        assert world.kernel.inventory() == frozenset()
        await daemon.attach("one", source, generation=9)


@pytest.mark.parametrize("restarted", [False, True])
async def test_a_detach_of_what_is_not_there_yet_overtakes_its_attach(world: World, restarted: bool) -> None:
    """The attach was given up before it had reached the daemon: all that the detach has is the name."""
    source = world.add_object()
    async with running(world) as daemon:
        await daemon.detach("one", generation=9)
        if not restarted:
            await refused(daemon.attach("one", source, generation=8), Code.STALE)
            assert daemon.views() == []
    async with running(world) as daemon:
        await refused(daemon.attach("one", source, generation=8), Code.STALE)
        assert daemon.views() == [] and not daemon.ledger.rows


async def test_a_late_detach_leaves_the_later_attachment_alone(world: World) -> None:
    source = world.add_object()
    async with running(world) as daemon:
        await daemon.attach("one", source, generation=9)
        for _ in range(2):
            await refused(daemon.detach("one", generation=8), Code.STALE)
        await refused(daemon.detach("one", generation=8, force=True), Code.STALE)
        assert daemon.engine.view("one")["phase"] == "attached"
        assert daemon.engine.view("one")["generation"] == 9
        await daemon.detach("one", generation=9)
        assert world.kernel.inventory() == frozenset()


async def test_a_detach_overtakes_the_attach_that_is_under_way(world: World) -> None:
    source = world.add_object()
    async with running(world) as daemon:
        _, view = await daemon.engine.attach(Request("one", source, generation=7), wait_s=0)
        assert view["phase"] == "attaching"
        await daemon.detach("one", generation=8)
        await refused(daemon.attach("one", source, generation=7), Code.STALE)
        await daemon.engine.settled()
        assert world.kernel.inventory() == frozenset()


@pytest.mark.parametrize("how", [{"access": Access.RO}, {"share": True}], ids=["ro", "share"])
async def test_who_is_beside_others_is_late_by_its_own_name_alone(world: World, how: dict[str, Any]) -> None:
    """Two VMs have one object: what the one begins, or is done with, says nothing of the other."""
    source = world.add_object()
    async with running(world) as daemon:
        await daemon.attach("one-1-0", source, generation=5, **how)
        await daemon.attach("one-3-0", source, generation=8, **how)
        await daemon.attach("one-1-0", source, generation=6, **how)
        await daemon.detach("one-1-0", generation=9)
        await daemon.attach("one-2-0", source, generation=7, **how)
        await refused(daemon.attach("one-1-0", source, generation=7, **how), Code.STALE)


async def test_without_a_number_nothing_is_late(world: World) -> None:
    source = world.add_object()
    async with running(world) as daemon:
        await daemon.attach("one", source, generation=9)
        await daemon.detach("one")
        await daemon.attach("one", source)
        assert daemon.engine.view("one")["generation"] is None


async def test_of_the_names_that_are_gone_the_latest_numbers_are_kept(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("agent.engine.ledger.KEPT", 4)
    source = world.add_object()
    async with running(world) as daemon:
        await daemon.attach("stays", source, generation=3)
        for number in range(10):
            await daemon.detach(f"one-{number}-0", generation=9)
    async with running(world) as daemon:
        kept = {key for key in daemon.ledger.generations if key.startswith("name:")}
        assert kept == {generations.by_name(f"one-{number}-0") for number in range(6, 10)}
        await refused(daemon.attach("stays", source, generation=2), Code.STALE)
        view = daemon.engine.view("stays")
        assert json.loads(daemon.engine.listing(prefix="sta"))["attachments"][0]["uri"] == view["uri"]
