"""What nobody waits for any more still comes to an end, and not in silence."""

import asyncio

import pytest

from agent.host.uevents import Changes
from agent.host.under_way import UnderWay
from attachers.problems import Code, Problem
from attachers.steps import RemoveDevice


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
