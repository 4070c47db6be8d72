"""What nobody waits for any more still comes to an end, and not in silence."""

import asyncio

import pytest

from agent.host.uevents import Changes
from agent.host.under_way import UnderWay
from attachers.nfs_share import Share, wwid_of
from attachers.problems import Code, Problem
from attachers.steps import MakeDisk, Mount, RemoveDevice, RemoveDisk, RemoveMap, Step, Unmount, WriteOutFile

SHARE, OTHER = Share("10.0.0.1", "/srv", "4.2"), Share("10.0.0.1", "/else", "4.2")
WWIDS = wwid_of(f"{1:032X}"), wwid_of(f"{2:032X}")
SLOW: list[Step] = [RemoveDisk(SHARE, WWIDS[0]), WriteOutFile(SHARE, "a", WWIDS[0], None)]


async def test_a_write_out_that_fails_after_its_time_is_told_to_the_log(caplog: pytest.LogCaptureFixture) -> None:
    """Case 46: the flush is not killed when its time runs out, and what it says in the end matters."""
    changes = Changes()
    under_way = UnderWay(changes)
    operation = under_way.begin(RemoveDevice("6:0:0:1", "naa.5000000000000001"))
    ended: asyncio.Future[object] = asyncio.get_running_loop().create_future()
    under_way.end_with(operation, ended)
    ended.set_exception(Problem(Code.DIRTY, "what was written could not be written out"))
    await changes.above(0, timeout_s=10)
    assert not under_way.busy(frozenset({"hctl:6:0:0:1"}))
    assert "flush and remove 6:0:0:1" in caplog.text and "could not be written out" in caplog.text


def late(step: Step) -> UnderWay:
    """A register with this step in it, whose time has run out."""
    under_way = UnderWay(Changes())
    under_way.begin(step).late = True
    return under_way


@pytest.mark.parametrize("slow", SLOW, ids=lambda step: type(step).__name__)
def test_a_flush_that_waits_for_its_server_is_in_the_way_of_its_own_disk_and_of_its_mount_alone(slow: Step) -> None:
    """It may wait for hours: the other disks of the share come and go meanwhile."""
    under_way = late(slow)
    for free in (RemoveDisk(SHARE, WWIDS[1]), MakeDisk(SHARE, "b", WWIDS[1], 512), Unmount(OTHER)):
        assert under_way.late_on(free) is None, free
    for held in (RemoveDisk(SHARE, WWIDS[0], lost=True), Unmount(SHARE), Mount(SHARE, "hard")):
        assert under_way.late_on(held) == slow.describe(), held
    assert not under_way.busy(frozenset({"name:b", f"wwid:{WWIDS[1]}", f"mount:{SHARE.point}"}))
    assert under_way.busy(frozenset({f"wwid:{WWIDS[0]}"})) == (slow.describe(),)


def test_an_unmount_that_goes_on_is_in_the_way_of_every_disk_of_its_share() -> None:
    under_way = late(Unmount(SHARE))
    assert under_way.late_on(MakeDisk(SHARE, "a", WWIDS[0], 512)) == Unmount(SHARE).describe()
    assert under_way.late_on(MakeDisk(OTHER, "a", WWIDS[0], 512)) is None
    assert under_way.busy(frozenset({f"mount:{SHARE.point}"}))


@pytest.mark.parametrize("step", [*SLOW, RemoveMap(WWIDS[0]), RemoveDevice("6:0:0:1", WWIDS[0])])
async def test_a_write_out_is_waited_for(step: Step) -> None:
    under_way = UnderWay(Changes())
    operation = under_way.begin(step)
    waiting = asyncio.create_task(under_way.written_out(limit_s=60))
    assert (await asyncio.wait({waiting}, timeout=0.01))[1]
    under_way.end(operation)
    await asyncio.wait_for(waiting, 10)
    under_way.begin(step)
    await asyncio.wait_for(under_way.written_out(limit_s=0.01), 10)


async def test_what_writes_nothing_out_is_not_waited_for() -> None:
    under_way = UnderWay(Changes())
    for step in (Unmount(SHARE), RemoveDisk(SHARE, WWIDS[0], lost=True), RemoveDevice("6:0:0:1", None)):
        under_way.begin(step)
    await asyncio.wait_for(under_way.written_out(limit_s=60), 10)
