"""A host that was fenced off while it was away comes back, and gets nothing: the disk may be another host's by now."""

import asyncio

import pytest

from agent import timeouts
from agent.host.simulated_faults import Moment
from agent.host.simulated_shares import HERE
from agent.model import Present, Request
from attachers.problems import Code, Problem
from attachers.sights import Query
from attachers.steps import Login, Step
from tests.engine.cdmi_model import INITIATOR, LOCAL, PORTAL, SHARE
from tests.engine.test_attachments import refused
from tests.engine.world import BOTH, Processes, World, running

OTHER = "iqn.2026-01.org.example:host-2"
TARGET = "iqn.2026-01.org.example:lun1"
KINDS = ("iscsi", "fc", "nfs")


def add(world: World, kind: str) -> str:
    """An object that is to be had by that protocol alone."""
    if kind == "nfs":
        world.cdmi.name_hosts(rw_hosts=[])
        return world.add_file()
    if kind == "fc":
        world.cable()
        return world.add_fc_object()
    return world.add_object()


def fence(world: World, kind: str, *, let_in: str = "") -> None:
    """What another host does at the server: this host's names out, perhaps its own in."""
    if kind == "nfs":
        world.cdmi.name_hosts(rw_hosts=[let_in or "host-2"])
    else:
        world.change(permissions=[let_in] if let_in else [])


def names_us(world: World, source: str, kind: str) -> bool:
    """Whether the server lets this host in."""
    (export, *_) = world.cdmi.resolve(source).exports
    if kind == "nfs":
        return any("127.0.0" in host for hosts in (export.hosts or {}).values() for host in hosts)
    return bool({INITIATOR, LOCAL} & {*(export.permissions or ())})


async def look(daemon: Processes) -> None:
    """What the daemon does by itself, for a while."""
    await daemon.engine.starting.settled(limit_s=timeouts.START_S)
    for _ in range(3):
        daemon.engine.tending.round()
        await daemon.engine.settled()


@pytest.mark.parametrize("let_in", ["", OTHER])
@pytest.mark.parametrize("kind", KINDS)
async def test_who_was_fenced_off_while_it_was_down_gets_nothing_after_the_boot(
    world: World, kind: str, let_in: str
) -> None:
    source, before = add(world, kind), world.kernel.inventory()
    async with running(world) as daemon:
        await daemon.attach("one", source)
    fence(world, kind, let_in=let_in)
    world.kernel.reboot()
    async with running(world) as daemon:
        await look(daemon)
        view = daemon.engine.view("one")
        assert (view["phase"], view["link"], view["device"], view["verified"]) == ("degraded", None, None, False)
        assert view["problem"]["code"] == "forbidden" and "withdrawn" in view["problem"]["detail"]
        assert not names_us(world, source, kind), "nobody asked to be let in again"
        problem = await refused(daemon.attach("one", source), Code.FORBIDDEN)
        assert "detach one" in problem.hint and not names_us(world, source, kind)
        await daemon.detach("one")
        if kind != "fc":  # what an array's port brings by itself
            assert world.kernel.inventory() == before


@pytest.mark.parametrize("kind", KINDS)
async def test_who_is_let_in_again_by_somebody_else_is_back(world: World, kind: str) -> None:
    source = add(world, kind)
    async with running(world) as daemon:
        await daemon.attach("one", source)
        held = world.cdmi.resolve(source).exports[0]
    fence(world, kind)
    world.kernel.reboot()
    async with running(world) as daemon:
        await look(daemon)
        assert daemon.engine.view("one")["phase"] == "degraded"
        if kind == "nfs":
            world.cdmi.name_hosts(
                SHARE, **{f"{right}_hosts": list(hosts) for right, hosts in (held.hosts or {}).items()}
            )
        else:
            world.change(permissions=list(held.permissions or ()))
        await look(daemon)
        assert daemon.engine.view("one")["phase"] == "attached" and daemon.engine.view("one")["link"]


async def test_a_detach_and_an_attach_are_the_way_back(world: World) -> None:
    source = world.add_object()
    async with running(world) as daemon:
        await daemon.attach("one", source)
    fence(world, "iscsi")
    world.kernel.reboot()
    async with running(world) as daemon:
        await look(daemon)
        await daemon.detach("one")
        assert (await daemon.attach("one", source))["phase"] == "attached" and names_us(world, source, "iscsi")


async def test_who_was_cut_off_and_fenced_while_it_ran_does_not_let_itself_in_again(world: World) -> None:
    """Its guests run on: no boot, no restart, only the storage network is back."""
    source = world.add_object()
    async with running(world) as daemon:
        await daemon.attach("one", source)
        world.kernel.foreign_logout(TARGET, PORTAL)
        fence(world, "iscsi", let_in=OTHER)
        world.kernel.alarm()
        daemon.engine.tending.alarm()
        await daemon.engine.settled()
        await look(daemon)
        view = daemon.engine.view("one")
        assert (view["phase"], view["problem"]["code"]) == ("degraded", "forbidden")
        assert not names_us(world, source, "iscsi")


async def test_a_server_that_is_away_at_the_boot_is_no_fence(world: World) -> None:
    """The target says who may in: it was told to refuse whoever is fenced off."""
    source = world.add_object()
    async with running(world) as daemon:
        await daemon.attach("one", source)
    world.kernel.reboot()
    world.cdmi.down = Problem(Code.CDMI_UNREACHABLE, "no route")
    async with running(world) as daemon:
        await look(daemon)
        assert daemon.engine.view("one")["phase"] == "attached"


async def test_what_an_administrator_permits_is_not_ours_to_ask_for(world: World) -> None:
    source = world.add_object(permissions=[INITIATOR])
    async with running(world) as daemon:
        await daemon.attach("one", source)
    fence(world, "iscsi")
    world.kernel.reboot()
    async with running(world) as daemon:
        await look(daemon)
        assert daemon.engine.view("one")["phase"] == "degraded" and not daemon.engine.view("one")["link"]
        assert not names_us(world, source, "iscsi")


async def test_an_attach_that_a_boot_has_broken_off_is_undone(world: World) -> None:
    """Whoever asked for it is gone, and perhaps this host was fenced off meanwhile: nothing tells."""
    source, before, begun = world.add_object(), world.kernel.inventory(), asyncio.Event()

    async def stuck(moment: Moment, what: Step | Query) -> None:
        if isinstance(what, Login) and moment is Moment.BEFORE:
            begun.set()
            await asyncio.Event().wait()

    world.kernel.hook = stuck
    async with running(world) as daemon:
        await daemon.engine.attach(Request("one", source, **BOTH), wait_s=0)
        await begun.wait()
    world.kernel.hook = None
    fence(world, "iscsi", let_in=OTHER)
    world.kernel.reboot()
    async with running(world) as daemon:
        await look(daemon)
        assert daemon.engine.view("one")["phase"] == "failed" and not daemon.ledger.rows and not daemon.ledger.grants
        assert world.object().permissions == [OTHER] and world.kernel.inventory() == before


async def test_a_unit_that_has_moved_to_others_alone_is_not_followed(world: World) -> None:
    source = world.add_object()
    async with running(world) as daemon:
        await daemon.attach("one", source)
    world.change(lun=5, permissions=[OTHER])
    world.kernel.reboot()
    async with running(world) as daemon:
        await look(daemon)
        assert daemon.engine.view("one")["problem"]["code"] == "forbidden"
        assert world.object().permissions == [OTHER]


@pytest.mark.parametrize("present", list(Present))
async def test_a_file_that_an_administrator_has_withdrawn_is_not_asked_for(world: World, present: Present) -> None:
    source = world.add_file()
    world.cdmi.name_hosts(rw_hosts=[HERE], root_hosts=[HERE])
    async with running(world) as daemon:
        await daemon.attach("one", source, present=present)
        assert not daemon.ledger.grants
    world.cdmi.name_hosts(rw_hosts=["host-2"], root_hosts=[])
    world.kernel.reboot()
    async with running(world) as daemon:
        await look(daemon)
        assert daemon.engine.view("one")["problem"]["code"] == "forbidden"
        assert not names_us(world, source, "nfs")
