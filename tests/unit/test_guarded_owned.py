"""The guard and Fibre Channel: whose a LUN is that the kernel finds, loses and brings back by itself."""

import pytest

from agent.host.created import Kind, open_created
from agent.host.guarded import GuardedHost
from agent.host.simulated import SimulatedHost
from agent.host.simulated_clock import VirtualClock
from agent.host.simulated_faults import Faults, Moment
from agent.host.simulated_san import Lun, San
from agent.store import MEMORY
from attachers.problems import Code, Problem
from attachers.sights import FcQuery, ScsiSight
from attachers.steps import Disown, Own, RemoveDevice, Scan, Step
from tests.unit.guarded_world import act, faults_of, guard

L, L2 = "2000020000000010", "2000020000000012"
R, R2 = "2000020000000011", "2000020000000013"
WWID, OTHER = "naa.6001405000000001", "naa.6001405000000002"
HCTL = "3:0:0:1"
OWN, DISOWN, SCAN, REMOVE = Own((R,), 1), Disown((R,), 1), Scan(HCTL, R, L), RemoveDevice(HCTL)


@pytest.fixture
def raw() -> SimulatedHost:
    """A host with two ports; behind two ports of an array there is a LUN that nobody has permitted yet."""
    host = SimulatedHost(San(), clock=VirtualClock(), hook=Faults())
    host.fabric.connect(L, R)
    host.fabric.connect(L2, R2)
    return host


def permit(raw: SimulatedHost, *targets: str, to: str = L, lun: int = 1) -> None:
    for target in targets or (R,):
        raw.san.add(Lun(target, (), lun, WWID, 1 << 20, (to,)))


async def look(host: GuardedHost, *, lun: int = 1) -> ScsiSight:
    sight = await host.observe(FcQuery("vm", (R, R2), lun, WWID))
    assert isinstance(sight, ScsiSight)
    return sight


async def refused(host: GuardedHost, step: Step) -> Code:
    with pytest.raises(Problem) as caught:
        await act(host, step)
    return caught.value.code


async def test_what_we_asked_for_is_ours_whoever_had_it_found(raw: SimulatedHost) -> None:
    host = await guard(raw)
    before = raw.inventory()
    await act(host, OWN)
    permit(raw)
    raw.fabric.plug(R)  # a port that flaps: the kernel is faster than we are
    sight = await look(host)
    assert sight.owned == (R,) and [path.ours for path in sight.paths] == [True]
    await act(host, SCAN, REMOVE)
    assert raw.inventory() == before
    raw.fabric.plug(R)
    assert [path.ours for path in (await look(host)).paths] == [True], "removed, but not given up"
    assert await refused(host, DISOWN) is Code.BUSY
    await act(host, REMOVE, REMOVE, DISOWN, DISOWN)
    assert not host.created and (await look(host)).owned == ()
    raw.fabric.plug(R)
    assert [path.ours for path in (await look(host)).paths] == [False]
    assert await refused(host, REMOVE) is Code.CONFLICT


async def test_what_was_there_before_is_borrowed_for_ever(raw: SimulatedHost) -> None:
    permit(raw)
    raw.fabric.plug(R)
    host = await guard(raw)
    await act(host, OWN)
    assert [path.ours for path in (await look(host)).paths] == [False]
    assert await refused(host, REMOVE) is Code.CONFLICT
    raw.fabric.lose(R)
    raw.fabric.plug(R)
    assert [path.ours for path in (await look(host)).paths] == [False], "also when it went and came back"
    assert await refused(host, REMOVE) is Code.CONFLICT
    await act(host, DISOWN)
    assert not host.created


async def test_one_way_is_borrowed_and_the_other_is_ours(raw: SimulatedHost) -> None:
    permit(raw)
    raw.fabric.plug(R)
    host = await guard(raw)
    await act(host, Own((R, R2), 1))
    permit(raw, R2, to=L2)
    raw.fabric.plug(R2)
    assert {path.hctl: path.ours for path in (await look(host)).paths} == {HCTL: False, "4:0:0:1": True}
    await act(host, RemoveDevice("4:0:0:1"), Disown((R, R2), 1))
    assert not host.created


async def test_a_scan_of_what_we_did_not_ask_for_is_refused(raw: SimulatedHost) -> None:
    """Case 14: the record says first what is looked for."""
    permit(raw)
    host = await guard(raw)
    assert await refused(host, SCAN) is Code.CONFLICT
    await act(host, Own((R, R2), 1))
    assert await refused(host, Scan("3:0:0:1", R2, L2)) is Code.UNAVAILABLE, "the address is not of that way"
    assert not list(raw.kernel.devices())


async def test_a_scan_that_found_nothing_leaves_only_our_word(raw: SimulatedHost) -> None:
    host = await guard(raw)
    await act(host, OWN, SCAN)
    assert [thing.kind for thing in host.created] == [Kind.OWNED]
    await act(host, DISOWN)
    assert not host.created


async def test_our_word_outlasts_a_reboot_and_the_helper(raw: SimulatedHost) -> None:
    created = open_created(MEMORY)
    host = GuardedHost(raw, created)
    await host.recover()
    await act(host, OWN)
    permit(raw)
    await act(host, SCAN)
    raw.reboot()
    host = GuardedHost(raw, created)
    await host.recover()
    assert [path.ours for path in (await look(host)).paths] == [True], "the kernel found it before us"
    await act(host, REMOVE, DISOWN)
    assert not host.created


async def test_an_address_is_taken_for_what_is_there_now(raw: SimulatedHost) -> None:
    """SCSI host numbers are used again: what has our disk's old address may be anybody's."""
    permit(raw)
    host = await guard(raw)
    await act(host, OWN, SCAN)
    raw.fabric.lose(R)
    (session,) = [one for one in raw.kernel.sessions.values() if one.target == R2]
    session.host = 3
    raw.kernel.sessions = {key: one for key, one in raw.kernel.sessions.items() if one.target == R2}
    permit(raw, R2, to=L2)
    raw.fabric.plug(R2)
    assert [(path.hctl, path.ours) for path in (await look(host)).paths] == [(HCTL, False)]
    assert await refused(host, REMOVE) is Code.CONFLICT
    assert list(raw.kernel.devices())


async def test_another_lun_of_the_same_number_elsewhere_is_not_ours(raw: SimulatedHost) -> None:
    host = await guard(raw)
    await act(host, OWN)
    permit(raw, R2, to=L2)
    raw.fabric.plug(R2)
    assert [path.ours for path in (await look(host)).paths] == [False]
    assert await refused(host, RemoveDevice("4:0:0:1")) is Code.CONFLICT


async def test_our_word_is_kept_where_the_host_cannot_be_told(raw: SimulatedHost) -> None:
    host = await guard(raw)
    await act(host, OWN)
    faults_of(raw).on(Disown, Problem(Code.UNAVAILABLE, "no"), moment=Moment.BEFORE)
    with pytest.raises(Problem):
        await act(host, DISOWN)
    assert (await look(host)).owned == (R,)


async def test_a_word_that_is_not_on_disk_is_not_given(raw: SimulatedHost) -> None:
    created = open_created(MEMORY)
    host = GuardedHost(raw, created)
    await host.recover()
    created._store._conn.execute("PRAGMA query_only=ON")
    with pytest.raises(Problem):
        await act(host, OWN)
    assert not created.rows
