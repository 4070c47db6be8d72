"""The guard and NFS: what is mounted and made of files is in the record first, and nothing else is undone."""

from pathlib import Path

import pytest

from agent.host.created import Kind, open_created
from agent.host.guarded import GuardedHost
from agent.host.simulated import SimulatedHost
from agent.host.simulated_clock import VirtualClock
from agent.host.simulated_faults import Crash, Faults, Hang
from attachers import nfs
from attachers.base import Act, Context, Decision, Fail, Goal, Gone, Keep, Look, Ready, Uncertain, Wait
from attachers.problems import Code, Problem
from attachers.sights import NfsQuery, NfsSight
from attachers.steps import MakeDisk, Mount, RemoveDisk, Step, Unmount

PLAN = nfs.Plan("10.0.0.1", "/srv", "a/disk.img", "4.2", "ID", 1 << 20, options="hard")
FILE_PLAN = nfs.Plan("10.0.0.1", "/srv", "a/disk.img", "4.2", "ID", 1 << 20, present="file")
SHARE, WWID = PLAN.share, PLAN.wwid
MOUNT, UNMOUNT = Mount(SHARE, "hard"), Unmount(SHARE)
MAKE, REMOVE = MakeDisk(SHARE, PLAN.path, WWID, 1 << 20), RemoveDisk(SHARE, WWID)
EFFECTIVE = "rw,nosuid,nodev,noexec,nosymfollow,vers=4.2,hard"


def a_host() -> SimulatedHost:
    host = SimulatedHost(clock=VirtualClock(), hook=Faults())
    host.san.nfs.put(SHARE, PLAN.path, size=1 << 20)
    return host


def faults_of(raw: SimulatedHost) -> Faults:
    assert isinstance(raw.hook, Faults)
    return raw.hook


async def guard(raw: SimulatedHost, path: Path | str) -> GuardedHost:
    guarded = GuardedHost(raw, open_created(path, inline=True))
    await guarded.recover()
    return guarded


async def look(host: GuardedHost) -> NfsSight:
    sight = await host.observe(NfsQuery("vm", SHARE, PLAN.path, WWID))
    assert isinstance(sight, NfsSight)
    return sight


async def converge(host: GuardedHost, goal: Goal, plan: nfs.Plan = PLAN) -> Decision:
    """The engine's loop, in short."""
    done: list[Step] = []
    failed: dict[Step, Problem] = {}
    for _ in range(60):
        since = host.changes
        sight = await host.observe(nfs.query("vm", plan.as_json(), goal=goal))
        context = Context("vm", done=tuple(done), failed=failed)
        decision = nfs.decide(goal, plan.as_json(), sight, context)
        while isinstance(decision, Look):
            decision = nfs.decide(goal, plan.as_json(), await host.observe(decision.query), context)
        if isinstance(decision, Act):
            try:
                await host.act(decision.step, timeout_s=30)
            except Problem as problem:
                failed[decision.step] = problem
            done.append(decision.step)
        elif isinstance(decision, Keep):
            plan = nfs.plan_of({**plan.as_json(), **decision.values})
        elif isinstance(decision, Wait):
            await host.changed(since, timeout_s=5)
        else:
            return decision
    raise AssertionError("it never ends")


@pytest.mark.parametrize("plan", [PLAN, FILE_PLAN], ids=["block", "file"])
@pytest.mark.parametrize("goal", list(Goal))
@pytest.mark.parametrize("reboot", [False, True])
async def test_a_crash_at_any_point_is_undone(tmp_path: Path, goal: Goal, reboot: bool, plan: nfs.Plan) -> None:
    point = 0
    while True:
        raw = a_host()
        faults, ledger = faults_of(raw), tmp_path / f"{point}.sqlite"
        host = await guard(raw, ledger)
        if goal is Goal.GONE:
            assert isinstance(await converge(host, Goal.ATTACHED, plan), Ready)
        faults.crash_at(faults.points + point)
        try:
            await converge(host, goal, plan)
            break
        except Crash:
            host._created.close()
        faults.clear()
        raw.crashed()
        if reboot:
            raw.reboot()
        host = await guard(raw, ledger)
        assert await converge(host, Goal.GONE, plan) == Gone()
        assert not raw.inventory(), point
        assert not host._created.rows
        await host.close()
        point += 1
    assert point > 10
    await host.close()


async def test_what_somebody_else_mounted_is_borrowed_and_stays(tmp_path: Path) -> None:
    """Case 61: at our very place, and mounted as we would have: it is used, and never taken over."""
    raw = a_host()
    raw.kernel.shares.add(SHARE.point, SHARE.source, options=EFFECTIVE)
    host = await guard(raw, tmp_path / "l")
    before = raw.inventory()
    assert isinstance(await converge(host, Goal.ATTACHED), Ready)
    assert not (await look(host)).mounts[0].ours
    assert await converge(host, Goal.GONE) == Gone()
    assert raw.inventory() == before
    with pytest.raises(Problem) as refused:
        await host.act(UNMOUNT, timeout_s=5)
    assert refused.value.code is Code.CONFLICT and raw.inventory() == before
    await host.close()


async def test_something_mounted_over_ours_keeps_it_and_is_kept(tmp_path: Path) -> None:
    """Case 64."""
    raw = a_host()
    host = await guard(raw, tmp_path / "l")
    await converge(host, Goal.ATTACHED, FILE_PLAN)
    raw.kernel.shares.add(SHARE.point, "10.0.0.9:/other", options=EFFECTIVE)
    decision = await converge(host, Goal.GONE, FILE_PLAN)
    assert isinstance(decision, Fail) and decision.problem.code is Code.CONFLICT
    with pytest.raises(Problem):
        await host.act(UNMOUNT, timeout_s=5)
    assert len((await look(host)).mounts) == 2
    raw.kernel.shares.drop(SHARE.point)
    assert await converge(host, Goal.GONE, FILE_PLAN) == Gone()
    assert not raw.inventory()
    await host.close()


async def test_a_mount_in_place_of_ours_is_not_ours(tmp_path: Path) -> None:
    raw = a_host()
    host = await guard(raw, tmp_path / "l")
    await host.act(MOUNT, timeout_s=5)
    raw.kernel.shares.drop(SHARE.point)
    raw.kernel.shares.add(SHARE.point, SHARE.source, options=EFFECTIVE)
    assert not (await look(host)).mounts[0].ours
    with pytest.raises(Problem) as refused:
        await host.act(UNMOUNT, timeout_s=5)
    assert refused.value.code is Code.CONFLICT
    await host.close()


async def test_a_disk_of_somebody_else_is_left_alone(tmp_path: Path) -> None:
    raw = a_host()
    other = GuardedHost(raw, open_created(tmp_path / "other", inline=True))
    await other.recover()
    await other.act(MOUNT, timeout_s=5)
    await other.act(MAKE, timeout_s=5)
    before = raw.inventory()
    host = await guard(raw, tmp_path / "l")
    await host.act(MAKE, timeout_s=5)
    assert not host._created.rows
    decision = await converge(host, Goal.ATTACHED)
    assert isinstance(decision, Fail) and decision.problem.code is Code.CONFLICT
    with pytest.raises(Problem) as refused:
        await host.act(REMOVE, timeout_s=5)
    assert refused.value.code is Code.CONFLICT and raw.inventory() == before
    await host.close()


async def test_a_dead_server_keeps_nothing_in_the_record(tmp_path: Path) -> None:
    """Case 58: what was broken off is not there, and does not come later."""
    raw = a_host()
    raw.san.nfs.dead.add("10.0.0.1")
    host = await guard(raw, tmp_path / "l")
    with pytest.raises(Problem) as late:
        await host.act(MOUNT, timeout_s=20)
    assert late.value.code is Code.TARGET_TIMEOUT
    assert not host._created.rows and not raw.inventory()
    await host.close()


async def test_a_mount_that_comes_after_the_crash_is_ours(tmp_path: Path) -> None:
    raw = a_host()
    host = await guard(raw, tmp_path / "l")
    faults_of(raw).on(Mount, Hang(5.0))
    with pytest.raises(Uncertain):
        await host.act(MOUNT, timeout_s=1)
    host._created.close()
    raw.crashed()
    host = await guard(raw, tmp_path / "l")
    assert "before the helper restarted" in (await look(host)).scsi.busy[0]
    await host.changed(host.changes, timeout_s=60)
    sight = await look(host)
    assert sight.mounts[0].ours and not sight.scsi.busy
    assert await converge(host, Goal.GONE) == Gone()
    assert not raw.inventory()
    await host.close()


async def test_two_disks_share_one_mount_and_the_last_takes_it_along(tmp_path: Path) -> None:
    """Case 62."""
    raw = a_host()
    host = await guard(raw, tmp_path / "l")
    await converge(host, Goal.ATTACHED)
    assert [thing.kind for thing in host._created.rows] == [Kind.MOUNT, Kind.DISK, Kind.LINK]
    for step in (UNMOUNT, UNMOUNT):
        with pytest.raises(Problem) as refused:
            await host.act(step, timeout_s=5)
        assert refused.value.code is Code.IN_USE
    assert await converge(host, Goal.GONE) == Gone()
    assert not raw.inventory() and not host._created.rows
    await host.close()
