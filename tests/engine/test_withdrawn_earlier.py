"""What an earlier version, or an unlucky moment, has not written down is no leave to ask to be let in again."""

import sqlite3
from contextlib import closing

import pytest

from agent import timeouts
from agent.host.simulated_faults import Moment
from agent.model import Request
from attachers.problems import Code, Problem
from attachers.sights import HostQuery, Query
from attachers.steps import Step
from tests.engine.cdmi_model import INITIATOR
from tests.engine.faults import Gate
from tests.engine.test_withdrawn import KINDS, OTHER, add, fence, look, names_us
from tests.engine.world import BOTH, World, running


def forget(world: World, *fields: str) -> None:
    """Have the ledger's rows as an earlier version has left them."""
    with closing(sqlite3.connect(world.disk / "ledger.sqlite")) as db, db:
        for field in fields:
            db.execute("UPDATE attachments SET body = json_remove(body, ?)", (f"$.{field}",))


@pytest.mark.parametrize("kind", KINDS)
async def test_who_was_fenced_off_gets_nothing_at_the_first_boot_after_an_upgrade(world: World, kind: str) -> None:
    """What that row was let in by is known from what was granted for it."""
    source = add(world, kind)
    async with running(world) as daemon:
        await daemon.attach("one", source)
    forget(world, "let_in", "boot_id")
    fence(world, kind, let_in=OTHER)
    world.kernel.reboot()
    async with running(world) as daemon:
        await look(daemon)
        view = daemon.engine.view("one")
        assert (view["phase"], view["problem"]["code"]) == ("degraded", "forbidden"), view["problem"]
        assert not names_us(world, source, kind), "nobody asked to be let in again"
        await daemon.detach("one")


@pytest.mark.parametrize("booted", [True, False])
@pytest.mark.parametrize("kind", KINDS)
async def test_who_is_let_in_still_is_back_after_an_upgrade(world: World, kind: str, booted: bool) -> None:
    source = add(world, kind)
    async with running(world) as daemon:
        await daemon.attach("one", source)
    forget(world, "let_in", "boot_id")
    if booted:
        world.kernel.reboot()
    async with running(world) as daemon:
        await look(daemon)
        assert (daemon.engine.view("one")["phase"], names_us(world, source, kind)) == ("attached", True)
        assert daemon.ledger.rows["one"].let_in
        await daemon.detach("one")
        assert not names_us(world, source, kind)


async def test_what_an_administrator_permitted_is_not_followed_to_where_others_are_permitted(world: World) -> None:
    """Nothing was granted for it, so that nothing tells what it was let in by but the names of this host."""
    source = world.add_object(permissions=[INITIATOR])
    async with running(world) as daemon:
        await daemon.attach("one", source)
    world.change(lun=5, permissions=[OTHER])
    world.kernel.reboot()
    async with running(world) as daemon:
        await look(daemon)
        assert daemon.engine.view("one")["problem"]["code"] == "forbidden"
        assert world.object().permissions == [OTHER]


@pytest.mark.parametrize("helper", ["there", "away"])
async def test_an_attach_that_had_only_begun_is_undone_after_a_boot(world: World, helper: str) -> None:
    """Also where the helper had not yet said which boot it was: then nothing tells that there was none."""
    source, before = world.add_object(), world.kernel.inventory()

    async def away(_moment: Moment, what: Step | Query) -> None:
        if isinstance(what, HostQuery) and helper == "away":
            raise Problem(Code.UNAVAILABLE, "the helper is away")

    async with running(world) as daemon:
        gate = Gate(world, "resolve")
        world.kernel.hook = away
        await daemon.engine.attach(Request("one", source, **BOTH), wait_s=0)
        await gate.reached.wait()
    world.cdmi.hook, world.kernel.hook = None, None
    fence(world, "iscsi", let_in=OTHER)
    world.kernel.reboot()
    async with running(world) as daemon:
        await look(daemon)
        assert daemon.engine.view("one")["phase"] == "failed" and not daemon.ledger.rows and not daemon.ledger.grants
        assert world.object().permissions == [OTHER] and world.kernel.inventory() == before


async def test_an_attach_that_only_the_daemon_broke_off_goes_on(world: World) -> None:
    source = world.add_object()
    async with running(world) as daemon:
        gate = Gate(world, "resolve")
        await daemon.engine.attach(Request("one", source, **BOTH), wait_s=0)
        await gate.reached.wait()
    world.cdmi.hook = None
    async with running(world) as daemon:
        await look(daemon)
        assert daemon.engine.view("one")["phase"] == "attached"


async def broken_off(world: World, at: str) -> str:
    """An attach during which only the daemon ends: before this request to the server. Returns its source."""
    source = world.add_object()
    async with running(world) as daemon:
        gate = Gate(world, at)
        await daemon.engine.attach(Request("one", source, **BOTH), wait_s=0)
        await gate.reached.wait()
    world.cdmi.hook = None
    return source


@pytest.mark.parametrize("at", ["resolve", "grant"])
async def test_a_helper_that_is_away_for_a_while_undoes_nothing(world: World, at: str) -> None:
    """It may take its time to stop, while the daemon is started anew already."""
    source, until = await broken_off(world, at), world.clock.now() + 85.0

    async def away(_moment: Moment, what: Step | Query) -> None:
        if isinstance(what, Query) and world.clock.now() < until:
            raise Problem(Code.UNAVAILABLE, "the helper is away")

    async with running(world) as daemon:
        world.kernel.hook = away
        await look(daemon)
        view = daemon.engine.view("one")
        assert (view["phase"], names_us(world, source, "iscsi")) == ("attached", True), view["problem"]
        assert world.clock.now() >= until


async def test_a_detach_does_not_wait_for_a_helper_that_an_attach_waits_for(world: World) -> None:
    await broken_off(world, "grant")

    async def away(_moment: Moment, what: Step | Query) -> None:
        if isinstance(what, HostQuery):
            raise Problem(Code.UNAVAILABLE, "the helper is away")

    began = world.clock.now()
    async with running(world) as daemon:
        world.kernel.hook = away
        await daemon.detach("one")
        assert not daemon.ledger.rows and not daemon.ledger.grants
        assert world.clock.now() - began < timeouts.AWAY_S / 2
