"""Several disks of one NFS share, one of them waiting for the server: the others are not kept by it."""

import pytest

from agent.host.simulated_faults import Hang, Moment
from agent.model import Present
from attachers.problems import Code
from attachers.sights import Query
from attachers.steps import RemoveDisk, Step, WriteOutFile
from tests.engine.cdmi_model import SHARE
from tests.engine.test_dirty import SILENT, refused_for
from tests.engine.world import Processes, World, running

KINDS = pytest.mark.parametrize("present", Present, ids=str)


def write(world: World, number: int, present: Present) -> None:
    wwid = world.object(number).wwid
    if present is Present.BLOCK:
        world.kernel.write(wwid, f"of {number}")
    else:
        world.kernel.write_file(SHARE.file(f"images/{number}.img"), wwid, f"of {number}")


async def two(world: World, daemon: Processes, present: Present) -> None:
    """Two files of one share, both attached and both written to."""
    for number, name in enumerate(("a", "b"), start=1):
        await daemon.attach(name, world.add_file(number), present=present)
        write(world, number, present)


@KINDS
async def test_by_force_a_disk_goes_though_another_one_of_its_share_is_waited_for(
    world: World, present: Present
) -> None:
    async def die(moment: Moment, what: Step | Query) -> None:
        if moment is Moment.BEFORE and isinstance(what, RemoveDisk | WriteOutFile):
            world.san.nfs.dead.add(SHARE.server)

    async with running(world) as daemon:
        await two(world, daemon, present)
        world.kernel.hook = die
        await refused_for(daemon.detach("a"), *SILENT)
        await daemon.detach("b", force=True)
        assert set(daemon.ledger.rows) == {"a"}
        await daemon.detach("a", force=True)
        assert not daemon.ledger.rows and not daemon.helper.guarded.created


@KINDS
async def test_a_long_flush_of_one_disk_keeps_nobody_from_the_others_of_its_share(
    world: World, present: Present
) -> None:
    """The server is well, and only takes its time: the share's other disks are looked at, come and go meanwhile."""

    async def slow(moment: Moment, what: Step | Query) -> None:
        if (
            moment is Moment.BEFORE
            and isinstance(what, RemoveDisk | WriteOutFile)
            and what.wwid == world.object(1).wwid
        ):
            raise Hang(3600.0)

    async with running(world) as daemon:
        await two(world, daemon, present)
        world.kernel.hook = slow
        await refused_for(daemon.detach("a"), Code.TARGET_TIMEOUT)
        assert (await daemon.attach("b", f"cdmi://server/cdmi_objectid/{2:032X}", present=present))[
            "phase"
        ] == "attached"
        await daemon.attach("c", world.add_file(3), present=present)
        for name, number in (("c", 3), ("b", 2)):
            await daemon.detach(name)
            assert name == "c" or world.san.stored[world.object(number).wwid] == [f"of {number}"]
        world.clock.advance(3600.0)
        world.kernel.hook = None
        await daemon.detach("a")
        assert world.san.stored[world.object(1).wwid] == ["of 1"]
        assert not daemon.ledger.rows and not daemon.helper.guarded.created
