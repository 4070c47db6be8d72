"""Attachments belong to the user that made them: decided inside the lock of the name, by what is there then."""

import pytest

from agent.caller import Caller
from agent.host.simulated_faults import Faults
from agent.model import DomainRequest, Request
from attachers.problems import Code, Problem
from attachers.steps import Login
from tests.engine.world import BOTH, World, running

ANN, BEN, BOSS = Caller(1000, 1), Caller(1001, 2), Caller(1002, 3, admin=True)


@pytest.mark.parametrize("call", ["attach", "detach", "give", "take", "resize"])
async def test_only_the_owner_and_admins_change_an_attachment(world: World, call: str) -> None:
    source = world.add_object()
    world.kernel.add_domain("guest")
    async with running(world) as daemon:
        engine = daemon.engine

        async def change(by: Caller) -> None:
            match call:
                case "attach":
                    await engine.attach(Request("one", source, **BOTH), wait_s=None, by=by)
                case "detach":
                    await engine.detach("one", force=False, by=by)
                case "give":
                    await engine.give("one", DomainRequest("guest", "sda"), by=by)
                case "take":
                    await engine.take("one", "guest", by=by)
                case _:
                    await engine.resize("one", by=by)

        for by in (ANN, BOSS):
            await engine.attach(Request("one", source, **BOTH), wait_s=None, by=ANN)
            before, host = engine.view("one"), world.kernel.inventory()
            with pytest.raises(Problem, match="user 1000; user 1001 may look at it") as refused:
                await change(BEN)
            assert refused.value.code is Code.FORBIDDEN
            assert (engine.view("one"), world.kernel.inventory()) == (before, host)
            await change(by)


async def test_a_name_that_is_free_again_is_anybodys(world: World) -> None:
    source = world.add_object()
    async with running(world) as daemon:
        await daemon.engine.attach(Request("one", source, **BOTH), wait_s=None, by=ANN)
        assert await daemon.engine.detach("one", force=False, by=ANN) is True
        assert await daemon.engine.detach("one", force=False, by=BEN) is False
        await daemon.engine.attach(Request("one", source, **BOTH), wait_s=None, by=BEN)


async def test_what_failed_is_its_owners_to_forget(world: World) -> None:
    source = world.add_object()
    faults = world.kernel.hook = Faults()
    faults.on(Login, Problem(Code.TARGET_TIMEOUT, "no route to the portal"), times=9)
    async with running(world) as daemon:
        with pytest.raises(Problem):
            await daemon.engine.attach(Request("one", source, timeout_s=5, **BOTH), wait_s=None, by=ANN)
        with pytest.raises(Problem, match="may look at it"):
            await daemon.engine.detach("one", force=False, by=BEN)
        assert daemon.engine.view("one")["phase"] == "failed"
        assert await daemon.engine.detach("one", force=False, by=ANN) is True


async def test_an_owner_stays_one_over_a_restart(world: World) -> None:
    source = world.add_object()
    async with running(world) as daemon:
        await daemon.engine.attach(Request("one", source, **BOTH), wait_s=None, by=ANN)
    async with running(world) as daemon:
        await daemon.engine.settled()
        with pytest.raises(Problem, match="may look at it"):
            await daemon.engine.detach("one", force=False, by=BEN)
