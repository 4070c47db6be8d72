"""The real host over a tree of files, with real workers: what it shows, what it refuses, what stays under way."""

import asyncio
import os
import shutil
import signal
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from agent.host import links, lun_sights, wwids
from agent.host.linux import FUNCTIONS, LinuxHost
from agent.host.roots import Roots
from agent.host.uevents import Changes
from agent.workers.pool import Pool
from attachers.base import MadeByAnotherError, Uncertain
from attachers.problems import Code, Problem
from attachers.sights import DomainQuery, HostQuery, HostSight, IscsiQuery, ScsiSight
from attachers.steps import DEVICES, Disown, GiveDisk, Login, Logout, Publish, RemoveDevice, Scan, Unpublish
from tests.unit.linux_tree import PORTAL, TARGET, WWID, add_disk, add_session, roots_in, write

SOON_S = 20.0
HCTL = "6:0:0:1"
QUERY = IscsiQuery("vm1", TARGET, (PORTAL,), 1, WWID)


@dataclass(frozen=True, slots=True)
class Stage:
    """A host and its files."""

    host: LinuxHost
    roots: Roots

    async def see(self, query: IscsiQuery = QUERY) -> ScsiSight:
        sight = await self.host.observe(query)
        assert isinstance(sight, ScsiSight)
        return sight

    async def act(self, step: Scan | Publish | Unpublish | RemoveDevice | Login | Logout | GiveDisk) -> None:
        await self.host.act(step, timeout_s=SOON_S)

    async def refused(self, step: Scan | Publish | RemoveDevice | Logout | GiveDisk) -> Problem:
        with pytest.raises(Problem) as problem:
            await self.act(step)
        assert problem.value.step == step.describe()
        return problem.value


@pytest.fixture
def pool() -> Iterator[Pool]:
    yield Pool.start(FUNCTIONS)


@pytest.fixture
async def stage(pool: Pool, tmp_path: Path) -> AsyncIterator[Stage]:
    roots = roots_in(tmp_path)
    host = LinuxHost(pool, roots)
    yield Stage(host, roots)
    await host.close()


async def test_an_empty_host(stage: Stage) -> None:
    assert await stage.see() == ScsiSight()
    sight = await stage.host.observe(HostQuery())
    assert isinstance(sight, HostSight)
    assert not sight.iscsi.available
    assert sight.iscsi.reason


async def test_the_hosts_names_are_the_interfaces_and_its_own(stage: Stage) -> None:
    """Case 87: `names` are all by which a server may know it."""
    own, host = "iqn.2026-01.org.example:storage", "iqn.1993-08.org.debian:01:8d2"
    write(stage.roots.etc / "iscsi/initiatorname.iscsi", f"InitiatorName={host}\n")
    write(stage.roots.etc / "iscsi/ifaces/storage", f"iface.initiatorname = {own}\n")
    for iface, name, other in (("storage", own, host), ("", host, ""), ("other", host, "")):
        sight = await stage.host.observe(HostQuery(iface))
        assert isinstance(sight, HostSight)
        assert (sight.initiator_name, sight.own_name) == (name, other)
        assert sight.names == ((own, host) if other else (host,))


async def test_records_sessions_and_paths_and_none_is_ours(stage: Stage) -> None:
    (stage.roots.etc / "iscsi/nodes" / TARGET / "10.0.0.1,3260").mkdir(parents=True)
    session = add_session(stage.roots)
    add_disk(stage.roots, session, 1)
    add_disk(stage.roots, session, 2, "sdb")
    sight = await stage.see()
    (path,) = sight.paths
    assert (path.hctl, path.via, path.node, path.state, path.size) == (HCTL, PORTAL, "/dev/sda", "running", 64 << 20)
    assert (path.sysfs_wwid, path.designators) == (WWID, frozenset())
    assert path.inquiry_error  # a file answers no INQUIRY
    assert sight.sessions[0].devices == (HCTL, "6:0:0:2")
    assert len(sight.records) == 1
    assert not (sight.records[0].ours or sight.sessions[0].ours or path.ours)


async def test_no_inquiry_is_sent_where_it_would_only_wait(stage: Stage) -> None:
    add_disk(stage.roots, add_session(stage.roots, state="FAILED"), 1)
    (path,) = (await stage.see()).paths
    assert path.inquiry_error == "the session is FAILED, the device running"


async def test_a_dead_target_takes_few_of_the_workers(
    stage: Stage, pool: Pool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its disks are asked a few at a time, and none any more once that many have not answered."""
    monkeypatch.setattr(lun_sights, "PROOF_S", 0.5)
    session = add_session(stage.roots)
    for lun in range(1, 41):
        add_disk(stage.roots, session, lun, f"sd{lun}")
    os.kill(pool.zygote_pid, signal.SIGSTOP)  # no worker answers
    try:
        looks = [stage.see(IscsiQuery("vm1", TARGET, (PORTAL,), lun)) for lun in range(1, 41)]
        errors = [sight.paths[0].inquiry_error for sight in await asyncio.gather(*looks)]
    finally:
        os.kill(pool.zygote_pid, signal.SIGCONT)
    asked = errors.count("no answer within 0.5 s")
    assert lun_sights.ASKED_AT_ONCE <= asked == len(pool.stragglers) < 2 * lun_sights.ASKED_AT_ONCE
    assert errors.count("earlier INQUIRYs on this session are still unanswered") == 40 - asked


async def test_an_answer_of_another_disk_than_the_one_that_was_seen_does_not_count(stage: Stage, pool: Pool) -> None:
    session = add_session(stage.roots)
    add_disk(stage.roots, session, 1)
    os.kill(pool.zygote_pid, signal.SIGSTOP)
    try:
        look = asyncio.create_task(stage.see())
        await stage.host.changed(stage.host.changes, timeout_s=0.05)  # it has asked
        write(session / f"target6:0:0/{HCTL}/block/sda/dev", "8:32")
    finally:
        os.kill(pool.zygote_pid, signal.SIGCONT)
    assert (await look).paths[0].inquiry_error == "the device was replaced meanwhile"


async def test_links_and_owner_are_shown(stage: Stage) -> None:
    add_disk(stage.roots, add_session(stage.roots), 1)
    links.put_device(stage.roots, WWID, HCTL, "sda")
    links.put_name(stage.roots, "vm1", WWID)
    owner = (stage.roots.dev / "sda").stat()
    write(stage.roots.etc / "passwd", f"other:x:4294967290:0::/:\nqemu:x:{owner.st_uid}:1::/:")
    sight = await stage.see()
    assert (sight.link, sight.device_link, sight.owner) == (f"{DEVICES}/{WWID}", "/dev/sda", f"qemu:{owner.st_gid}")


async def test_a_scan_claims_the_address_before_it_asks_the_kernel(stage: Stage) -> None:
    session = add_session(stage.roots)
    scan = stage.roots.sys / "class/scsi_host/host6/scan"
    scan.parent.mkdir(parents=True)
    os.mkfifo(scan)
    step = Scan(HCTL, TARGET, PORTAL)
    with pytest.raises(Uncertain):  # the kernel has not read it yet
        await stage.host.act(step, timeout_s=1)
    assert links.is_claimed(stage.roots, HCTL)
    add_disk(stage.roots, session, 1)
    assert await asyncio.to_thread(scan.read_text) == "0 0 1"
    with pytest.raises(MadeByAnotherError):  # it is there: nothing is asked again
        await stage.act(step)
    assert links.is_claimed(stage.roots, HCTL)


async def test_a_scan_that_finds_nothing_is_no_failure_and_leaves_no_claim(stage: Stage) -> None:
    add_session(stage.roots)
    write(stage.roots.sys / "class/scsi_host/host6/scan", "")
    await stage.act(Scan(HCTL, TARGET, PORTAL))
    assert (stage.roots.sys / "class/scsi_host/host6/scan").read_text().startswith("0 0 1")
    assert not links.is_claimed(stage.roots, HCTL)


@pytest.mark.parametrize("hctl", ["7:0:0:1", "6:0:0:1"])
async def test_a_scan_of_another_host_than_the_sessions_is_refused(stage: Stage, hctl: str) -> None:
    add_session(stage.roots, state="FAILED")
    assert (await stage.refused(Scan(hctl, TARGET, PORTAL))).code is Code.TARGET_TIMEOUT
    assert not links.is_claimed(stage.roots, hctl)


async def test_claims_without_a_device_are_dropped_at_start_and_at_the_next_scan(pool: Pool, tmp_path: Path) -> None:
    """SCSI host numbers are used again: somebody else's disk may come at an address that was ours."""
    roots = roots_in(tmp_path)
    session = add_session(roots)
    add_disk(roots, session, 1)
    for hctl in (HCTL, "9:0:0:1", ".9:0:0:1.new"):
        links.claim(roots, hctl)
    host = LinuxHost(pool, roots)
    assert [path.name for path in roots.claims.iterdir()] == [HCTL]
    links.claim(roots, "9:0:0:1")
    write(roots.sys / "class/scsi_host/host6/scan", "")
    await host.act(Scan("6:0:0:2", TARGET, PORTAL), timeout_s=SOON_S)
    assert [path.name for path in roots.claims.iterdir()] == [HCTL]
    await host.close()


def test_a_claim_whose_scan_is_under_way_is_kept(tmp_path: Path) -> None:
    roots = roots_in(tmp_path)
    for hctl in (HCTL, "6:0:0:2"):
        links.claim(roots, hctl)
    links.drop_stale_claims(roots, keep={HCTL})
    assert (links.is_claimed(roots, HCTL), links.is_claimed(roots, "6:0:0:2")) == (True, False)


async def test_a_claim_goes_with_what_it_was_made_for(pool: Pool, tmp_path: Path) -> None:
    """Others ended the session: the next disk at that address is anybody's, and udev may not give it away."""
    roots = roots_in(tmp_path)
    host = LinuxHost(pool, roots)
    links.claim(roots, HCTL)
    await host.act(Disown((TARGET,), 1), timeout_s=SOON_S)
    assert not links.is_claimed(roots, HCTL)
    await host.close()


async def test_a_mount_point_that_a_crash_left_is_gone_after_a_start_and_no_other(pool: Pool, tmp_path: Path) -> None:
    """Seen in the lab: killed between mkdir(2) and mount(2), and nothing was mounted that could be unmounted."""
    roots = roots_in(tmp_path)
    (roots.mounts / "left").mkdir(parents=True)
    write(roots.mounts / "mounted/file", "what is not empty is not taken away; the kernel says so of a mount as well")
    await LinuxHost(pool, roots).close()
    assert [place.name for place in roots.mounts.iterdir()] == ["mounted"]


async def test_a_full_run_directory_is_no_defect_of_the_helper(stage: Stage) -> None:
    add_session(stage.roots)
    stage.roots.claims.parent.mkdir(parents=True)
    stage.roots.claims.write_text("a file where the directory should be: any error of a small file")
    problem = await stage.refused(Scan(HCTL, TARGET, PORTAL))
    assert problem.code is Code.UNAVAILABLE


async def test_a_link_that_a_crash_left_half_made_is_nobodys(stage: Stage) -> None:
    links.put_name(stage.roots, "vm1", WWID)
    (stage.roots.links / ".vm2.new").symlink_to(f"{DEVICES}/{WWID}")
    assert links.names_of(stage.roots, WWID) == {"vm1"}


async def test_a_stuck_scan_is_uncertain_busy_and_waited_for(stage: Stage, pool: Pool) -> None:
    session = add_session(stage.roots)
    scan = stage.roots.sys / "class/scsi_host/host6/scan"
    scan.parent.mkdir(parents=True)
    os.mkfifo(scan)
    step = Scan(HCTL, TARGET, PORTAL)
    with pytest.raises(Uncertain):
        await stage.host.act(step, timeout_s=1)
    assert (await stage.see()).busy == (step.describe(),)
    assert (await stage.see(IscsiQuery("vm2", TARGET, (PORTAL,), 2))).busy == ()
    sight = await stage.host.observe(HostQuery())
    assert isinstance(sight, HostSight)
    assert sight.stragglers == 1
    with pytest.raises(Uncertain, match="still under way"):
        await stage.host.act(step, timeout_s=0.05)
    assert len(pool.stragglers) == 1  # the second one did not begin

    again = asyncio.create_task(stage.act(step))
    since = stage.host.changes
    add_disk(stage.roots, session, 1)
    await asyncio.to_thread(scan.read_text)
    with pytest.raises(MadeByAnotherError):
        await again
    await stage.host.changed(since, timeout_s=SOON_S)
    assert (await stage.see()).busy == ()


async def test_a_disk_that_does_not_prove_itself_is_not_published(stage: Stage) -> None:
    add_disk(stage.roots, add_session(stage.roots), 1)
    problem = await stage.refused(Publish("vm1", HCTL, WWID, read_only=False, owner=""))
    assert problem.code is Code.WRONG_DEVICE
    sight = await stage.see()
    assert (sight.link, sight.device_link) == (None, None)
    assert (await stage.refused(RemoveDevice(HCTL, WWID))).code is Code.WRONG_DEVICE


async def test_an_unknown_owner_names_the_setting(stage: Stage) -> None:
    add_disk(stage.roots, add_session(stage.roots), 1)
    problem = await stage.refused(Publish("vm1", HCTL, WWID, read_only=False, owner="nobody-here:disk"))
    assert (problem.code, problem.hint) == (Code.INVALID_REQUEST, "correct device_owner in [attach]")


async def test_what_is_not_there_cannot_be_published_but_can_be_removed(stage: Stage) -> None:
    assert (await stage.refused(Publish("vm1", HCTL, WWID, read_only=False, owner=""))).code is Code.DEVICE_TIMEOUT
    links.claim(stage.roots, HCTL)
    await stage.act(RemoveDevice(HCTL))
    assert not links.is_claimed(stage.roots, HCTL)


async def test_unpublish_takes_the_name_and_only_when_told_the_device(stage: Stage) -> None:
    links.put_device(stage.roots, WWID, HCTL, "sda")
    links.put_name(stage.roots, "vm1", WWID)
    await stage.act(Unpublish("vm1", None))
    assert ((await stage.see()).link, (await stage.see()).device_link) == (None, "/dev/sda")
    await stage.act(Unpublish("vm1", WWID))
    assert (await stage.see()).device_link is None


async def test_a_disk_in_use_is_not_removed_and_keeps_its_links(stage: Stage) -> None:
    add_disk(stage.roots, add_session(stage.roots), 1)
    (stage.roots.dev / "sda").unlink()
    (stage.roots.sys / "block/sda/holders/dm-0").mkdir(parents=True)
    links.put_device(stage.roots, WWID, HCTL, "sda")
    problem = await stage.refused(RemoveDevice(HCTL))
    assert (problem.code, problem.detail) == (Code.IN_USE, "/dev/sda is in use by device dm-0")
    assert (await stage.see()).device_link == "/dev/sda"
    (path,) = (await stage.see(IscsiQuery("vm1", TARGET, (PORTAL,), 1, WWID, holders=True))).paths
    assert path.holders == ("device dm-0",)


async def test_a_disk_that_took_the_place_of_another_meanwhile_is_not_removed_unasked(stage: Stage) -> None:
    """Somebody deletes the disk and scans again while udev is waited for: the users of the new one count."""
    session = add_session(stage.roots)
    add_disk(stage.roots, session, 1)
    for name in ("control", "queue", "data/b8:16"):
        write(stage.roots.run / "udev" / name, "")
    removal = asyncio.create_task(stage.host.act(RemoveDevice(HCTL), timeout_s=SOON_S))
    while not (await stage.see()).busy:
        pass
    shutil.rmtree(session / "target6:0:0" / HCTL)
    (stage.roots.sys / f"class/scsi_device/{HCTL}").unlink()
    (stage.roots.sys / "block/sda").unlink()
    (session / f"target6:0:0/{HCTL}").mkdir()
    write(session / f"target6:0:0/{HCTL}/delete", "")
    add_disk(stage.roots, session, 1, "sdb")
    (stage.roots.dev / "sdb").unlink()
    (stage.roots.sys / "block/sdb/holders/dm-0").mkdir(parents=True)
    (stage.roots.run / "udev/queue").unlink()
    with pytest.raises(Problem) as problem:
        await removal
    assert (problem.value.code, problem.value.detail) == (Code.IN_USE, "/dev/sdb is in use by device dm-0")


async def test_a_disk_is_removed_with_its_links_and_only_its(stage: Stage) -> None:
    session = add_session(stage.roots)
    add_disk(stage.roots, session, 1)
    (stage.roots.dev / "sda").unlink()
    delete = session / f"target6:0:0/{HCTL}/delete"
    os.mkfifo(delete)
    for hctl in (HCTL, "6:0:0:2"):
        links.claim(stage.roots, hctl)
    links.put_device(stage.roots, WWID, HCTL, "sda")
    links.put_device(stage.roots, "naa.5000000000000002", "6:0:0:2", "sdb")
    write(wwids.path_of(stage.roots), f"/cdmi-attach-{HCTL}/\n/cdmi-attach-6:0:0:2/\n/3600a/")
    removal = asyncio.create_task(stage.act(RemoveDevice(HCTL)))
    assert await asyncio.to_thread(delete.read_text) == "1"
    (stage.roots.sys / f"class/scsi_device/{HCTL}").unlink()
    await removal
    remaining = {path.name for path in stage.roots.devices.rglob("*") if path.is_symlink()}
    assert remaining == {"naa.5000000000000002", "6:0:0:2"}
    assert not links.is_claimed(stage.roots, HCTL)
    assert wwids.path_of(stage.roots).read_text() == "/cdmi-attach-6:0:0:2/\n/3600a/\n"


async def test_a_session_with_devices_is_not_logged_out(stage: Stage) -> None:
    add_disk(stage.roots, add_session(stage.roots), 1)
    assert (await stage.refused(Logout(TARGET, PORTAL))).code is Code.IN_USE


async def test_of_two_sessions_to_one_portal_none_is_guessed(stage: Stage) -> None:
    add_session(stage.roots, 1, host=6)
    add_session(stage.roots, 2, host=7)
    assert (await stage.refused(Logout(TARGET, PORTAL))).code is Code.CONFLICT


async def test_a_session_that_is_there_needs_no_login_and_one_that_is_gone_no_logout(stage: Stage) -> None:
    await stage.act(Logout(TARGET, PORTAL))
    add_session(stage.roots)
    with pytest.raises(MadeByAnotherError):  # for the guard to judge: it may be ours
        await stage.act(Login(TARGET, PORTAL))


async def test_only_a_published_disk_is_given_to_a_domain(stage: Stage) -> None:
    step = GiveDisk("vm1", "guest", "sda", "scsi", read_only=False)
    assert (await stage.refused(step)).code is Code.CONFLICT


async def test_without_libvirt_a_domain_cannot_be_asked_about(stage: Stage) -> None:
    with pytest.raises(Problem) as problem:
        await stage.host.observe(DomainQuery("guest"))
    assert problem.value.code is Code.UNSUPPORTED_ON_HOST


async def test_changes_wake_those_who_wait_and_only_them() -> None:
    changes = Changes()
    await changes.above(0, timeout_s=0.01)
    waiting = asyncio.create_task(changes.above(0, timeout_s=SOON_S))
    await changes.above(-1, timeout_s=SOON_S)
    changes.grow()
    await waiting
    assert changes.count == 1
