"""What goes wrong between two requests, or between two looks: the first of them is not the last word."""

import asyncio
import sqlite3
import threading
from collections.abc import Callable, Coroutine
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

import pytest

from agent.engine.engine import FAILED_KEPT
from agent.engine.ledger import MIGRATIONS, Grant, Ledger, Row
from agent.host.simulated_faults import Faults, Hang, Moment
from agent.model import Access, DomainRequest, Outcome, Phase, Request
from agent.store import Store, open_store
from attachers import iscsi
from attachers.base import Goal
from attachers.problems import Code, Problem
from attachers.sights import Query
from attachers.steps import (
    CreateRecord,
    GiveDisk,
    Logout,
    Publish,
    Step,
    TakeDisk,
    Unpublish,
)
from tests.engine.cdmi_model import INITIATOR, PORTAL, wwid_of
from tests.engine.faults import Gate, Steps
from tests.engine.test_attachments import phase, refused
from tests.engine.world import Crash, Processes, Trip, World, running

T = TypeVar("T")
DOMAIN = DomainRequest("one-42", "sda")


async def seen(daemon: Processes, name: str, kind: str, **told: str) -> None:
    """Wait until the engine has told that of an attachment."""
    events = daemon.engine.events
    while not any(e["kind"] == kind and told.items() <= e.items() for e in events.since(0, attachment=name)):
        assert await events.later_than(events.last, timeout_s=10)


# The permission on the server.


async def test_two_readers_that_a_crash_left_on_their_way_out_leave_no_permission(world: World) -> None:
    source = world.add_object()
    async with running(world) as daemon:
        row = daemon.ledger.rows.get((await daemon.attach("r1", source, access=Access.RO))["name"])
        await daemon.detach("r1")
        assert row
        gone = replace(row, goal=Goal.GONE, phase=Phase.DETACHING, released=True, device=None, handed_out=False)
        for name in ("r1", "r2"):
            await daemon.ledger.add(replace(gone, name=name))
        await daemon.ledger.change("r1", grants=[Grant(row.uri, row.key, INITIATOR)])
        world.change(permissions=[INITIATOR])
    async with running(world) as daemon:
        await daemon.engine.settled()
        assert not daemon.ledger.rows
        assert world.object().permissions == [] and not daemon.ledger.grants


@pytest.mark.parametrize("moment", list(Moment))
async def test_a_reader_that_comes_while_the_last_one_leaves_gets_a_permission_that_goes_again(
    world: World, moment: Moment
) -> None:
    source = world.add_object()
    async with running(world) as daemon:
        await daemon.attach("r1", source, access=Access.RO)
        revoking, resolved = Gate(world, "revoke", moment), Steps(world)
        leaving = asyncio.create_task(daemon.detach("r1"))
        await revoking.reached.wait()
        coming = asyncio.create_task(daemon.attach("r2", source, access=Access.RO))
        await seen(daemon, "r2", "step-ended")
        revoking.opened.set()
        await asyncio.gather(leaving, coming)
        assert resolved.taken and phase(daemon, "r2") == "attached"
        assert world.object().permissions == [INITIATOR]
        await daemon.detach("r2")
        assert world.object().permissions == [] and not daemon.ledger.grants


async def test_a_permission_lost_with_a_reboot_is_not_asked_for_again(world: World) -> None:
    """A careless writer, or somebody who has fenced this host off: nothing tells (opennebula.md 5.3, 5)."""
    source = world.add_object()
    async with running(world) as daemon:
        await daemon.attach("one", source)
    world.kernel.reboot()
    world.change(permissions=["iqn.2026-01.org.example:another-writer"])
    async with running(world) as daemon:
        await daemon.engine.settled()
        assert phase(daemon, "one") == "degraded"
        await daemon.detach("one")
    assert world.object().permissions == ["iqn.2026-01.org.example:another-writer"]


# What is handed out.


async def test_a_swapped_lun_is_not_handed_out_again(world: World) -> None:
    source = world.add_object()
    async with running(world) as daemon:
        hctl = (await daemon.attach("one", source))["device"]["paths"][0]["hctl"]
        world.kernel.open_device(hctl)
        world.change(behind=wwid_of(9))
        await refused(daemon.attach("one", source), Code.WRONG_DEVICE)
        assert phase(daemon, "one") == "degraded"
        world.change(behind="")
        assert await daemon.outcome("one", source) is Outcome.ALREADY
        assert phase(daemon, "one") == "attached"


async def test_after_a_reboot_a_repeated_attach_waits_for_its_device(world: World) -> None:
    source = world.add_object()
    async with running(world) as daemon:
        await daemon.attach("one", source)
    world.kernel.reboot()
    async with running(world) as daemon:
        await daemon.attach("one", source)
        assert any(line.startswith("link one") for line in world.kernel.inventory())


@pytest.mark.parametrize("reboot", [True, False])
async def test_an_unnamed_lun_stays_the_one_that_was_handed_out(world: World, reboot: bool) -> None:
    world.settings = type(world.settings)(allow_unverified=True)
    source = world.add_object(named=False)
    async with running(world) as daemon:
        await daemon.attach("one", source)
    if reboot:
        world.kernel.reboot()
    world.change(behind=wwid_of(9))
    async with running(world) as daemon:
        await daemon.engine.settled()
        assert phase(daemon, "one") == "degraded"
        assert not any(wwid_of(9) in line for line in world.kernel.inventory() if "link one" in line)


async def test_a_failed_attachment_shows_no_device(world: World) -> None:
    source = world.add_object()
    async with running(world) as daemon:
        await refused(daemon.attach("one", source, domain=DomainRequest("ghost", "sda")), Code.NOT_FOUND)
        view = daemon.engine.view("one")
        assert (view["phase"], view["device"], view["link"], view["disk_xml"]) == ("failed", None, None, None)


async def test_a_borrowed_disk_stays_writable_for_its_owner(world: World) -> None:
    source = world.add_object(permissions=[INITIATOR])
    world.kernel.foreign_session(world.object().target, PORTAL)
    hctl = world.kernel.foreign_device(world.object().target, PORTAL, 1)
    async with running(world) as daemon:
        view = await daemon.attach("one", source, access=Access.RO)
        assert view["device"]["read_only"]
        found = world.kernel.kernel.device(hctl)
        assert found and not found[1].set_read_only
        await daemon.detach("one")


# A DELETE beside a PUT.


async def test_a_detach_that_joins_the_undoing_of_an_attach_succeeds(world: World) -> None:
    source = world.add_object()
    async with running(world) as daemon:
        faults = Faults()
        faults.on(Logout, Hang(5))
        faults.on(Publish, Problem(Code.WRONG_DEVICE, "another one"))
        steps = Steps(world, faults)
        attaching = asyncio.create_task(daemon.attach("one", source))
        await steps.seen(Logout)
        await daemon.detach("one")
        await refused(attaching, Code.WRONG_DEVICE)
        assert daemon.views() == []


async def test_a_detach_during_the_hand_over_is_not_answered_with_success_to_an_attach(world: World) -> None:
    source = world.add_object()
    world.kernel.add_domain("one-42")
    empty = world.kernel.inventory()
    async with running(world) as daemon:
        faults = Faults()
        faults.on(GiveDisk, Hang(5))
        faults.on(TakeDisk, Hang(5))
        steps = Steps(world, faults)
        attaching = asyncio.create_task(daemon.attach("one", source, domain=DOMAIN))
        await steps.seen(GiveDisk)
        detaching = asyncio.create_task(daemon.detach("one"))
        await refused(attaching, Code.CONFLICT)
        await steps.seen(TakeDisk)
        assert phase(daemon, "one") == "detaching"
        await refused(daemon.attach("one", source, domain=DOMAIN), Code.BUSY)
        await detaching
    assert world.kernel.inventory() == empty


# A detach that was refused, and a crash in its middle.


async def test_somebody_opens_a_disk_at_the_last_moment_and_the_daemon_crashes(world: World) -> None:
    """Between the search for users and the end of the link: who came then is somebody else's until he is gone."""
    source = world.add_object()
    async with running(world) as daemon:
        hctl = (await daemon.attach("one", source))["device"]["paths"][0]["hctl"]
    before = world.kernel.inventory()

    trip = Trip()

    async def dies(moment: Moment, what: Step | Query) -> None:
        if moment is Moment.BEFORE and isinstance(what, Unpublish):
            world.kernel.open_device(hctl)
        if moment is Moment.AFTER and isinstance(what, Unpublish):
            trip.dead = True

    with pytest.raises(Crash):
        async with running(world, trip) as daemon:
            await daemon.engine.settled()
            world.kernel.hook = dies
            await daemon.detach("one")
    assert world.kernel.inventory() != before, "the link is away"
    world.kernel.hook = None
    async with running(world) as daemon:
        await daemon.engine.settled()
        problem = await refused(daemon.attach("one", source), Code.IN_USE)
        assert "somebody (pid 4711)" in problem.detail
        world.kernel.close_device(hctl)
        await daemon.attach("one", source)
        assert phase(daemon, "one") == "attached"
        assert world.kernel.inventory() == before


# Requests that come too late, and objects that have no name.


async def test_generations_do_not_go_back(world: World) -> None:
    source = world.add_object()
    async with running(world) as daemon:
        await daemon.attach("old", source, generation=5)
        await daemon.detach("old")
        await daemon.attach("new", source, generation=9)
        await refused(daemon.attach("late", source, generation=6), Code.STALE)
        assert await daemon.outcome("new", source, generation=11) is Outcome.ALREADY
        await daemon.detach("new")
    async with running(world) as daemon:
        await refused(daemon.attach("late", source, generation=10), Code.STALE)


async def test_a_late_repetition_of_what_stands_is_stale(world: World) -> None:
    source = world.add_object()
    async with running(world) as daemon:
        await daemon.attach("one", source, generation=9)
        await refused(daemon.attach("one", source, generation=8), Code.STALE)
        assert phase(daemon, "one") == "attached"


async def test_objects_without_an_id_are_not_one_object(world: World) -> None:
    world.cdmi.with_ids = False
    sources = [world.add_object(number) for number in (1, 2)]
    async with running(world) as daemon:
        await daemon.attach("one", sources[0], generation=7)
        await daemon.attach("two", sources[1], generation=3)
        await refused(daemon.attach("three", sources[0]), Code.CONFLICT)


# What stays in memory, and on the disk.


async def test_failed_attachments_do_not_pile_up_in_memory(world: World) -> None:
    async with running(world) as daemon:
        for number in range(FAILED_KEPT + 20):
            await refused(daemon.attach(f"a{number}", "cdmi://server/cdmi_objectid/404"), Code.NOT_FOUND)
        await daemon.detach(f"a{FAILED_KEPT}")
        assert len(daemon.desk.steps) == FAILED_KEPT - 1


class HeldStore(Store):
    """A ledger whose next transaction is held on its thread, as by a slow disk, once `hold` is set."""

    def __init__(self, store: Store) -> None:
        self._inner = store
        self.hold, self.reached, self.free = False, asyncio.Event(), threading.Event()

    async def run(self, fn: Callable[[sqlite3.Connection], T]) -> T:
        loop = asyncio.get_running_loop()

        def held() -> T:
            if self.hold:
                loop.call_soon_threadsafe(self.reached.set)
                self.free.wait()
            return self._inner.run_now(fn)

        return await loop.run_in_executor(None, held)


@pytest.mark.parametrize("change", ["add", "change", "forget"])
async def test_a_commit_is_not_cut_off_by_a_cancellation(tmp_path: Path, change: str) -> None:
    inner = open_store(tmp_path / "ledger.sqlite", MIGRATIONS, inline=True)
    store = HeldStore(inner)
    ledger, grant = Ledger(store), Grant("https://server/cdmi/1", "key", INITIATOR)
    await ledger.add(Row("one", Request("one", "cdmi://server/1"), 0))
    await ledger.change("one", grants=[grant])
    work: dict[str, Callable[[], Coroutine[Any, Any, object]]] = {
        "add": lambda: ledger.add(Row("two", Request("two", "cdmi://server/2"), 0)),
        "change": lambda: ledger.change(
            "one", grants=[Grant("https://server/cdmi/2", "key", INITIATOR)], goal=Goal.GONE
        ),
        "forget": lambda: ledger.forget("one", revoked=[grant]),
    }
    store.hold = True
    task = asyncio.create_task(work[change]())
    await store.reached.wait()
    task.cancel()
    await asyncio.sleep(0)
    store.free.set()
    await asyncio.gather(task, return_exceptions=True)
    assert task.cancelled()
    rows, grants = dict(ledger.rows), set(ledger.grants)
    store.hold = False
    await ledger.load()
    inner.close()
    assert (rows, grants) == (ledger.rows, ledger.grants)


async def test_what_is_half_way_out_is_never_taken_for_attached(world: World) -> None:
    source = world.add_object()
    async with running(world) as daemon:
        await daemon.attach("one", source)
        await daemon.ledger.change("one", goal=Goal.GONE, phase=Phase.ATTACHED)
        await refused(daemon.attach("one", source), Code.BUSY)
        await daemon.detach("one")


async def test_nobody_logs_in_before_the_server_has_let_this_host_in(world: World) -> None:
    source = world.add_object()
    async with running(world) as daemon:
        gate, steps = Gate(world, "grant"), Steps(world)
        attaching = asyncio.create_task(daemon.attach("one", source))
        await gate.reached.wait()
        await steps.seen(CreateRecord)
        for _ in range(100):
            await asyncio.sleep(0)
        assert [type(step) for step in steps.taken] == [CreateRecord]
        async with daemon.desk.locks.hold(iscsi.needs(daemon.ledger.rows["one"].plan or {})):
            pass  # nothing is held while the server is waited for
        gate.opened.set()
        await attaching


async def test_a_server_that_refuses_while_the_record_is_made_leaves_nothing(world: World) -> None:
    source = world.add_object()
    before = world.kernel.inventory()

    async def refuse(moment: Moment, what: str, _uri: str) -> None:
        if (moment, what) == (Moment.BEFORE, "grant"):
            raise Problem(Code.CDMI_REFUSED, "this host may not")

    async with running(world) as daemon:
        world.cdmi.hook = refuse
        await refused(daemon.attach("one", source), Code.CDMI_REFUSED)
        assert daemon.engine.view("one")["phase"] == "failed"
    assert world.kernel.inventory() == before


async def test_what_a_crash_left_standing_is_not_attached_before_the_server_has_answered(
    world: World,
) -> None:
    source = world.add_object()
    before = world.kernel.inventory()
    async with running(world) as daemon:
        await daemon.attach("one", source)
        change: dict[str, Any] = {"phase": Phase.ATTACHING, "handed_out": False, "device": None, "verified": False}
        await daemon.ledger.change("one", **change)  # as a crash after the last step leaves it
    reached, opened = asyncio.Event(), asyncio.Event()

    async def refuse(moment: Moment, what: str, _uri: str) -> None:
        if (moment, what) == (Moment.BEFORE, "grant"):
            reached.set()
            await opened.wait()
            raise Problem(Code.CDMI_REFUSED, "this host may not")

    world.cdmi.hook = refuse
    async with running(world) as daemon:
        await reached.wait()
        for _ in range(100):
            await asyncio.sleep(0)
        assert not daemon.ledger.rows["one"].handed_out and daemon.engine.view("one")["phase"] == "attaching"
        opened.set()
        await daemon.engine.settled()
        assert daemon.engine.view("one")["phase"] == "failed"
    assert world.kernel.inventory() == before
