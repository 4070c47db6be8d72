"""A file that was handed out itself: what was written to it is written out before its mount goes, or said lost."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from agent.host.simulated_faults import Moment
from agent.model import Access
from attachers.problems import Code
from attachers.sights import Query
from attachers.steps import Step, Unmount, WriteOutFile
from tests.engine.faults import Steps
from tests.engine.test_attachments import refused
from tests.engine.test_dirty import BYTES, SILENT, refused_for
from tests.engine.world import Processes, World, running


@asynccontextmanager
async def written(world: World) -> AsyncIterator[Processes]:
    """A file that is attached and was written to, all in the host's cache; at the end nothing is left."""
    source = world.add_file()
    empty = world.kernel.inventory()
    async with running(world) as daemon:
        await daemon.attach("one", source, present="file")
        write(world)
        yield daemon
        assert world.kernel.inventory() == empty
        assert not daemon.ledger.rows and not daemon.helper.guarded.created


def write(world: World) -> None:
    share = world.object().share
    assert share
    world.kernel.write_file(share.file("images/1.img"), world.object().wwid, BYTES)


def reached(world: World) -> list[str]:
    return world.san.stored.get(world.object().wwid, [])


async def test_it_is_written_out_before_the_mount_goes(world: World) -> None:
    async with written(world) as daemon:
        seen: list[list[str]] = []

        async def look(moment: Moment, what: Step | Query) -> None:
            if moment is Moment.BEFORE and isinstance(what, Unmount):
                seen.append(list(reached(world)))

        world.kernel.hook = look
        await daemon.detach("one")
        assert seen == [[BYTES]] and reached(world) == [BYTES]


async def test_an_error_of_its_write_out_is_said_until_somebody_knows_the_loss(world: World) -> None:
    """At an unmount it would be told to nobody, and at the second try there is nothing left to write."""
    async with written(world) as daemon:
        world.san.failing[world.object().wwid] = 1
        await refused(daemon.detach("one"), Code.DIRTY)
        assert any(line.startswith("mount") for line in world.kernel.inventory())
        for _ in range(2):
            await refused(daemon.detach("one"), Code.DIRTY)
        assert daemon.engine.view("one")["phase"] == "quarantined"
        await daemon.detach("one", force=True)
        assert any("give up" in fact for fact in daemon.engine.view("one")["tainted"]) and not reached(world)


def die_at_the_write_out(world: World) -> None:
    """Have the server fall silent just then."""
    server = world.object().share.server  # type: ignore[union-attr]

    async def die(moment: Moment, what: Step | Query) -> None:
        if moment is Moment.BEFORE and isinstance(what, WriteOutFile):
            world.san.nfs.dead.add(server)

    world.kernel.hook = die


async def test_a_slow_server_is_waited_for(world: World) -> None:
    async with written(world) as daemon:
        die_at_the_write_out(world)
        await refused_for(daemon.detach("one"), *SILENT)
        world.kernel.hook = None
        assert any(line.startswith("mount") for line in world.kernel.inventory()) and not reached(world)
        world.san.nfs.dead.clear()
        world.kernel.touch()
        await daemon.detach("one")
        assert reached(world) == [BYTES]


async def test_what_a_helper_that_was_killed_had_not_heard_the_end_of_stays_dirty(world: World) -> None:
    """Its worker has gone with it, and may have heard of an error that is told once: no second try proves anything."""
    source = world.add_file()
    async with running(world) as daemon:
        await daemon.attach("one", source, present="file")
        write(world)
        die_at_the_write_out(world)
        await refused_for(daemon.detach("one"), *SILENT)
        world.kernel.hook = None
        world.kernel.kill_hanging()
    world.san.nfs.dead.clear()
    async with running(world) as daemon:
        await refused(daemon.detach("one"), Code.DIRTY)
        await daemon.detach("one", force=True)
        assert reached(world) == [BYTES] and not daemon.helper.guarded.created


@pytest.mark.parametrize("silent", [False, True])
async def test_force_writes_out_what_it_can(world: World, silent: bool) -> None:
    async with written(world) as daemon:
        if silent:
            world.san.nfs.dead.add(world.object().share.server)  # type: ignore[union-attr]
        await daemon.detach("one", force=True)
        world.san.nfs.dead.clear()
        assert silent or reached(world) == [BYTES]


async def shared(world: World, daemon: Processes) -> None:
    """A file that is attached twice, once for writing and once for reading, and was written to."""
    source = world.add_file()
    await daemon.attach("one", source, present="file", share=True)
    await daemon.attach("reader", source, present="file", share=True, access=Access.RO)
    write(world)


async def test_whoever_wrote_is_answered_when_it_is_written_out_though_others_need_the_file(world: World) -> None:
    async with running(world) as daemon:
        await shared(world, daemon)
        await daemon.detach("one")
        assert reached(world) == [BYTES] and daemon.engine.view("reader")["phase"] == "attached"


async def test_an_error_of_a_write_out_is_said_though_others_need_the_file(world: World) -> None:
    async with running(world) as daemon:
        await shared(world, daemon)
        world.san.failing[world.object().wwid] = 1
        await refused(daemon.detach("one"), Code.DIRTY)
        await refused(daemon.detach("one"), Code.DIRTY)
        await daemon.detach("one", force=True)
        assert daemon.engine.view("one")["tainted"]
        await refused(daemon.detach("reader"), Code.DIRTY)
        await daemon.detach("reader", force=True)
        assert set(daemon.ledger.rows) == set() and not daemon.helper.guarded.created


async def test_the_last_one_writes_out_though_it_only_reads(world: World) -> None:
    """Who was handed the file for writing may still have it open when that attachment goes."""
    async with running(world) as daemon:
        await shared(world, daemon)
        await daemon.detach("one")
        write(world)
        world.san.failing[world.object().wwid] = 1
        await refused(daemon.detach("reader"), Code.DIRTY)
        await daemon.detach("reader", force=True)


async def test_who_only_reads_leaves_the_write_out_to_those_who_need_the_file(world: World) -> None:
    async with running(world) as daemon:
        await shared(world, daemon)
        steps = Steps(world)
        await daemon.detach("reader")
        assert not any(isinstance(step, WriteOutFile) for step in steps.taken)
        await daemon.detach("one")
        assert reached(world) == [BYTES]


async def test_what_root_may_not_open_goes_with_its_mount(world: World) -> None:
    source = world.add_file()
    world.san.nfs.squashed.add(world.object().share.source)  # type: ignore[union-attr]
    async with running(world) as daemon:
        await daemon.attach("one", source, present="file")
        write(world)
        await daemon.detach("one")
        assert reached(world) == [BYTES]
