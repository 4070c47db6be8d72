"""The guard: what is ours, what is not, and what is refused."""

import asyncio
from pathlib import Path

import pytest

from agent.host.created import Created, Kind, Row, Thing, open_created
from agent.host.guarded import GuardedHost
from agent.host.simulated import SimulatedHost
from agent.host.simulated_faults import Crash, Hang, Moment
from agent.store import MEMORY
from attachers.base import Goal, Gone, Ready, Uncertain
from attachers.problems import Code, Problem
from attachers.sights import IscsiQuery, Query, ScsiSight
from attachers.steps import (
    STEPS,
    CreateRecord,
    DeleteRecord,
    Login,
    Logout,
    Publish,
    RemoveDevice,
    Scan,
    Step,
    Unpublish,
)
from tests.unit.guarded_world import WWID, P, Q, T, a_host, act, converge, faults_of, guard, look


@pytest.fixture
def raw() -> SimulatedHost:
    return a_host()


def taken_by(raw: SimulatedHost) -> list[Step]:
    """The steps that reached the kernel."""
    return [what for moment, what in faults_of(raw).log if moment is Moment.BEFORE and isinstance(what, STEPS)]


async def test_attach_and_detach_leave_nothing(raw: SimulatedHost) -> None:
    host = await guard(raw)
    assert isinstance(await converge(host, Goal.ATTACHED), Ready)
    assert len(raw.inventory()) == 7
    assert await converge(host, Goal.GONE) == Gone()
    assert not raw.inventory()
    assert not host._created.rows


async def test_an_uncertain_login_stays_ours_until_its_end(raw: SimulatedHost) -> None:
    host = await guard(raw)
    await act(host, CreateRecord(T, P))
    faults_of(raw).on(Login, Hang(9.0))
    with pytest.raises(Uncertain):
        await host.act(Login(T, P), timeout_s=1)
    assert (await look(host)).busy == (Login(T, P).describe(),)
    await host.changed(host.changes, timeout_s=60)
    assert (await look(host)).sessions[0].ours


async def test_a_refused_login_leaves_no_intent(raw: SimulatedHost) -> None:
    raw.san.remove(T, 1)
    raw.san.remove(T, 2)
    host = await guard(raw)
    await act(host, CreateRecord(T, P))
    with pytest.raises(Problem) as caught:
        await act(host, Login(T, P))
    assert caught.value.code is Code.TARGET_REFUSED
    assert list(host._created.rows) == [Thing(Kind.RECORD, T, P)]


async def test_a_login_that_worked_in_spite_of_its_error_is_ours(raw: SimulatedHost) -> None:
    host = await guard(raw)
    await act(host, CreateRecord(T, P))
    faults_of(raw).on(Login, Problem(Code.TARGET_TIMEOUT, "rc 8"), moment=Moment.AFTER)
    with pytest.raises(Problem):
        await act(host, Login(T, P))
    assert (await look(host)).sessions[0].ours


async def test_what_an_administrator_made_is_neither_ours_nor_undone(raw: SimulatedHost) -> None:
    number = raw.foreign_session(T, P)
    hctl = raw.foreign_device(T, P, 1)
    before = raw.inventory()
    host = await guard(raw)
    await act(host, CreateRecord(T, P), Login(T, P), Scan(f"{number}:0:0:1", T, P))
    assert raw.inventory() == before
    sight = await look(host)
    assert not (sight.records[0].ours or sight.sessions[0].ours or sight.paths[0].ours)
    for step in (RemoveDevice(hctl), Logout(T, P), DeleteRecord(T, P)):
        with pytest.raises(Problem, match="not created by this daemon") as caught:
            await act(host, step)
        assert caught.value.code is Code.CONFLICT
    assert raw.inventory() == before


async def test_our_device_on_a_foreign_session(raw: SimulatedHost) -> None:
    raw.foreign_session(T, P)
    before = raw.inventory()
    host = await guard(raw)
    assert isinstance(await converge(host, Goal.ATTACHED), Ready)
    assert await converge(host, Goal.GONE) == Gone()
    assert raw.inventory() == before


async def test_a_device_that_others_removed_and_made_again_is_ours_still(raw: SimulatedHost) -> None:
    """Case 77: the LUN was not there before it was asked for; whoever has it found, it goes with the detach."""
    host = await guard(raw)
    await converge(host, Goal.ATTACHED)
    hctl = (await look(host)).paths[0].hctl
    raw.foreign_removal(hctl)
    assert not (await look(host)).paths
    assert raw.foreign_device(T, P, 1) == hctl
    assert (await look(host)).paths[0].ours
    assert await converge(host, Goal.GONE) == Gone()
    assert not raw.inventory() and not host._created.rows


async def test_a_session_that_others_replaced_is_theirs(raw: SimulatedHost) -> None:
    host = await guard(raw)
    await act(host, CreateRecord(T, P), Login(T, P))
    raw.kernel.sessions.clear()
    raw.foreign_session(T, P)
    with pytest.raises(Problem, match="not created"):
        await act(host, Logout(T, P))
    assert not (await look(host)).sessions[0].ours


async def test_of_two_sessions_to_one_portal_ours_is_logged_out(raw: SimulatedHost) -> None:
    """Case 36: an administrator's, through another interface, stays."""
    host = await guard(raw)
    await act(host, CreateRecord(T, P), Login(T, P))
    raw.foreign_session(T, P)
    assert [session.ours for session in (await look(host)).sessions] == [True, False]
    with pytest.raises(Problem, match="not created"):
        await act(host, Logout(T, P, sid=2))
    await act(host, Logout(T, P))
    assert [(session.sid, session.ours) for session in (await look(host)).sessions] == [(2, False)]
    with pytest.raises(Problem, match="not created"):
        await act(host, Logout(T, P))


def several(raw: SimulatedHost, count: int = 3) -> None:
    """Somebody has written into the record that a login makes so many sessions, after we made it."""
    raw.kernel.several[T, P] = count


async def test_all_sessions_that_came_of_our_login_are_ours_and_go(raw: SimulatedHost) -> None:
    """Case 78."""
    host = await guard(raw)
    await act(host, CreateRecord(T, P))
    several(raw)
    await act(host, Login(T, P))
    assert [session.ours for session in (await look(host)).sessions] == [True] * 3
    raw.foreign_session(T, P)
    assert isinstance(await converge(host, Goal.ATTACHED), Ready)
    assert isinstance(await converge(host, Goal.GONE), Gone)
    assert [(session.sid, session.ours) for session in (await look(host)).sessions] == [(4, False)]
    assert not [thing for thing in host.created if thing.kind is Kind.SESSION]


async def test_all_sessions_of_a_login_that_a_crash_cut_off_are_ours(raw: SimulatedHost, tmp_path: Path) -> None:
    """Case 78: nobody was there to see what came of it."""
    host = await guard(raw, tmp_path / "created")
    await act(host, CreateRecord(T, P))
    several(raw, 2)
    faults_of(raw).on(Login, Crash(), moment=Moment.AFTER)
    with pytest.raises(Crash):
        await act(host, Login(T, P))
    await host.close()
    host = await guard(raw, tmp_path / "created")
    assert [session.ours for session in (await look(host)).sessions] == [True] * 2
    await act(host, Logout(T, P, sid=2), Logout(T, P), DeleteRecord(T, P))
    assert not raw.kernel.sessions and not host.created


async def test_sessions_that_stood_before_stay_and_their_disks_are_seen(raw: SimulatedHost) -> None:
    """Case 78: an administrator's, of one record. What uses a disk on any of them uses the unit."""
    for _ in range(2):
        raw.foreign_session(T, P)
    for session in list(raw.kernel.sessions.values()):
        raw.kernel.add_device(session, 1)
    raw.kernel.probe()
    host = await guard(raw)
    sight = await look(host)
    assert [(path.hctl, path.ours) for path in sight.paths] == [("3:0:0:1", False), ("4:0:0:1", False)]
    raw.open_device("4:0:0:1", holder="mount /srv")
    assert (await look(host, holders=True)).users == ("mount /srv",)
    assert isinstance(await converge(host, Goal.GONE), Gone)
    assert len(raw.kernel.sessions) == 2 and len(list(raw.kernel.devices())) == 2


async def test_a_session_that_somebody_else_made_at_that_moment_is_not_ours(raw: SimulatedHost) -> None:
    host = await guard(raw)
    await act(host, CreateRecord(T, P))

    async def somebody_logs_in(moment: Moment, what: Step | Query) -> None:
        if (moment, what) == (Moment.BEFORE, Login(T, P)):
            raw.foreign_session(T, P)

    raw.hook = somebody_logs_in
    await act(host, Login(T, P))
    assert [session.ours for session in (await look(host)).sessions] == [False]
    with pytest.raises(Problem, match="not created"):
        await act(host, Logout(T, P))


async def test_a_record_of_ours_is_made_anew_after_a_boot_and_when_it_was_written_over(
    raw: SimulatedHost, tmp_path: Path
) -> None:
    """Cases 10, 28, 29: another open-iscsi may have come, or a discovery; a login is made with our settings only."""
    host = await guard(raw, tmp_path / "created")
    await act(host, CreateRecord(T, P))
    raw.reboot()
    host._created.close()
    host = await guard(raw, tmp_path / "created")
    for spoilt in ({}, {(T, P): "it scans"}):
        raw.kernel.flaws.update(spoilt)
        faults_of(raw).log.clear()
        for _ in range(2):
            await act(host, Login(T, P), Logout(T, P))
            assert taken_by(raw).count(CreateRecord(T, P)) == 1, "once is enough"
        assert not (await look(host)).records[0].flaw


async def test_a_record_of_ours_that_nobody_can_use_goes_at_the_start(raw: SimulatedHost, tmp_path: Path) -> None:
    """Cases 27 and 28: unless a session was made with it. One of somebody else stays as it is."""
    host = await guard(raw, tmp_path / "created")
    await act(host, CreateRecord(T, P), CreateRecord(T, Q), Login(T, Q))
    raw.foreign_record("iqn.2024-01.org.example:theirs", P, flaw="it is empty")
    raw.kernel.flaws.update({(T, P): "it is empty", (T, Q): "it is empty"})
    host._created.close()
    host = await guard(raw, tmp_path / "created")
    assert {*raw.kernel.records} == {(T, Q), ("iqn.2024-01.org.example:theirs", P)}
    assert Thing(Kind.RECORD, T, P) not in host.created
    await act(host, Login(T, Q), Logout(T, Q), DeleteRecord(T, Q))


async def test_a_record_of_somebody_else_is_used_as_it_is(raw: SimulatedHost) -> None:
    host = await guard(raw)
    raw.foreign_record(T, P)
    await act(host, Login(T, P, "https://store.example.org/", "storage"))
    assert taken_by(raw) == [Login(T, P)], "neither our interface nor our secret goes into it"


async def test_links_of_others_stay(raw: SimulatedHost) -> None:
    host = await guard(raw)
    await converge(host, Goal.ATTACHED)
    raw.kernel.links["theirs"] = "/dev/sda"
    hctl = (await look(host)).paths[0].hctl
    for step in (Unpublish("theirs", None), Publish("theirs", hctl, WWID, False, "")):
        with pytest.raises(Problem, match="not created"):
            await act(host, step)
    assert raw.kernel.links["theirs"] == "/dev/sda"


async def test_a_device_link_stays_while_another_name_needs_it(raw: SimulatedHost) -> None:
    host = await guard(raw)
    await converge(host, Goal.ATTACHED)
    hctl = (await look(host)).paths[0].hctl
    await act(host, Publish("two", hctl, WWID, False, ""), Unpublish("two", WWID))
    assert raw.kernel.device_links == {WWID: hctl}
    await act(host, Unpublish("vm", WWID), Unpublish("vm", WWID))
    assert raw.kernel.device_links == {}


async def test_only_what_was_seen_is_handed_out(raw: SimulatedHost) -> None:
    host = await guard(raw)
    with pytest.raises(Problem, match="not been looked at"):
        await act(host, Publish("vm", "0:0:0:0", WWID, False, "vm:vm"))
    await act(host, CreateRecord(T, P), Login(T, P))
    with pytest.raises(Problem, match="leads to"):
        await act(host, Scan("0:0:0:0", T, P))


@pytest.mark.parametrize(
    "step",
    [CreateRecord(T, "10.0.0.1"), Login(T, "10.0.0.1"), RemoveDevice("03:0:0:1")],
)
async def test_other_spellings_are_refused(raw: SimulatedHost, step: Step) -> None:
    host = await guard(raw)
    with pytest.raises(Problem) as caught:
        await act(host, step)
    assert caught.value.code is Code.INVALID_REQUEST


async def test_nothing_is_done_before_recovery(raw: SimulatedHost) -> None:
    host = GuardedHost(raw, open_created(MEMORY))
    with pytest.raises(Problem):
        await act(host, CreateRecord(T, P))
    with pytest.raises(Problem):
        await look(host)
    assert not raw.inventory()


async def test_an_intent_that_is_not_on_disk_creates_nothing(raw: SimulatedHost) -> None:
    created = open_created(MEMORY)
    host = GuardedHost(raw, created)
    await host.recover()
    created._store._conn.execute("PRAGMA query_only=ON")
    with pytest.raises(Problem):
        await act(host, CreateRecord(T, P))
    assert not raw.inventory() and not created.rows


async def test_a_look_that_began_before_a_step_does_not_undo_its_intent(raw: SimulatedHost) -> None:
    """An observation that is older than a creation says 'gone' of what has just been made."""
    host = await guard(raw)
    await act(host, CreateRecord(T, P))
    late, begun = asyncio.Event(), asyncio.Event()
    observe = raw.observe

    async def slow(query: IscsiQuery) -> ScsiSight:
        sight = await observe(query)
        if query.lun == 1:
            begun.set()
            await late.wait()
        assert isinstance(sight, ScsiSight)
        return sight

    raw.observe = slow  # type: ignore[assignment,method-assign]
    old = asyncio.create_task(look(host))
    await begun.wait()
    await act(host, Login(T, P))
    late.set()
    assert not (await old).sessions
    assert (await look(host)).sessions[0].ours


async def test_steps_on_one_portal_follow_each_other(raw: SimulatedHost) -> None:
    host = await guard(raw)
    await act(host, CreateRecord(T, P))
    await asyncio.gather(
        *(act(host, Login(T, P)) for _ in range(5)), *(act(host, CreateRecord(T, Q)) for _ in range(5))
    )
    assert len(raw.kernel.sessions) == 1
    assert len(host._created.rows) == 3


async def test_rows_survive_on_disk(tmp_path: Path) -> None:
    row = Row(Thing(Kind.DEVICE, T, P, "3:0:0:1"), "boot", 12.5, 7, True)
    created: Created = open_created(tmp_path / "l")
    await created.put(row)
    created.close()
    created = open_created(tmp_path / "l")
    assert dict(created.rows) == {row.thing: row}
    created.close()
