"""An export where there is none: made where the server announces it, ours alone, and removed with its last user."""

import asyncio
from pathlib import Path

import pytest

from agent.host.simulated_faults import Moment
from attachers.problems import Code, Problem
from tests.engine.cdmi_model import INITIATOR, LOCAL
from tests.engine.world import BOTH, World, running


async def test_it_is_made_and_removed_again(world: World) -> None:
    source = world.add_object(exported=False, offered=True)
    async with running(world) as daemon:
        view = await daemon.attach("one", source)
        assert view["phase"] == "attached" and view["verified"]
        what = [step["what"].split()[0] for step in view["steps"]]
        assert what == ["have", "resolve", "expect", "grant", "record", "log", "scan", "publish"]
        assert world.object().exported and world.object().permissions == [INITIATOR]
        await daemon.detach("one")
        assert not world.object().exported and world.object().permissions == []
        assert daemon.ledger.grants == set()


async def test_one_over_fibre_channel_lets_nobody_in_before_it_is_ours(world: World) -> None:
    """Cases 11 and 12: what the server shows comes by itself."""
    world.cable()
    source = world.add_fc_object(exported=False, offered=True)
    async with running(world) as daemon:
        assert (await daemon.attach("one", source, **BOTH))["phase"] == "attached"
        assert world.object().permissions == [LOCAL]
        await daemon.detach("one")
        assert not world.object().exported and not daemon.helper.guarded.created


async def test_none_is_made_where_none_is_offered(world: World) -> None:
    source = world.add_object(exported=False)
    async with running(world) as daemon:
        with pytest.raises(Problem) as caught:
            await daemon.attach("one", source)
        assert caught.value.code is Code.NO_USABLE_EXPORT and not world.object().exported
        assert daemon.ledger.grants == set()


async def test_it_stays_while_another_attachment_or_another_host_uses_it(world: World) -> None:
    source = world.add_object(exported=False, offered=True)
    async with running(world) as daemon:
        await daemon.attach("one", source, share=True)
        await daemon.attach("two", source, share=True)
        await daemon.detach("one")
        assert world.object().exported and world.object().permissions == [INITIATOR]
        other = "iqn.2026-01.org.example:other"
        world.change(permissions=[INITIATOR, other])
        await daemon.detach("two")
        assert world.object().exported and world.object().permissions == [other]
        assert daemon.ledger.grants == set()


async def test_one_that_somebody_else_makes_first_is_not_ours(world: World) -> None:
    source = world.add_object(exported=False, offered=True)

    async def first(moment: Moment, what: str, _uri: str) -> None:
        if (moment, what) == (Moment.BEFORE, "export"):
            world.change(exported=True)

    world.cdmi.hook = first
    async with running(world) as daemon:
        await daemon.attach("one", source)
        await daemon.detach("one")
        assert world.object().exported, "it was not made by us"


async def test_one_that_stays_unusable_is_removed_when_the_attach_fails(world: World) -> None:
    source = world.add_object(exported=False, offered=True, mapped=False)
    async with running(world) as daemon:
        with pytest.raises(Problem):
            await daemon.attach("one", source)
        await daemon.engine.settled()
        assert not world.object().exported and daemon.ledger.grants == set()


async def test_a_delete_overtakes_it(world: World) -> None:
    source = world.add_object(exported=False, offered=True)
    async with running(world) as daemon:
        asked = asyncio.Event()

        async def slow(moment: Moment, what: str, _uri: str) -> None:
            if (moment, what) == (Moment.AFTER, "export"):
                asked.set()

        world.cdmi.hook = slow
        attach = asyncio.create_task(daemon.attach("one", source))
        await asked.wait()
        await daemon.detach("one")
        with pytest.raises(Problem):
            await attach
        assert not world.object().exported and daemon.ledger.grants == set()


async def test_an_unreachable_server_at_the_detach_is_asked_again(world: World, tmp_path: Path) -> None:
    source = world.add_object(exported=False, offered=True)
    async with running(world) as daemon:
        await daemon.attach("one", source)
        world.cdmi.down = Problem(Code.CDMI_UNREACHABLE, "the server is down", hint="")
        with pytest.raises(Problem):
            await daemon.detach("one")
        world.cdmi.down = None
        await daemon.detach("one")
        assert not world.object().exported and daemon.ledger.grants == set()
