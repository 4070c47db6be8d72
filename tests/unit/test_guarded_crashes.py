"""The guard: a crash at any point leaves neither a leak nor a loss."""

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from agent.host.created import Kind, Thing, open_created
from agent.host.guarded import STRAGGLE_S, GuardedHost
from agent.host.simulated import SimulatedHost
from agent.host.simulated_faults import Crash, Hang, Moment
from attachers.base import Goal, Gone, Uncertain
from attachers.problems import Code, Problem
from attachers.steps import CreateRecord, DeleteRecord, Login, RemoveDevice
from tests.unit.guarded_world import WWID, P, Q, T, a_host, act, converge, faults_of, guard, look


@pytest.fixture
def raw() -> SimulatedHost:
    return a_host()


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
    assert host.now() - began == pytest.approx(STRAGGLE_S)
    assert not (await look(host)).busy
    assert Thing(Kind.SESSION, T, P) not in host._created.rows
    await host.close()


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


async def test_a_new_boot_voids_all_but_records_and_what_was_said_to_be_ours(
    tmp_path: Path, raw: SimulatedHost
) -> None:
    host = await guard(raw, tmp_path / "l")
    await converge(host, Goal.ATTACHED)
    host._created.close()
    raw.reboot()
    raw.foreign_session(T, P)
    raw.foreign_device(T, P, 1)
    host = await guard(raw, tmp_path / "l")
    assert {*host._created.rows} == {Thing(Kind.RECORD, T, P), Thing(Kind.OWNED, T, name="1")}
    sight = await look(host)
    assert sight.records[0].ours and not sight.sessions[0].ours
    assert sight.paths[0].ours, "it was not there before it was asked for (case 77)"
    await host.close()


@pytest.mark.parametrize("reboot", [False, True])
async def test_a_write_out_whose_answer_was_lost_in_a_power_cut_is_not_taken_for_done(
    tmp_path: Path, raw: SimulatedHost, reboot: bool
) -> None:
    """What the kernel knew of it is gone with the boot. As long as it runs, it tells whether anything was lost."""
    host = await guard(raw, tmp_path / "l")
    await converge(host, Goal.ATTACHED)
    faults_of(raw).on(RemoveDevice, Crash())
    with pytest.raises(Crash):
        await converge(host, Goal.GONE)
    host._created.close()
    if reboot:
        raw.reboot()
    host = await guard(raw, tmp_path / "l")
    await converge(host, Goal.ATTACHED)
    assert (await look(host)).dirty is reboot
    if reboot:
        with pytest.raises(Problem) as caught:
            await act(host, RemoveDevice("3:0:0:1", WWID))
        assert caught.value.code is Code.DIRTY and list(raw.kernel.devices())
    await host.close()


async def test_what_the_disk_refused_to_forget_is_forgotten_with_the_next_commit(
    tmp_path: Path, raw: SimulatedHost
) -> None:
    """The record is ours no more, though the disk was full just then: an administrator's of the same name is his."""
    host = await guard(raw, tmp_path / "l")
    await act(host, CreateRecord(T, P), CreateRecord(T, Q))
    host._created._store._conn.execute("PRAGMA busy_timeout=0")
    with closing(sqlite3.connect(tmp_path / "l", isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        await act(host, DeleteRecord(T, P))
        with pytest.raises(Problem, match="locked"):
            await look(host)
    await act(host, DeleteRecord(T, Q))
    await host.close()
    raw.foreign_record(T, P)
    host = await guard(raw, tmp_path / "l")
    with pytest.raises(Problem, match="not created by this daemon"):
        await act(host, DeleteRecord(T, P))
    await host.close()
