"""The simulated host on its own: time, the storage network, faults, domains; what the contract tests do not see."""

import asyncio
import json
import os
from pathlib import Path

import pytest

from agent.host.simulated import SimulatedHost
from agent.host.simulated_clock import VirtualClock
from agent.host.simulated_faults import Crash, Faults, Hang, Moment
from agent.host.simulated_kernel import INITIATOR
from agent.host.simulated_san import Lun, San
from agent.host.simulation import simulated_host
from attachers.base import Uncertain
from attachers.problems import Code, Problem
from attachers.sights import DomainDisk, DomainQuery, DomainSight, HostQuery, HostSight, IscsiQuery, ScsiSight
from attachers.steps import LINKS, CreateRecord, GiveDisk, Login, Publish, RemoveDevice, Scan, TakeDisk
from tests.allowed import anywhere

T, P, W = "iqn.2024-01.org.example:one", "10.0.0.1:3260", "naa.6001405000000001"
HCTL = "3:0:0:1"


def a_host() -> SimulatedHost:
    return SimulatedHost(San([Lun(T, (P,), 1, W, 1 << 20, (INITIATOR,))]), clock=VirtualClock(), hook=Faults())


def faults_of(host: SimulatedHost) -> Faults:
    assert isinstance(host.hook, Faults)
    return host.hook


async def look(host: SimulatedHost, *, holders: bool = False) -> ScsiSight:
    sight = await host.observe(IscsiQuery("vm", T, (P,), 1, W, holders=holders))
    assert isinstance(sight, ScsiSight)
    return sight


async def bring_up(host: SimulatedHost) -> None:
    for step in (CreateRecord(T, P), Login(T, P), Scan(HCTL, T, P)):
        await host.act(step, timeout_s=30)
    await host.changed(host.changes, timeout_s=30)
    await host.act(Publish("vm", HCTL, W, False, ""), timeout_s=30)


async def test_time_jumps_only_when_all_wait() -> None:
    host = a_host()
    began, seen = host.now(), []

    async def wait(seconds: float) -> None:
        await host.changed(host.changes, timeout_s=seconds)
        seen.append(host.now() - began)

    await asyncio.gather(wait(30), wait(10), wait(20))
    assert seen == [10, 20, 30]


async def test_a_change_ends_the_wait_before_time_does() -> None:
    host = a_host()
    began = host.now()
    waiting = asyncio.create_task(host.changed(host.changes, timeout_s=30))
    await asyncio.sleep(0)
    host.touch()
    await waiting
    assert host.now() == began


async def test_the_node_comes_after_the_device() -> None:
    host = a_host()
    for step in (CreateRecord(T, P), Login(T, P), Scan(HCTL, T, P)):
        await host.act(step, timeout_s=30)
    (path,) = (await look(host)).paths
    assert (path.node, path.size, path.sysfs_wwid) == (None, 0, W)
    with pytest.raises(Problem):
        await host.act(Publish("vm", HCTL, W, False, ""), timeout_s=30)
    await host.changed(host.changes, timeout_s=30)
    assert (await look(host)).paths[0].node == "/dev/sda"


async def test_a_dead_portal_costs_time() -> None:
    host = a_host()
    host.san.dead.add(P)
    await host.act(CreateRecord(T, P), timeout_s=30)
    began = host.now()
    with pytest.raises(Problem) as caught:
        await host.act(Login(T, P), timeout_s=30)
    assert caught.value.code is Code.TARGET_TIMEOUT and host.now() - began == 15
    with pytest.raises(Uncertain):
        await host.act(Login(T, P), timeout_s=5)
    assert (await look(host)).busy and host.now() - began == 20
    host.san.dead.clear()  # it answers in time after all
    await host.changed(host.changes, timeout_s=30)
    sight = await look(host)
    assert not sight.busy and len(sight.sessions) == 1 and host.now() - began == 30


async def test_a_step_that_hangs_for_good() -> None:
    host = a_host()
    faults_of(host).on(CreateRecord, Hang(float("inf")))
    with pytest.raises(Uncertain):
        await host.act(CreateRecord(T, P), timeout_s=5)
    await host.changed(host.changes, timeout_s=1000)
    assert (await look(host)).busy and not host.inventory()
    sight = await host.observe(HostQuery())
    assert isinstance(sight, HostSight) and sight.stragglers == 1
    host.crashed()
    assert not (await look(host)).busy


async def test_faults_are_scripted() -> None:
    host = a_host()
    faults = faults_of(host)
    faults.on(CreateRecord(T, P), Problem(Code.INTERNAL, "once"))
    faults.on(CreateRecord, Crash(), moment=Moment.AFTER)
    with pytest.raises(Problem):
        await host.act(CreateRecord(T, P), timeout_s=1)
    assert not host.inventory()
    with pytest.raises(Crash):
        await host.act(CreateRecord(T, P), timeout_s=1)
    assert host.inventory()
    faults.crash_at(faults.points + 1)
    with pytest.raises(Crash):
        await look(host)
    faults.clear()
    assert (await look(host)).records


async def test_an_unmapped_lun_answers_nothing() -> None:
    host = a_host()
    await bring_up(host)
    host.san.remove(T, 1)
    (path,) = (await look(host)).paths
    assert not path.designators and path.inquiry_error and path.sysfs_wwid == W
    with pytest.raises(Problem) as caught:
        await host.act(Publish("vm", HCTL, W, False, ""), timeout_s=30)
    assert caught.value.code is Code.UNAVAILABLE


async def test_domains_hold_what_they_are_given() -> None:
    host = a_host()
    await bring_up(host)
    host.add_domain("one-7")
    give = GiveDisk("vm", "one-7", "sda", "scsi", False)
    for _ in range(2):
        await host.act(give, timeout_s=30)
    assert await host.observe(DomainQuery("one-7")) == DomainSight(
        True, True, (DomainDisk("sda", f"{LINKS}/vm"),), runs=True
    )
    assert (await look(host, holders=True)).paths[0].holders == ("domain one-7",)
    with pytest.raises(Problem) as caught:
        await host.act(RemoveDevice(HCTL), timeout_s=30)
    assert caught.value.code is Code.IN_USE
    host.san.swap(T, 1, wwid=f"{W[:-1]}f")
    with pytest.raises(Problem) as caught:
        await host.act(GiveDisk("vm", "one-7", "sdb", "scsi", False), timeout_s=30)
    assert caught.value.code is Code.WRONG_DEVICE, "the link's disk proves itself at the hand-over"
    host.san.swap(T, 1, wwid=W)
    for step in (GiveDisk("other", "one-7", "sda", "scsi", False), TakeDisk("other", "one-7", "sda")):
        with pytest.raises(Problem) as caught:
            await host.act(step, timeout_s=30)
        assert caught.value.code is Code.CONFLICT
    for _ in range(2):
        await host.act(TakeDisk("vm", "one-7", "sda"), timeout_s=30)
    await host.act(RemoveDevice(HCTL), timeout_s=30)
    assert await host.observe(DomainQuery("no")) == DomainSight(False, False)


async def test_a_reboot_keeps_records_only() -> None:
    host = a_host()
    await bring_up(host)
    before = await host.observe(HostQuery())
    host.reboot()
    after = await host.observe(HostQuery())
    assert isinstance(before, HostSight) and isinstance(after, HostSight) and before.boot_id != after.boot_id
    assert host.inventory() == {f"record {T} at {P}: cdmi-attach"}


async def test_the_network_is_read_from_a_file_again_and_again(tmp_path: Path) -> None:
    file = tmp_path / "san.json"
    lun = {"target": T, "portals": ["10.0.0.1"], "lun": 1, "wwid": W, "size": 4096, "initiators": [INITIATOR]}
    file.write_text(json.dumps({"luns": []}))
    host = await simulated_host(file, anywhere)
    await host.act(CreateRecord(T, P), timeout_s=1)
    with pytest.raises(Problem):
        await host.act(Login(T, P), timeout_s=1)
    file.write_text(json.dumps({"luns": [lun]}))
    await host.act(Login(T, P), timeout_s=1)
    sight = await host.observe(IscsiQuery("vm", T, (P,), 1))
    assert isinstance(sight, ScsiSight)
    hctl = f"{sight.sessions[0].host}:0:0:1"
    await host.act(Scan(hctl, T, P), timeout_s=1)
    file.write_text(json.dumps({"luns": [lun | {"wwid": W[:-1] + "2"}]}))
    os.utime(file, (1, 1))
    sight = await host.observe(IscsiQuery("vm", T, (P,), 1))
    assert isinstance(sight, ScsiSight)
    assert sight.paths[0].designators == {W[:-1] + "2"} and sight.paths[0].sysfs_wwid == W
    await host.close()


@pytest.mark.parametrize("fails", [False, True])
async def test_a_slow_step_takes_effect_once_though_another_looks_at_that_very_moment(fails: bool) -> None:
    """Else a login would find the session that it has just made, and take it for somebody else's."""
    host = a_host()
    await host.act(CreateRecord(T, P), timeout_s=30)
    faults_of(host).on(Login, Hang(5))
    host.san.dead |= {P} if fails else set()
    waits = [asyncio.create_task(host.changed(host.changes, timeout_s=5)) for _ in range(2)]
    outcome = (await asyncio.gather(host.act(Login(T, P), timeout_s=30), *waits, return_exceptions=True))[0]
    assert (isinstance(outcome, Problem)) if fails else (outcome is None)
    assert len((await look(host)).sessions) == (0 if fails else 1)
