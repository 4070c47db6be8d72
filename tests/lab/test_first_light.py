"""First light on a real kernel: attach, share, borrow, refuse, restart, boot; each with what other tools say of it."""

import json
import re
from collections.abc import Iterator

import pytest

from tests.lab.boot_sector import boot_sector
from tests.lab.execs import traced
from tests.lab.guest import Guest
from tests.lab.iscsi_scene import Hand, initiator, set_access, wait_for
from tests.lab.others_scene import HIDDEN, events_since, hidden_user, last_event
from tests.lab.stage import SERVICES, Stage
from tests.lab.syscalls import assert_in_order, deletes, watched, writes_out

ISCSIADM = re.compile(r"/s?bin/iscsiadm$")


@pytest.fixture(scope="module")
def stage(guest: Guest) -> Stage:
    """A guest with the server and the configured daemon."""
    return Stage(guest).set()


def sessions(stage: Stage) -> list[str]:
    """Who is logged in where, by iscsiadm."""
    done = stage.guest.run("iscsiadm -m session", check=False)
    return [line for line in done.stdout.splitlines() if line]


def test_attach_then_two_hundred_repetitions_then_nothing(stage: Stage) -> None:
    before, told = stage.inventory(), stage.told()
    lun = stage.make_lun("repeat", content=b"stamp of repeat".ljust(512, b"\0"))
    with traced(stage.guest, *SERVICES) as executed:
        link = stage.attach("repeat", lun.source)
    assert link == "/run/cdmi-attach/disk/repeat"
    assert all(ISCSIADM.search(program) for program in executed.programs), executed.programs
    assert len(executed.programs) <= 2, "record, login"
    view = stage.status("repeat")
    assert view["phase"] == "attached" and view["verified"] and view["device"]["wwid"] == lun.wwid
    assert stage.guest.run(f"head -c 15 {link}").stdout == "stamp of repeat"
    assert stage.guest.run(f"readlink {link}").stdout.strip() == f"/dev/cdmi-attach/{lun.wwid}"
    after_attach = stage.inventory()
    assert lun.target in after_attach.partition("# LIO")[2], "the target has a session"
    with traced(stage.guest, *SERVICES) as executed:
        body = json.dumps({"source": lun.source})
        curl = (
            "curl -sS -o /dev/null -w '%{http_code}\\n' --unix-socket /run/cdmi-attach/control.sock -X PUT "
            f"-H 'Content-Type: application/json' -d '{body}' 'http://localhost/v1/attachments/repeat#[1-200]'"
        )
        answers = stage.guest.run(curl, timeout_s=300).stdout.split()
    assert answers == ["200"] * 200
    assert executed.programs == []
    assert stage.inventory() == after_attach
    with traced(stage.guest, *SERVICES) as executed:
        stage.detach("repeat")
    assert len(executed.programs) <= 1, "logout"
    assert (stage.inventory(), stage.told()) == (before, told)
    assert stage.export("repeat")["permissions"] == []


@pytest.mark.parametrize("order", [(0, 1), (1, 0)], ids=["first-first", "last-first"])
def test_two_luns_of_one_target_share_one_session(stage: Stage, order: tuple[int, int]) -> None:
    before = stage.inventory()
    tag = "".join(map(str, order))
    luns = [stage.make_lun(f"pair{tag}{n}", target=f"pair{tag}", content=bytes([n]) * 512) for n in (0, 1)]
    stage.attach(luns[0].name, luns[0].source)
    with traced(stage.guest, *SERVICES) as executed:
        stage.attach(luns[1].name, luns[1].source)
    assert executed.programs == [], "no process for a LUN on an existing session"
    assert len(sessions(stage)) == 1
    with traced(stage.guest, *SERVICES) as executed:
        stage.detach(luns[order[0]].name)
    assert executed.programs == [], "no process for a detach from a shared session"
    other = luns[order[1]]
    assert len(sessions(stage)) == 1
    read = f"dd if=/run/cdmi-attach/disk/{other.name} bs=512 count=1 iflag=direct 2>/dev/null | od -An -tu1 -N1"
    assert stage.guest.run(read).stdout.strip() == str(order[1]), "the other disk still reads its own bytes"
    stage.detach(other.name)
    assert stage.inventory() == before


def test_a_session_of_somebody_else_is_borrowed_and_stays(stage: Stage) -> None:
    iqn = stage.guest.run("sed -n s/^InitiatorName=//p /etc/iscsi/initiatorname.iscsi").stdout.strip()
    lun = stage.make_lun("borrowed", permissions=[iqn])
    node = f"iscsiadm -m node -T {lun.target} -p 127.0.0.1:3260"
    stage.guest.run(f"{node} -o new && {node} -o update -n node.session.scan -v manual && {node} --login")
    before = stage.inventory()
    stage.attach("borrowed", lun.source)
    assert len(sessions(stage)) == 1
    stage.detach("borrowed")
    assert stage.inventory() == before, "the session, its record and the permission are the administrator's"
    assert stage.export("borrowed")["permissions"] == [iqn]
    stage.guest.run(f"{node} --logout && {node} -o delete")


def test_a_lun_swapped_behind_a_live_session_is_refused(stage: Stage) -> None:
    before = stage.inventory()
    one, other = (stage.make_lun(name, target="swapped") for name in ("swap-one", "swap-other"))
    stage.attach("swap-a", one.source, "--ro")
    node = stage.status("swap-a")["device"]["node"].removeprefix("/dev/")
    stage.swap("swap-one", "swap-other")
    sysfs = stage.guest.run(f"cat /sys/block/{node}/device/wwid").stdout.strip()
    assert sysfs == one.wwid, "the kernel goes on believing in the old identity"
    inquiry = stage.guest.run(f"/lib/udev/scsi_id --whitelisted --page=0x83 --device=/dev/{node}").stdout.strip()
    assert inquiry == "3" + other.wwid.removeprefix("naa."), "but the device answers with the other one"
    status, problem = stage.api("PUT", "/v1/attachments/swap-b", {"source": one.source, "access": "ro"})
    assert (status, problem["code"]) == (502, "wrong-device"), problem
    assert other.wwid in problem["detail"]
    stage.detach("swap-a")
    status, problem = stage.api("PUT", "/v1/attachments/swap-b", {"source": one.source})
    assert (status, problem["code"]) == (502, "wrong-device"), problem
    stage.swap("swap-one", "swap-other")
    stage.attach("swap-b", one.source)
    stage.detach("swap-b")
    assert stage.inventory() == before


def test_what_was_written_without_a_sync_is_there_after_a_detach(stage: Stage) -> None:
    """Case 7. The last close of a disk writes it out as well: so the daemon's own flush is looked for in the calls."""
    before = stage.inventory()
    lun = stage.make_lun("unsynced")
    link = stage.attach("unsynced", lun.source)
    (path,) = stage.status("unsynced")["device"]["paths"]
    with watched(stage.guest) as calls:
        written = stage.guest.run(
            "head -c 8388608 /dev/urandom > /root/random && sha256sum < /root/random && "
            f"dd if=/root/random of={link} bs=1M conv=notrunc,nocreat status=none && cdmi-attach detach unsynced"
        ).stdout
    assert_in_order(calls, *writes_out(path["node"]), deletes(path["hctl"]))
    assert stage.inventory() == before
    link = stage.attach("unsynced", lun.source)
    read = stage.guest.run(f"dd if={link} bs=1M count=8 iflag=direct status=none | sha256sum").stdout
    assert read == written and "  -" in read
    stage.detach("unsynced")


def test_a_lun_that_the_array_took_away_is_told(stage: Stage) -> None:
    """Case 75: the disk stays and says `running`; a look finds out, and it can be detached."""
    before = stage.inventory()
    lun = stage.make_lun("taken")
    stage.attach("taken", lun.source, "--ro")
    node = stage.status("taken")["device"]["node"].removeprefix("/dev/")
    mapped = f"/sys/kernel/config/target/iscsi/{lun.target}/tpgt_1/acls/*/lun_*"
    stage.guest.run(f"find {mapped} -type l -delete && rmdir {mapped}")
    assert stage.guest.run(f"cat /sys/block/{node}/device/state").stdout.strip() == "running"
    body = {"source": lun.source, "access": "ro", "timeout_s": 3}
    status, problem = stage.api("PUT", "/v1/attachments/taken", body)
    assert status >= 500, problem
    view = stage.status("taken")
    assert view["phase"] == "degraded" and view["problem"]["code"] == problem["code"], view
    stage.detach("taken")
    assert stage.inventory() == before


def test_a_path_in_standby_is_no_disk(stage: Stage) -> None:
    """Case 82: it answers to an INQUIRY with the right name, and every read of it is EIO."""
    before = stage.inventory()
    lun = stage.make_lun("standby")
    set_access(stage, lun, 2)
    status, problem = stage.api("PUT", "/v1/attachments/standby", {"source": lun.source, "timeout_s": 50})
    assert status == 504, problem
    failed = "cdmi-attach status standby | grep -q failed"
    wait_for(stage, failed, timeout_s=120)
    assert "ALUA state standby" in stage.status("standby")["problem"]["detail"]
    assert stage.inventory() == before
    set_access(stage, lun, 0)
    stage.attach("standby", lun.source)
    set_access(stage, lun, 2)
    status, problem = stage.api("PUT", "/v1/attachments/standby", {"source": lun.source, "timeout_s": 3})
    assert status >= 500 and "standby" in problem["detail"], problem
    assert stage.status("standby")["phase"] == "degraded"
    set_access(stage, lun, 0)
    stage.attach("standby", lun.source)
    stage.detach("standby")
    assert stage.inventory() == before


def test_events_and_metrics_tell_what_happened(stage: Stage) -> None:
    curl = "curl -sS --unix-socket /run/cdmi-attach/control.sock http://localhost"
    events = [json.loads(line) for line in stage.guest.run(f"{curl}/v1/events?follow=0").stdout.splitlines()]
    assert [e["seq"] for e in events] == sorted({e["seq"] for e in events})
    middle = events[len(events) // 2]["seq"]
    again = stage.guest.run(f"{curl}/v1/events?follow=0\\&since={middle}").stdout.splitlines()
    assert [json.loads(line) for line in again] == [e for e in events if e["seq"] > middle], "no loss over a reconnect"
    metrics = stage.guest.run(f"{curl}/metrics").stdout
    for moved in ('kind="attach",protocol="iscsi",result="ok"', 'kind="attach",protocol="iscsi",result="wrong-device"'):
        line = next(line for line in metrics.splitlines() if moved in line)
        assert float(line.rpartition(" ")[2]) >= 1, line
    assert "cdmi_attach_identity_mismatch_total 0.0" not in metrics
    assert "swap-" not in metrics, "no names in labels"


def test_a_disk_in_use_stays_and_works(stage: Stage) -> None:
    before = stage.inventory()
    lun = stage.make_lun("in-use")
    link = stage.attach("in-use", lun.source)
    hold = "systemd-run --quiet --unit=holder --service-type=exec"
    stage.guest.run(f"{hold} --property=StandardInput=file:{link} /bin/sleep infinity")
    status, problem = stage.api("DELETE", "/v1/attachments/in-use")
    assert (status, problem["code"]) == (409, "in-use"), problem
    assert "sleep (pid " in problem["detail"] and problem["hint"]
    assert stage.status("in-use")["phase"] == "attached"
    assert stage.guest.run(f"dd if={link} of=/dev/null bs=4k count=1 iflag=direct", check=False).returncode == 0
    stage.guest.run("systemctl stop holder")
    stage.detach("in-use")
    assert stage.inventory() == before


@pytest.mark.parametrize("how", HIDDEN)
def test_a_user_that_hides_keeps_the_disk(stage: Stage, how: str) -> None:
    """Case 100: no descriptor of any process leads to the disk, and it is in use."""
    before = stage.inventory()
    lun = stage.make_lun(f"hides-{how}")
    link = stage.attach(lun.name, lun.source)
    node = stage.status(lun.name)["device"]["node"]
    with hidden_user(stage, how, node) as user:
        assert stage.guest.run(f"find /proc/[0-9]*/fd -lname {node}", check=False).stdout == "", "it hides"
        standing = stage.inventory()
        status, problem = stage.api("DELETE", f"/v1/attachments/{lun.name}")
        assert (status, problem["code"]) == (409, "in-use") and user in problem["detail"], problem
        assert stage.inventory() == standing and stage.status(lun.name)["phase"] == "attached"
        assert stage.guest.run(f"dd if={link} of=/dev/null bs=4k count=1 iflag=direct", check=False).returncode == 0
    stage.detach(lun.name)
    assert stage.inventory() == before


def test_a_disk_that_an_administrator_has_mounted_stays_his(stage: Stage) -> None:
    """Case 79: it is not handed out for writing, and neither link nor permission goes from under him."""
    lun = stage.make_lun("mounted", permissions=[initiator(stage)])
    hand = Hand(stage, lun)
    hand.log_in()
    disk = f"/dev/disk/by-id/wwn-0x{lun.wwid[4:]}"
    mount, lives = f"mount {disk} /mnt/theirs", "date > /mnt/theirs/now && sync -f /mnt/theirs/now"
    stage.guest.run(f"mkdir -p /mnt/theirs && mkfs.ext4 -q {disk} && {mount}")
    before = stage.inventory()
    status, problem = stage.api("PUT", "/v1/attachments/mounted", {"source": lun.source})
    assert (status, problem["code"]) == (409, "in-use") and "/mnt/theirs" in problem["detail"], problem
    stage.guest.run(lives)
    assert stage.inventory() == before
    stage.attach("reader", lun.source, "--ro")
    stage.guest.run(f"{lives} && umount /mnt/theirs")
    for name in ("reader", "mounted"):
        stage.detach(name)
    assert stage.inventory() == before
    link = stage.attach("mounted", lun.source)
    stage.guest.run(mount)
    standing = stage.inventory()
    status, problem = stage.api("DELETE", "/v1/attachments/mounted")
    assert (status, problem["code"]) == (409, "in-use") and "/mnt/theirs" in problem["detail"], problem
    assert stage.inventory() == standing and stage.export("mounted")["permissions"] == [initiator(stage)]
    assert stage.guest.run(f"test -b {link} && {lives}", check=False).returncode == 0
    stage.guest.run("umount /mnt/theirs")
    stage.detach("mounted")
    assert stage.inventory() == before
    hand.away()


def test_a_guest_boots_from_the_object_and_survives_restarts(stage: Stage) -> None:
    before = stage.inventory()
    lun = stage.make_lun("boots", content=boot_sector("booted from the object"))
    stage.attach("boots", lun.source)
    xml = stage.status("boots")["disk_xml"]
    stage.start_domain("boots", disk=xml, paused=False)
    assert "booted from the object" in stage.boot_line("boots", "booted from")
    pid = stage.guest.run("cat /run/libvirt/qemu/boots.pid").stdout
    standing = stage.inventory()
    for unit in ("cdmi-attachd.service", "cdmi-attach-helperd.service"):
        for how in ("systemctl restart {0}", "systemctl kill -s KILL {0} && systemctl restart {0}"):
            stage.guest.run(how.format(unit))
            assert stage.status("boots")["phase"] == "attached"
            assert stage.inventory() == standing, f"adopted as it stands after: {how.format(unit)}"
    status, problem = stage.api("DELETE", "/v1/attachments/boots")
    assert (status, problem["code"]) == (409, "in-use"), problem
    assert "domain boots" in problem["detail"]
    assert stage.guest.run("cat /run/libvirt/qemu/boots.pid").stdout == pid, "the guest is undisturbed"
    assert stage.guest.run("virsh -q domstate boots").stdout.strip() == "running"
    stage.guest.run("virsh -q destroy boots")
    stage.detach("boots")
    assert stage.inventory() == before


def test_hot_attach_and_hot_detach(stage: Stage) -> None:
    stage.start_domain("hot")
    before = stage.inventory()
    lun = stage.make_lun("hot", content=boot_sector("hot and booted"))
    stage.attach("hot", lun.source)
    status, view = stage.api("PUT", "/v1/attachments/hot/domains/hot", {"target": "sda"})
    assert status == 200 and view["domains"] == [{"name": "hot", "target": "sda", "state": "given"}], view
    assert "/run/cdmi-attach/disk/hot" in stage.guest.run("virsh -q domblklist hot").stdout
    assert "/run/cdmi-attach/disk/hot" in stage.inventory().partition("# domains")[2], "the inventory sees it"
    stage.guest.run("virsh -q resume hot")
    assert "hot and booted" in stage.boot_line("hot", "hot and booted")
    assert stage.api("DELETE", "/v1/attachments/hot/domains/hot")[0] == 204
    assert stage.guest.run("virsh -q domblklist hot").stdout.strip() == ""
    assert stage.status("hot")["phase"] == "attached", "the disk stays on the host"
    assert stage.api("PUT", "/v1/attachments/hot/domains/hot", {"target": "sdb"})[0] == 200
    stage.detach("hot")
    assert stage.guest.run("virsh -q domblklist hot").stdout.strip() == "", "a detach takes it from the domain as well"
    assert stage.guest.run("virsh -q domstate hot").stdout.strip() == "running"
    assert stage.inventory() == before
    stage.guest.run("virsh -q destroy hot")


def test_a_session_that_others_log_out_under_a_guest_is_told(stage: Stage) -> None:
    """Case 80: at once, and before anything is mended; that the guest has a dead disk only a re-plug can mend."""
    stage.start_domain("cut")
    before = stage.inventory()
    lun = stage.make_lun("cut", content=boot_sector("plugged once more"))
    stage.attach("cut", lun.source, "--domain", "cut", "--target", "sda")
    since = last_event(stage)
    stage.guest.run(f"iscsiadm -m node -T {lun.target} -u")
    wait_for(stage, "cdmi-attach --json status cut | grep -qw dead", timeout_s=50)
    told = events_since(stage, since, "cut")
    degraded = next(n for n, event in enumerate(told) if event.get("phase") == "degraded")
    mended = next(n for n, event in enumerate(told) if event.get("what", "").startswith("log in"))
    assert degraded < mended, told
    body = {"source": lun.source, "domain": {"name": "cut", "target": "sda"}}
    for _ in range(2):
        status, view = stage.api("PUT", "/v1/attachments/cut", body)
        assert status == 200, view
        view = stage.status("cut")
        assert view["phase"] == "degraded" and "domain cut" in view["problem"]["detail"], view
        assert view["domains"] == [{"name": "cut", "target": "sda", "state": "dead"}] and "re-plug" in view["note"]
    assert stage.api("DELETE", "/v1/attachments/cut/domains/cut")[0] == 204
    assert stage.api("PUT", "/v1/attachments/cut/domains/cut", {"target": "sda"})[0] == 200
    status, view = stage.api("PUT", "/v1/attachments/cut", body)
    assert status == 200, view
    assert (view["phase"], view["problem"]) == ("attached", None) and "re-plug" not in view["note"], view
    assert view["domains"] == [{"name": "cut", "target": "sda", "state": "given"}]
    stage.guest.run("virsh -q resume cut")
    assert "plugged once more" in stage.boot_line("cut", "plugged once")
    stage.detach("cut")
    assert stage.inventory() == before
    stage.guest.run("virsh -q destroy cut")


def test_read_only_is_read_only_to_the_last_layer(stage: Stage) -> None:
    lun = stage.make_lun("reads", content=b"to be read")
    stage.start_domain("reads")
    link = stage.attach("reads", lun.source, "--ro", "--domain", "reads", "--target", "sda")
    assert stage.guest.run(f"blockdev --getro {link}").stdout.strip() == "1"
    assert re.search("<readonly ?/>", stage.status("reads")["disk_xml"])
    assert "<readonly/>" in stage.guest.run("virsh -q dumpxml reads").stdout
    write = stage.guest.run(f"dd if=/dev/zero of={link} bs=512 count=1 oflag=direct", check=False)
    assert write.returncode != 0 and stage.guest.run(f"head -c 10 {link}").stdout == "to be read"
    stage.guest.run("virsh -q destroy reads")
    stage.detach("reads")


@pytest.fixture
def by_interface(stage: Stage) -> Iterator[str]:
    """A configuration with an interface of that name, which the host does not have yet, while a test runs."""
    stage.configure('\n[iscsi]\ninterface = "san"\n')
    yield "san"
    stage.guest.run("iscsiadm -m iface -I san -o delete", check=False)
    stage.configure()


def test_a_session_by_a_configured_interface(stage: Stage, by_interface: str) -> None:
    """And without that interface on the host nothing is begun."""
    before, lun = stage.inventory(), stage.make_lun("iface")
    status, problem = stage.api("PUT", "/v1/attachments/iface", {"source": lun.source})
    assert (status, problem["code"]) == (501, "unsupported-on-host") and by_interface in problem["detail"], problem
    assert stage.inventory() == before
    stage.guest.run(f"iscsiadm -m iface -I {by_interface} -o new")
    stage.attach("iface", lun.source)
    assert stage.guest.run(f"iscsiadm -m session -P 1 | grep -c 'Iface Name: {by_interface}'").stdout.strip() == "1"
    stage.detach("iface")
    assert stage.inventory() == before


def test_the_interfaces_own_name_is_permitted_and_taken_back(stage: Stage, by_interface: str) -> None:
    """Case 87: the login says that name, not the host's, and the target knows no other."""
    own, iface = "iqn.2026-01.org.example:storage", f"iscsiadm -m iface -I {by_interface}"
    stage.guest.run(f"{iface} -o new && {iface} -o update -n iface.initiatorname -v {own}")
    before, lun = stage.inventory(), stage.make_lun("own-name", content=b"by its own name")
    link = stage.attach("own-name", lun.source)
    assert stage.export("own-name")["permissions"] == [own]
    assert stage.guest.run("cat /sys/class/iscsi_session/*/initiatorname").stdout.split() == [own]
    assert stage.guest.run(f"head -c 15 {link}").stdout == "by its own name"
    stage.detach("own-name")
    assert stage.export("own-name")["permissions"] == []
    assert stage.inventory() == before


def test_nothing_of_the_daemon_has_failed(stage: Stage) -> None:
    assert stage.defects() == ""
    assert stage.guest.run("journalctl -q -o cat | grep -F 'correct horse'", check=False).stdout == ""
