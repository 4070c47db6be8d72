"""The guard: what is ours, what is not, and that a crash at any point leaves neither a leak nor a loss."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from agent.host.created import Created, Kind, Row, Thing, open_created
from agent.host.guarded import GuardedHost
from agent.host.simulated import SimulatedHost
from agent.host.simulated_clock import VirtualClock
from agent.host.simulated_faults import Crash, Faults, Hang, Moment
from agent.host.simulated_kernel import INITIATOR
from agent.host.simulated_san import Lun, San
from agent.store import MEMORY
from attachers import iscsi
from attachers.base import Act, Context, Decision, Goal, Gone, Host, Ready, Uncertain, Wait
from attachers.problems import Code, Problem
from attachers.sights import IscsiQuery, IscsiSight
from attachers.steps import (
    CreateRecord,
    DeleteRecord,
    Flush,
    Login,
    Logout,
    Publish,
    RemoveDevice,
    Scan,
    Step,
    Unpublish,
)

T, P, Q = "iqn.2024-01.org.example:one", "10.0.0.1:3260", "10.0.0.2:3260"
WWID, OTHER = "naa.6001405000000001", "naa.6001405000000002"
PLAN = iscsi.Plan(T, (P,), 1, WWID, 1 << 20).as_json()


def a_host() -> SimulatedHost:
    san = San([Lun(T, (P, Q), lun, wwid, 1 << 20, (INITIATOR,)) for lun, wwid in ((1, WWID), (2, OTHER))])
    return SimulatedHost(san, clock=VirtualClock(), hook=Faults())


async def guard(raw: SimulatedHost, path: Path | str = MEMORY) -> GuardedHost:
    guarded = GuardedHost(raw, open_created(path, inline=True))
    await guarded.recover()
    return guarded


async def look(host: Host, *, portal: str = P, name: str = "vm", holders: bool = False, lun: int = 1) -> IscsiSight:
    sight = await host.observe(IscsiQuery(name, T, (portal,), lun, WWID, holders=holders))
    assert isinstance(sight, IscsiSight)
    return sight


async def act(host: Host, *steps: Step) -> None:
    for step in steps:
        await host.act(step, timeout_s=30)


async def converge(host: Host, goal: Goal) -> Decision:
    """The engine's loop, in short."""
    done: list[Step] = []
    failed: dict[Step, Problem] = {}
    for _ in range(40):
        since = host.changes
        sight = await host.observe(iscsi.query("vm", PLAN, goal=goal))
        decision = iscsi.decide(goal, PLAN, sight, Context("vm", done=tuple(done), failed=failed))
        if isinstance(decision, Act):
            try:
                await host.act(decision.step, timeout_s=30)
            except Problem as problem:
                failed[decision.step] = problem
            done.append(decision.step)
        elif isinstance(decision, Wait):
            await host.changed(since, timeout_s=5)
        else:
            return decision
    raise AssertionError("it never ends")


@pytest.fixture
async def raw() -> AsyncIterator[SimulatedHost]:
    yield a_host()


def faults_of(raw: SimulatedHost) -> Faults:
    assert isinstance(raw.hook, Faults)
    return raw.hook


async def test_attach_and_detach_leave_nothing(raw: SimulatedHost) -> None:
    host = await guard(raw)
    assert isinstance(await converge(host, Goal.ATTACHED), Ready)
    assert len(raw.inventory()) == 6
    assert await converge(host, Goal.GONE) == Gone()
    assert not raw.inventory()
    assert not host._created.rows


@pytest.mark.parametrize("goal", list(Goal))
@pytest.mark.parametrize("reboot", [False, True])
async def test_a_crash_at_any_point_is_undone(tmp_path: Path, goal: Goal, reboot: bool) -> None:
    point = 0
    while True:
        raw = a_host()
        faults, ledger = faults_of(raw), tmp_path / f"{point}.sqlite"
        host = await guard(raw, ledger)
        if goal is Goal.GONE:
            await converge(host, Goal.ATTACHED)
        faults.crash_at(faults.points + point)
        try:
            await converge(host, goal)
            break
        except Crash:
            host._created.close()
        faults.clear()
        raw.crashed()
        if reboot:
            raw.reboot()
        host = await guard(raw, ledger)
        assert await converge(host, Goal.GONE) == Gone()
        assert not raw.inventory(), point
        assert not host._created.rows
        await host.close()
        point += 1
    assert point > 20
    await host.close()


async def test_a_crash_in_recovery_loses_nothing(tmp_path: Path, raw: SimulatedHost) -> None:
    host = await guard(raw, tmp_path / "l")
    await converge(host, Goal.ATTACHED)
    host._created.close()
    for point in range(20):
        faults_of(raw).crash_at(faults_of(raw).points + point)
        host = GuardedHost(raw, open_created(tmp_path / "l", inline=True))
        try:
            await host.recover()
        except Crash:
            host._created.close()
            continue
        break
    faults_of(raw).clear()
    assert point > 3
    assert await converge(host, Goal.GONE) == Gone()
    assert not raw.inventory()
    await host.close()


async def test_a_login_that_comes_after_the_crash_is_ours(tmp_path: Path, raw: SimulatedHost) -> None:
    host = await guard(raw, tmp_path / "l")
    await act(host, CreateRecord(T, P))
    faults_of(raw).on(Login, Hang(5.0))
    with pytest.raises(Uncertain):
        await host.act(Login(T, P), timeout_s=1)
    host._created.close()
    raw.crashed()
    host = await guard(raw, tmp_path / "l")
    sight = await look(host)
    assert not sight.sessions and "before the helper restarted" in sight.busy[0]
    await host.changed(host.changes, timeout_s=60)
    sight = await look(host)
    assert sight.sessions[0].ours and not sight.busy
    assert await converge(host, Goal.GONE) == Gone()
    assert not raw.inventory()
    await host.close()


async def test_a_login_that_never_came_is_forgotten_in_time(tmp_path: Path, raw: SimulatedHost) -> None:
    host = await guard(raw, tmp_path / "l")
    await act(host, CreateRecord(T, P))
    faults_of(raw).on(Login, Crash())
    with pytest.raises(Crash):
        await act(host, Login(T, P))
    host._created.close()
    host = await guard(raw, tmp_path / "l")
    began = host.now()
    assert (await look(host)).busy
    await host.changed(host.changes, timeout_s=60)
    assert host.now() - began == pytest.approx(20)
    assert not (await look(host)).busy
    assert Thing(Kind.SESSION, T, P) not in host._created.rows
    await host.close()


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


async def test_a_device_that_others_removed_and_made_again_is_theirs(raw: SimulatedHost) -> None:
    host = await guard(raw)
    await converge(host, Goal.ATTACHED)
    hctl = (await look(host)).paths[0].hctl
    raw.foreign_removal(hctl)
    assert not (await look(host)).paths
    assert raw.foreign_device(T, P, 1) == hctl
    assert not (await look(host)).paths[0].ours
    with pytest.raises(Problem, match="not created"):
        await act(host, RemoveDevice(hctl))


async def test_a_session_that_others_replaced_is_theirs(raw: SimulatedHost) -> None:
    host = await guard(raw)
    await act(host, CreateRecord(T, P), Login(T, P))
    raw.kernel.sessions.clear()
    raw.foreign_session(T, P)
    with pytest.raises(Problem, match="not created"):
        await act(host, Logout(T, P))
    assert not (await look(host)).sessions[0].ours


async def test_no_logout_while_a_foreign_session_shares_the_portal(raw: SimulatedHost) -> None:
    host = await guard(raw)
    await act(host, CreateRecord(T, P), Login(T, P))
    raw.foreign_session(T, P)
    assert [session.ours for session in (await look(host)).sessions] == [True, False]
    with pytest.raises(Problem, match="session 2"):
        await act(host, Logout(T, P))


async def test_a_half_made_record_is_finished_before_it_is_used(tmp_path: Path, raw: SimulatedHost) -> None:
    host = await guard(raw, tmp_path / "l")
    faults_of(raw).on(CreateRecord, Crash(), moment=Moment.AFTER)
    with pytest.raises(Crash):
        await act(host, CreateRecord(T, P))
    raw.kernel.records[T, P] = "half"
    host._created.close()
    host = await guard(raw, tmp_path / "l")
    assert (await look(host)).records[0].ours
    await act(host, Login(T, P))
    assert raw.kernel.records[T, P] == "cdmi-attach"
    await host.close()


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
    for step in (Publish("vm", "0:0:0:0", WWID, False, "vm:vm"), Flush("0:0:0:0", WWID)):
        with pytest.raises(Problem, match="not been looked at"):
            await act(host, step)
    await act(host, CreateRecord(T, P), Login(T, P))
    with pytest.raises(Problem, match="leads to"):
        await act(host, Scan("0:0:0:0", T, P))


@pytest.mark.parametrize(
    "step",
    [CreateRecord(T, "10.0.0.1"), Login(T.replace("org", "ORG"), P), RemoveDevice("03:0:0:1")],
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

    async def slow(query: IscsiQuery) -> IscsiSight:
        sight = await observe(query)
        if query.lun == 1:
            begun.set()
            await late.wait()
        assert isinstance(sight, IscsiSight)
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


async def test_a_new_boot_voids_all_but_records(tmp_path: Path, raw: SimulatedHost) -> None:
    host = await guard(raw, tmp_path / "l")
    await converge(host, Goal.ATTACHED)
    host._created.close()
    raw.reboot()
    raw.foreign_session(T, P)
    raw.foreign_device(T, P, 1)
    host = await guard(raw, tmp_path / "l")
    assert list(host._created.rows) == [Thing(Kind.RECORD, T, P)]
    sight = await look(host)
    assert sight.records[0].ours and not sight.sessions[0].ours and not sight.paths[0].ours
    await host.close()


async def test_rows_survive_on_disk(tmp_path: Path) -> None:
    row = Row(Thing(Kind.DEVICE, T, P, "3:0:0:1"), "boot", 12.5, 7, True)
    created: Created = open_created(tmp_path / "l")
    await created.put(row)
    created.close()
    created = open_created(tmp_path / "l")
    assert dict(created.rows) == {row.thing: row}
    created.close()
