"""iSCSI over two portals on a real kernel: one map, paths lost and found under a writer, and nothing left of it."""

import json
import re
import shlex
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from tests.lab.boot_sector import boot_sector
from tests.lab.execs import traced
from tests.lab.guest import Guest
from tests.lab.iscsi_scene import initiator
from tests.lab.others_scene import hasty, links_seen, twin
from tests.lab.stage import LUN_SIZE, SERVICES, Stage
from tests.lab.syscalls import PROCESSES, RELEASE, assert_in_order, deletes, watched, writes_out
from tests.lab.writing_guest import writing
from tests.lab.writing_sector import writing_sector

ISCSIADM = re.compile(r"/s?bin/iscsiadm$")
ONE, TWO = "127.0.0.1", "127.0.0.2"


@pytest.fixture(scope="module")
def stage(guest: Guest) -> Stage:
    """A guest with the server, the configured daemon, and multipathd as the distribution has it."""
    guest.run("systemctl start multipathd.service")
    return Stage(guest).set()


@contextmanager
def cut(stage: Stage, *addresses: str) -> Iterator[None]:
    """No packet of iSCSI comes through to these portals, nor from them."""
    ways = ("-d {} -p tcp --dport 3260", "-s {} -p tcp --sport 3260")
    rules = [f"INPUT {way.format(ip)} -j DROP" for ip in addresses for way in ways]
    stage.guest.run(" && ".join(f"iptables -w -I {rule}" for rule in rules))
    try:
        yield
    finally:
        stage.guest.run(" && ".join(f"iptables -w -D {rule}" for rule in rules))


def until(stage: Stage, name: str, phase: str, *, within_s: float = 90) -> Any:
    """Wait until an attachment is in that phase; by its events, not by asking again and again."""
    end = time.monotonic() + within_s
    while (view := stage.status(name))["phase"] != phase:
        assert time.monotonic() < end, view
        url = "http://localhost/v1/events?since="
        curl = f"curl -sN --max-time 10 --unix-socket /run/cdmi-attach/control.sock '{url}"
        last = stage.guest.run(f"{curl}0&follow=0' | tail -n 1 | jq .seq").stdout.strip() or "0"
        # curl outlives grep: with our stderr it would keep the connection's end waiting
        stage.guest.run(["bash", "-c", f"grep -q -m 1 phase <({curl}{last}' 2>/dev/null)"], check=False)
    return view


def paths(view: Any) -> dict[str, str]:
    return {path["via"].partition(":")[0]: path["state"] for path in view["device"]["paths"]}


def test_two_paths_one_map_and_nothing_left(stage: Stage) -> None:
    """Cases 6, 13, 43, 48 and 53: of multipath's own settings only the defaults are there (find_multipaths strict)."""
    before = stage.inventory()
    lun = stage.make_lun("pair", content=b"stamp of pair".ljust(512, b"\0"))
    with traced(stage.guest, *SERVICES) as executed:
        link = stage.attach("pair", lun.source)
        view = until(stage, "pair", "attached")
    assert all(ISCSIADM.search(program) for program in executed.programs), executed.programs
    print(f"attach over two portals: {len(executed.programs)} processes")
    assert len(executed.programs) <= 4, "a record and a login for each portal"
    assert view["verified"] and view["note"] is None and paths(view) == {ONE: "running", TWO: "running"}
    node = view["device"]["node"]
    assert node.startswith("/dev/dm-") and stage.guest.run(f"realpath {link}").stdout.strip() == node
    uuid = stage.guest.run(f"cat /sys/block/{node[5:]}/dm/uuid").stdout.strip()
    assert uuid == f"mpath-3{lun.wwid[4:]}"
    assert stage.guest.run(f"head -c 13 {link}").stdout == "stamp of pair"
    entry = stage.guest.run(f"udevadm info --query=property {node}").stdout
    assert "ID_FS_" not in entry and "DM_UDEV_DISABLE_OTHER_RULES_FLAG=1" in entry, "nobody has read the guest's data"
    shown = json.loads(stage.guest.run("multipathd show maps json").stdout)["maps"]
    assert [(one["uuid"], one["paths"]) for one in shown] == [(f"3{lun.wwid[4:]}", 2)]
    with traced(stage.guest, *SERVICES) as executed:
        stage.detach("pair")
    print(f"detach from two portals: {len(executed.programs)} processes")
    assert len(executed.programs) <= 4, "at most two logouts and two records"
    assert stage.inventory() == before
    assert stage.export("pair")["permissions"] == []


def test_what_was_written_to_a_map_is_flushed_before_it_goes(stage: Stage) -> None:
    """Case 7: the map is written out, then each of its disks, before that goes."""
    before = stage.inventory()
    lun = stage.make_lun("unsynced")
    link = stage.attach("unsynced", lun.source)
    view = until(stage, "unsynced", "attached")
    with watched(stage.guest) as calls:
        stage.guest.run(f"head -c 1048576 /dev/zero | tr '\\0' x > {link} && cdmi-attach detach unsynced")
    above = writes_out(view["device"]["node"])
    for path in view["device"]["paths"]:
        assert_in_order(calls, *above, *writes_out(path["node"]), deletes(path["hctl"]))
    assert stage.inventory() == before
    link = stage.attach("unsynced", lun.source, "--ro")
    assert stage.guest.run(f"head -c 1048576 {link} | tr -d x | wc -c").stdout.strip() == "0"
    stage.detach("unsynced")


def test_a_dead_portal_costs_the_caller_nothing(stage: Stage) -> None:
    """Case 17: the answer comes while that portal's login is still pending; then the path joins."""
    before = stage.inventory()
    lun = stage.make_lun("dead")
    with cut(stage, TWO):
        status, view = stage.api("PUT", "/v1/attachments/dead", {"source": lun.source})
        events = stage.guest.run(
            "curl -s --unix-socket /run/cdmi-attach/control.sock 'http://localhost/v1/attachments/dead/events?follow=0'"
        ).stdout
        assert status == 201 and view["phase"] == "degraded" and TWO in view["problem"]["detail"], view
        assert view["device"]["node"].startswith("/dev/dm-"), "no path by itself, not even at first (case 6)"
        told = [json.loads(line) for line in events.splitlines()]
        login = f"log in to {lun.target} at {TWO}:3260"
        assert [event["kind"] for event in told if event.get("what") == login] == ["step-began"], told
    assert paths(until(stage, "dead", "attached")) == {ONE: "running", TWO: "running"}
    stage.detach("dead")
    assert stage.inventory() == before


def test_a_detach_before_all_paths_are_found_leaves_none_behind(stage: Stage) -> None:
    """Case 13: the login at the other portal is pending, and may still come."""
    before = stage.inventory()
    lun = stage.make_lun("early")
    with cut(stage, TWO):
        status, view = stage.api("PUT", "/v1/attachments/early", {"source": lun.source})
        assert status == 201 and view["phase"] == "degraded", view
        status, problem = stage.api("DELETE", "/v1/attachments/early")
        assert status == 204, problem
    assert stage.inventory() == before


def test_a_guest_that_writes_sees_nothing_of_a_path_that_goes_and_comes(stage: Stage) -> None:
    """It goes on with one path alone, and while its disk grows; without any path it is told, and goes on after that.

    No sector is lost or mixed up.
    """
    before = stage.inventory()
    lun = stage.make_lun("writer", content=writing_sector())
    stage.attach("writer", lun.source)
    view = until(stage, "writer", "attached")
    with writing(stage, "writer", view["disk_xml"]) as writer:
        writer.goes_on()
        with cut(stage, TWO):
            assert paths(until(stage, "writer", "degraded")) == {ONE: "running", TWO: "failed"}
            writer.goes_on()
        assert paths(until(stage, "writer", "attached")) == {ONE: "running", TWO: "running"}
        writer.goes_on()
        stage.guest.run("virsh -q suspend writer")  # LIO's backstore is made anew, and is not there for a moment
        stage.resize("writer", 2 * LUN_SIZE)
        stage.guest.run("virsh -q resume writer")
        assert int(stage.guest.run("cdmi-attach resize writer").stdout) == 2 * LUN_SIZE
        writer.recovers()  # QEMU tells it by a unit attention, which its BIOS takes for an error
        with cut(stage, ONE, TWO):
            until(stage, "writer", "degraded")
            stage.guest.run(f"dmsetup message {view['device']['node']} 0 fail_if_no_path")
            writer.fails()
        until(stage, "writer", "attached")
        writer.recovers()
        status, problem = stage.api("DELETE", "/v1/attachments/writer")
        assert (status, problem["code"]) == (409, "in-use") and "domain writer" in problem["detail"], problem
    writer.has_lost_nothing(view["device"]["node"])
    stage.detach("writer")
    assert stage.inventory() == before


@pytest.mark.parametrize("queueing", [True, False])
def test_all_paths_are_lost_with_queueing_then_detached(stage: Stage, queueing: bool) -> None:
    """Cases 45, 46 and 56: no hang; what cannot be reached is let go, and nothing is left on this host."""
    before = stage.inventory()
    name = "lost-queueing" if queueing else "lost"
    lun = stage.make_lun(name)
    stage.attach(name, lun.source)
    view = until(stage, name, "attached")
    table = stage.guest.run(f"dmsetup table {view['device']['node']}").stdout
    assert "queue_if_no_path" in table, "LIO's own entry in multipath's table of arrays"
    node = view["device"]["node"]
    failed = f"dmsetup status {node} | grep -Eo ' [0-9]+:[0-9]+ F ' | wc -l"
    with cut(stage, ONE, TWO):
        until(stage, name, "degraded")
        stage.guest.run(["timeout", "90", "bash", "-c", f"until [ $({failed}) = 2 ]; do sleep 0.5; done"])
        if not queueing:  # as multipathd does itself once it has tried often enough
            stage.guest.run(f"dmsetup message {node} 0 fail_if_no_path")
        assert ("queue_if_no_path" in stage.guest.run(f"dmsetup table {node}").stdout) is queueing
        assert stage.give_up(name), "what cannot be reached is let go, and said to be lost"
    assert stage.inventory() == before


@pytest.mark.parametrize("back", [True, False], ids=["and come back", "for good"])
def test_all_paths_are_lost_during_a_flush(stage: Stage, back: bool) -> None:
    """Cases 45 and 46: it is not killed, and ends by the paths' return, or by the end of queueing; either is told.

    multipathd's queueing ends by itself after a minute; here it is told to end it.
    """
    before = stage.inventory()
    name = "midflush-back" if back else "midflush"
    lun = stage.make_lun(name)
    stage.attach(name, lun.source)
    node = until(stage, name, "attached")["device"]["node"]
    stage.guest.run("head -c 1048576 /dev/urandom > /root/random")
    ask = f"curl -sS -X DELETE --unix-socket /run/cdmi-attach/control.sock http://localhost/v1/attachments/{name}"
    flushing = f"timeout 60 sh -c {shlex.quote(f'until {opened_by_helper(node)}; do :; done')}"
    dirty = f"dd if=/root/random of={node} bs=64k conv=notrunc,nocreat status=none"  # its close writes nothing out
    with watched(stage.guest, "-P", node, "-e", "inject=fsync:delay_enter=120s:when=1"):
        stage.guest.run(
            f"systemd-run --quiet --unit=ask-{name} --property=StandardOutput=file:/root/answer {ask} && {flushing}"
        )
        if back:  # nobody waits for the flush any more when the paths go
            until(stage, name, "uncertain")
        with cut(stage, ONE, TWO):
            stage.guest.run(
                f"{dirty} && for path in $(dmsetup deps {node} | grep -Eo '[0-9]+, [0-9]+' | tr -d ' ' | "
                f"tr , :); do dmsetup message {node} 0 fail_path $path; done"
            )
            stage.guest.run(RELEASE)
            assert stage.api("GET", "/v1/host")[0] == 200, "nobody else is held up"
            if back:
                stage.guest.run(opened_by_helper(node))  # it is still at it, with no path to write to
            else:
                name_of_map = f"$(dmsetup info -c --noheadings -o name {node})"
                stage.guest.run(f"multipathd disablequeueing map {name_of_map}")
                ended(stage, name)
    ended(stage, name)
    answer = stage.guest.run("cat /root/answer").stdout
    if back:
        assert answer == ""
        stage.guest.run(f"{shlex.join(stage.read_value(name))} -r 0-1048575 | cmp - /root/random")
    else:
        assert json.loads(answer)["code"] == "dirty", answer
        status, problem = stage.api("DELETE", f"/v1/attachments/{name}")
        assert (status, problem["code"]) == (500, "dirty"), "the pages are clean now, and the bytes are lost"
        assert stage.give_up(name)
    assert stage.inventory() == before


def ended(stage: Stage, name: str) -> None:
    """Wait until the DELETE that was sent has its answer."""
    stage.guest.run(f"timeout 120 sh -c 'while systemctl -q is-active ask-{name}; do sleep 0.2; done'", timeout_s=150)


def opened_by_helper(node: str) -> str:
    """The shell command that succeeds while a process of the helper has a device open."""
    return f"ls -l $(sed 's,.*,/proc/&/fd,' {PROCESSES}) 2>/dev/null | grep -q {node}$"


def test_a_guest_boots_from_the_map_and_its_disk_grows(stage: Stage) -> None:
    """Case 51: both paths first, then the map, then the guest; a restart of everything of ours changes nothing."""
    before = stage.inventory()
    lun = stage.make_lun("boots", content=boot_sector("booted from two paths"))
    stage.attach("boots", lun.source)
    view = until(stage, "boots", "attached")
    stage.start_domain("boots", disk=view["disk_xml"], paused=False)
    assert "booted from two paths" in stage.boot_line("boots", "booted from")
    standing = stage.inventory()
    stage.guest.run("systemctl kill -s KILL cdmi-attachd cdmi-attach-helperd && systemctl restart cdmi-attachd")
    assert stage.status("boots")["phase"] == "attached" and stage.inventory() == standing
    stage.resize("boots", 2 * LUN_SIZE)
    size = f"blockdev --getsize64 {view['device']['node']}"
    assert int(stage.guest.run(size).stdout) == LUN_SIZE, "nobody has told this host"
    assert int(stage.guest.run("cdmi-attach resize boots").stdout) == 2 * LUN_SIZE
    assert int(stage.guest.run(size).stdout) == 2 * LUN_SIZE
    assert f"{2 * LUN_SIZE}" in stage.guest.run("virsh -q domblkinfo boots sda").stdout
    status, problem = stage.api("DELETE", "/v1/attachments/boots")
    assert (status, problem["code"]) == (409, "in-use") and "domain boots" in problem["detail"], problem
    stage.guest.run("virsh -q destroy boots")
    stage.detach("boots")
    assert stage.inventory() == before


def test_a_map_that_is_in_use_stays(stage: Stage) -> None:
    """Case 44: the holder is named; a partition that nobody uses is nobody."""
    before = stage.inventory()
    lun = stage.make_lun("busy")
    link = stage.attach("busy", lun.source)
    until(stage, "busy", "attached")
    entry = bytes([0, 0, 0, 0, 0x83, 0, 0, 0]) + (2048).to_bytes(4, "little") + (32768).to_bytes(4, "little")
    table = (bytes(446) + entry + bytes(48) + b"\x55\xaa").hex()
    write = f"open('{link}', 'r+b', 0).write(bytes.fromhex('{table}'))"
    stage.guest.run(f'python3 -c "{write}" && kpartx -a -s {link}')
    uuid = stage.guest.run("grep -ls ^part1-mpath- /sys/block/dm-*/dm/uuid").stdout.strip()
    part = "/dev/mapper/" + stage.guest.run(f"cat $(dirname {uuid})/name").stdout.strip()  # p1, or 1 after a letter
    stage.guest.run(f"mkfs.ext4 -q {part} && mkdir -p /mnt/busy && mount {part} /mnt/busy")
    status, problem = stage.api("DELETE", "/v1/attachments/busy")
    assert (status, problem["code"]) == (409, "in-use") and "/mnt/busy" in problem["detail"], problem
    assert stage.guest.run(f"readlink {link}").stdout.strip() == f"/dev/cdmi-attach/{lun.wwid}"
    stage.guest.run("umount /mnt/busy")
    stage.detach("busy")
    assert stage.inventory() == before


def test_a_ghost_map_without_paths_is_removed(stage: Stage) -> None:
    """Case 47: its disks were deleted while multipathd was away, so that nobody else takes it down.

    Nobody can know what it had not written yet, so that it goes when that is said to be known.
    """
    before = stage.inventory()
    lun = stage.make_lun("ghost")
    stage.attach("ghost", lun.source)
    view = until(stage, "ghost", "attached")
    stage.guest.run("systemctl stop multipathd.service multipathd.socket")
    for path in view["device"]["paths"]:
        stage.guest.run(f"echo 1 > /sys/class/scsi_device/{path['hctl']}/device/delete")
    assert stage.give_up("ghost")
    stage.guest.run("systemctl start multipathd.socket multipathd.service")
    assert stage.inventory() == before


def test_a_disk_that_a_rescan_brings_back_is_removed_again(stage: Stage) -> None:
    """Cases 11 and 12: the server has not withdrawn the LUN when somebody rescans."""
    before = stage.inventory()
    lun = stage.make_lun("rescan")
    stage.attach("rescan", lun.source)
    view = until(stage, "rescan", "attached")
    host = view["device"]["paths"][0]["hctl"].partition(":")[0]
    number = view["device"]["paths"][0]["hctl"].rpartition(":")[2]
    device, scan = f"/sys/class/scsi_device/{host}:0:0:{number}", f"/sys/class/scsi_host/host{host}/scan"
    once = f"until [ ! -e {device} ]; do :; done; echo '0 0 {number}' > {scan}"
    stage.guest.run(["systemd-run", "--quiet", "--unit=rescan", "--property=RemainAfterExit=yes", "sh", "-c", once])
    stage.detach("rescan")
    wait_for = "timeout 30 sh -c 'until [ $(systemctl show -P SubState rescan) != running ]; do :; done'"
    stage.guest.run(wait_for)
    state = stage.guest.run("systemctl show -P SubState -P ExecMainStatus rescan; systemctl stop rescan").stdout.split()
    assert sorted(state) == ["0", "exited"], "somebody did rescan"
    assert stage.inventory() == before


def misnamed(stage: Stage) -> list[str]:
    """The maps that multipathd has made of disks that were not proved."""
    shown = json.loads(stage.guest.run("multipathd show maps json").stdout)["maps"]
    return [one["uuid"] for one in shown if one["uuid"].startswith("cdmi-attach-")]


def test_a_multipathd_that_takes_every_disk_leaves_those_alone_that_are_not_proved(stage: Stage) -> None:
    """Case 96, on a host with find_multipaths greedy (or no) and sg3-utils."""
    before = stage.inventory()
    lun = stage.make_lun("hasty")
    with hasty(stage, told=True):
        stage.attach("hasty", lun.source)
        view = until(stage, "hasty", "attached")
        assert paths(view) == {ONE: "running", TWO: "running"} and not misnamed(stage)
        stage.detach("hasty")
        assert stage.inventory() == before


def test_a_map_of_a_disk_that_was_not_proved_is_taken_away_with_it(stage: Stage) -> None:
    """Where the drop-in is missing: whatever becomes of the attach, the way out ends, and leaves nothing."""
    before, known = stage.inventory(), stage.guest.run("cat /etc/multipath/wwids", check=False).stdout
    lun = stage.make_lun("taken")
    with hasty(stage, told=False):
        status, view = stage.api("PUT", "/v1/attachments/taken", {"source": lun.source, "timeout_s": 30})
        print(f"attach under a hasty multipathd: {status}; maps: {misnamed(stage)}")
        assert status in (200, 201) or view["code"] in ("device-timeout", "in-use", "wrong-device"), view
        stage.detach("taken")
        assert not misnamed(stage) and stage.inventory() == before
        assert stage.guest.run("cat /etc/multipath/wwids", check=False).stdout == known


def test_a_slow_disk_that_says_the_name_of_ours_takes_no_link_and_joins_no_map(stage: Stage) -> None:
    """Cases 95 and 96: it is where another object's disk ought to be, and it is never handed out."""
    before = stage.inventory()
    lun = stage.make_lun("real", content=b"the real one")
    other = stage.make_lun("twin", permissions=[initiator(stage)])
    link = stage.attach("real", lun.source)
    node = until(stage, "real", "attached")["device"]["node"]
    with twin(stage, other, of=lun):
        standing = stage.inventory()
        with links_seen(stage) as seen:
            status, problem = stage.api("PUT", "/v1/attachments/twin", {"source": other.source})
        assert (status, problem["code"]) == (502, "wrong-device") and lun.wwid in problem["detail"], problem
        assert {led for led in seen if lun.wwid in led} == {f"/dev/cdmi-attach/{lun.wwid} {node}"}, seen
        assert other.wwid not in "".join(seen)
        assert stage.inventory() == standing
        assert stage.guest.run(f"realpath {link} && head -c 12 {link}").stdout == f"{node}\nthe real one"
        assert len(paths(until(stage, "real", "attached"))) == 2
        stage.detach("twin")
    stage.detach("real")
    assert stage.inventory() == before


def test_without_multipathd_one_path_and_a_word_about_it(stage: Stage) -> None:
    stage.guest.run("systemctl stop multipathd.service multipathd.socket")
    lun = stage.make_lun("single")
    status, view = stage.api("PUT", "/v1/attachments/single", {"source": lun.source})
    assert status == 201 and view["phase"] == "attached" and len(view["device"]["paths"]) == 1
    assert view["note"].startswith("one path of 2: multipathd does not run"), view["note"]
    stage.detach("single")
    status, problem = stage.api("PUT", "/v1/attachments/single", {"source": lun.source, "min_paths": 2})
    assert (status, problem["code"]) == (501, "unsupported-on-host"), problem
    stage.guest.run("systemctl start multipathd.socket multipathd.service")


def test_nothing_of_the_daemon_has_failed(stage: Stage) -> None:
    assert stage.defects() == ""
