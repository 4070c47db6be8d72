"""iSCSI on a real kernel, to its edges: CHAP, odd numbers, others who log in too, a database that is not well."""

import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.lab.guest import Guest
from tests.lab.iscsi_scene import (
    Hand,
    begin,
    failing,
    initiator,
    lose,
    permission_given,
    records_come_and_go,
    sessions,
    several_sessions,
    steps_of,
    wait_for,
)
from tests.lab.stage import LUN_SIZE, SERVICES, STATE, Stage

OUT, IN, WRONG = "not-battery-staple", "the-other-staple", "wrong-battery-staple"
CHAP = """chap = { user = "host", password_file = "/etc/cdmi-attach/chap", mutual_user = "target",
  mutual_password_file = "/etc/cdmi-attach/chap-in" }
""".replace("\n  ", " ")
DAEMONS = " ".join(SERVICES)
NODES = "/etc/iscsi/nodes"


@pytest.fixture(scope="module")
def stage(guest: Guest) -> Stage:
    """A guest with the server and the configured daemon."""
    guest.run("systemctl start iscsid")
    return Stage(guest).set()


def secrets(stage: Stage, out: str, back: str = IN) -> None:
    """Root's files with the secrets."""
    for name, secret in (("chap", out), ("chap-in", back)):
        stage.guest.write(f"/etc/cdmi-attach/{name}", secret, mode=0o400)


@pytest.fixture
def chap(stage: Stage) -> Iterator[None]:
    """Targets that ask for CHAP in both directions, while a test runs."""
    wanted = {"user": "host", "password": OUT, "mutual_user": "target", "mutual_password": IN}
    stage.guest.write(f"{STATE}/chap.json", json.dumps(wanted))
    yield
    stage.guest.run(f"rm {STATE}/chap.json")
    stage.configure()


def test_chap_in_both_directions_and_no_secret_is_ever_seen(stage: Stage, chap: None) -> None:
    """Cases 20 and 40."""
    before, lun = stage.inventory(), stage.make_lun("chap")
    status, problem = stage.api("PUT", "/v1/attachments/chap", {"source": lun.source})
    assert (status, problem["code"]) == (502, "target-refused") and "CHAP" in problem["detail"], problem
    secrets(stage, WRONG)
    stage.configure(CHAP)
    status, problem = stage.api("PUT", "/v1/attachments/chap", {"source": lun.source})
    assert (status, problem["code"]) == (502, "target-refused") and "exit code 24" in problem["detail"], problem
    logins = [what for what in steps_of(stage, "chap") if what.startswith("log in")]
    assert len(logins) == 1, "at once, and not at the other portal"
    assert stage.inventory() == before
    secrets(stage, OUT, back=WRONG)
    status, problem = stage.api("PUT", "/v1/attachments/chap", {"source": lun.source})
    assert (status, problem["code"]) == (502, "target-refused") and "exit code 19" in problem["detail"], problem
    assert stage.inventory() == before
    secrets(stage, OUT)
    trace = "strace -f -qq -e trace=execve -s 4096 -o /root/exec.trace"
    pids = " ".join(f"-p $(systemctl show -P MainPID {unit})" for unit in SERVICES)
    stage.guest.run(f"systemd-run --quiet --unit=exec-trace --service-type=exec sh -c 'exec {trace} {pids}'")
    wait_for(stage, "grep -q TracerPid:.[1-9] /proc/$(systemctl show -P MainPID cdmi-attach-helperd)/status")
    link = stage.attach("chap", lun.source)
    stage.guest.run("systemctl stop exec-trace")
    assert stage.guest.run(f"dd if={link} bs=512 count=1 status=none | wc -c").stdout.strip() == "512"
    record = stage.guest.run(f"grep -rl {OUT} {NODES}").stdout.split()
    assert len(record) == 1 and stage.guest.run(f"stat -c %a {record[0]}").stdout.strip() == "600"
    assert "username_in = target" in stage.guest.run(f"cat {record[0]}").stdout
    assert stage.guest.run("cat /root/exec.trace").stdout.count("iscsiadm") >= 2, "the trace has seen them"
    stage.guest.run(
        "journalctl > /root/journal; curl -sS --unix-socket /run/cdmi-attach/control.sock "
        "'http://localhost/v1/events?follow=0' > /root/events; cdmi-attach --json status > /root/status; "
        "find /proc -maxdepth 2 -name cmdline -exec cat {} + > /root/cmdlines 2>/dev/null; true"
    )
    for secret in (OUT, IN, WRONG):
        told = (
            "/root/exec.trace /root/journal /root/events /root/status /root/cmdlines /run/cdmi-attach /var/lib/cdmi-at*"
        )
        assert stage.guest.run(f"grep -rlF {secret} {told}", check=False).stdout == ""
    stage.detach("chap")
    assert stage.inventory() == before
    assert stage.guest.run(f"grep -rlF -e {OUT} -e {IN} {NODES} /etc/iscsi", check=False).stdout == ""


def test_a_lun_above_255_and_no_other_of_its_target(stage: Stage) -> None:
    """Cases 10 and 73."""
    before, iqn = stage.inventory(), initiator(stage)
    lun = stage.make_lun("high", target="high", lun=300, content=b"three hundred")
    stage.make_lun("low", target="high", permissions=[iqn])
    link = stage.attach("high", lun.source)
    assert stage.status("high")["device"]["paths"][0]["hctl"].endswith(":0:0:300")
    assert stage.guest.run(f"head -c 13 {link}").stdout == "three hundred"
    assert len(stage.guest.run("lsblk -S -n -o NAME").stdout.split()) == 1, "the other LUN is not looked for"
    stage.detach("high")
    assert stage.inventory() == before


def test_a_lun_in_flat_space_addressing(stage: Stage) -> None:
    """Case 73: an array that addresses so answers its LUN 300 under the kernel's number 16684.

    This one even has another unit at 300, which is looked at, known by its name, and left.
    """
    before = stage.inventory()
    stage.make_lun("plain", target="flat", lun=300, content=b"another", permissions=[initiator(stage)])
    lun = stage.make_lun("flat", target="flat", lun=300, flat=True, content=b"flat space")
    assert stage.export("flat")["logical_unit_number"] == "300"
    link = stage.attach("flat", lun.source)
    assert stage.status("flat")["device"]["paths"][0]["hctl"].endswith(":0:0:16684")
    assert stage.guest.run(f"head -c 10 {link}").stdout == "flat space"
    scans = [step for step in steps_of(stage, "flat") if step.startswith(("scan", "remove"))]
    assert [scan.rpartition(":")[2] for scan in scans] == ["300", "300", "16684"], scans
    stage.detach("flat")
    assert stage.inventory() == before


def test_somebody_logs_in_at_the_same_moment(stage: Stage) -> None:
    """The session is theirs: it is borrowed, and never logged out."""
    lun = stage.make_lun("moment", permissions=[initiator(stage)])
    hand = Hand(stage, lun)
    stage.guest.run(hand.make)
    stage.guest.run("systemctl kill -s STOP iscsid")
    stage.guest.run(f"systemd-run --quiet --unit=hand {hand.node} --login")
    wait_for(stage, "pgrep -x iscsiadm")
    begin(stage, lun)
    wait_for(stage, "test $(pgrep -x iscsiadm | wc -l) = 2")
    stage.guest.run("systemctl kill -s CONT iscsid")
    assert stage.attach("moment", lun.source)
    stage.detach("moment")
    assert len(sessions(stage, "moment")) == 1, "theirs"
    hand.away()


def test_two_sessions_to_one_portal_and_only_ours_goes(stage: Stage) -> None:
    """Case 36: an administrator has one through another interface, and has written over our record."""
    before, lun = stage.inventory(), stage.make_lun("twice")
    stage.attach("twice", lun.source)
    node = f"iscsiadm -m node -T {lun.target} -p 127.0.0.1:3260"
    portal = stage.status("twice")["device"]["paths"][0]["via"]
    node = node.replace("127.0.0.1:3260", portal)
    stage.guest.run(f"iscsiadm -m iface -I second -o new && {node} -I second -o new")
    stage.guest.run(f"{node} -I second -o update -n node.session.scan -v manual && {node} -I second --login")
    assert len(sessions(stage, "twice")) == 2
    stage.detach("twice")
    assert len(sessions(stage, "twice")) == 1
    stage.guest.run(f"{node} -I second --logout; {node} -o delete; iscsiadm -m iface -I second -o delete")
    assert stage.inventory() == before


def test_a_login_whose_iscsiadm_was_killed_comes_late_and_is_ours(stage: Stage) -> None:
    """Cases 25, 31 and 39: iscsid carries it out all the same; it is waited for, used, and taken down."""
    before, lun = stage.inventory(), stage.make_lun("late")
    stage.guest.run("systemctl kill -s STOP iscsid")
    begin(stage, lun)
    wait_for(stage, "pgrep -x iscsiadm -a | grep -q -- -l")
    wait_for(stage, "ls -l /proc/$(pgrep -x iscsiadm)/fd | grep -q socket")
    stage.guest.run("pkill -KILL -x iscsiadm; systemctl kill -s CONT iscsid")
    stage.attach("late", lun.source)
    assert len(sessions(stage, "late")) == 1
    stage.detach("late")
    assert stage.inventory() == before


def test_iscsid_dies_in_the_middle_of_a_login(stage: Stage) -> None:
    """Case 31."""
    before, lun = stage.inventory(), stage.make_lun("midway")
    stage.guest.run("systemctl kill -s STOP iscsid")
    begin(stage, lun)
    wait_for(stage, "pgrep -x iscsiadm -a | grep -q -- -l")
    stage.guest.run("systemctl kill -s KILL iscsid; systemctl restart iscsid")
    stage.attach("midway", lun.source)
    stage.guest.run("systemctl kill -s KILL iscsid; systemctl restart iscsid")
    stage.detach("midway")
    assert stage.inventory() == before


def test_a_grown_lun_grows_under_its_guest_and_a_shrunk_one_is_refused(stage: Stage) -> None:
    """Case 51, on one path."""
    before, lun = stage.inventory(), stage.make_lun("grows")
    stage.start_domain("grows")
    stage.attach("grows", lun.source, "--domain", "grows", "--target", "sda")
    node = stage.status("grows")["device"]["node"]
    stage.resize("grows", 2 * LUN_SIZE)
    assert int(stage.guest.run(f"blockdev --getsize64 {node}").stdout) == LUN_SIZE, "nobody has told this host"
    assert int(stage.guest.run("cdmi-attach resize grows").stdout) == 2 * LUN_SIZE
    assert int(stage.guest.run(f"blockdev --getsize64 {node}").stdout) == 2 * LUN_SIZE
    assert f"{2 * LUN_SIZE}" in stage.guest.run("virsh -q domblkinfo grows sda").stdout
    assert stage.status("grows")["device"]["size"] == 2 * LUN_SIZE
    stage.resize("grows", LUN_SIZE)
    status, problem = stage.api("POST", "/v1/attachments/grows/resize")
    assert (status, problem["code"]) == (409, "conflict"), problem
    assert int(stage.guest.run(f"blockdev --getsize64 {node}").stdout) == 2 * LUN_SIZE
    stage.resize("grows", 2 * LUN_SIZE)
    stage.detach("grows")
    stage.guest.run("virsh -q destroy grows")
    assert stage.inventory() == before


def test_the_database_is_looked_through_at_the_start(stage: Stage) -> None:
    """Cases 27 and 28: ours that nobody can use are made anew, those of others are named and stay."""
    before = stage.inventory()
    luns = empty, poisoned = stage.make_lun("db-empty"), stage.make_lun("db-poisoned")
    for lun in luns:
        stage.attach(lun.name, lun.source)
    stage.guest.run(f"systemctl stop {DAEMONS.replace('service', 'socket')} {DAEMONS}")
    for lun in luns:
        lose(stage, lun)
    theirs = f"{NODES}/iqn.2000-01.org.example:theirs"
    files = [stage.guest.run(f"ls {NODES}/{lun.target}/*").stdout.strip() for lun in (empty, poisoned)]
    stage.guest.run(
        f"truncate -s 0 {files[0]}; mkdir -p '{NODES}/{empty.target}/,3260,-1' '{theirs}/,3260,-1'; "
        f"touch '{NODES}/{empty.target}/,3260,-1/default' '{theirs}/,3260,-1/default'; "
        f"sed -i '2i node.session.of_tomorrow = 1' {files[1]}; touch -d 2020-01-01 {files[1]}"
    )
    assert stage.guest.run("iscsiadm -m node", check=False).returncode == 7, "nobody can list it"
    stage.guest.run(f"systemctl start {DAEMONS.replace('service', 'socket')} cdmi-attachd.service")
    for lun in luns:
        stage.attach(lun.name, lun.source)
    journal = stage.guest.run("journalctl -q -o cat -u cdmi-attach-helperd").stdout
    assert f"{theirs}/,3260,-1 has no address" in journal and f"removed {NODES}/{empty.target}/,3260,-1" in journal
    assert stage.guest.run(f"ls '{theirs}'").stdout.strip() == ",3260,-1", "it is not ours to remove"
    doctor = stage.guest.run("cdmi-attach doctor node-records", check=False)
    assert doctor.returncode == 1 and theirs in doctor.stdout
    stage.guest.run(f"rm -r {theirs}")
    assert stage.guest.run("iscsiadm -m node | wc -l").stdout.strip() == "2", "made anew, and readable"
    for lun in luns:
        stage.detach(lun.name)
    assert stage.inventory() == before


@pytest.fixture
def unreadable(stage: Stage) -> Iterator[str]:
    """A record of somebody else's with a key of another version, while a test runs: its path, with a *."""
    folder = f"{NODES}/iqn.2000-01.org.example:theirs"
    stage.guest.run("iscsiadm -m node -T iqn.2000-01.org.example:theirs -p 127.0.0.9:3260 -o new")
    stage.guest.run(f"sed -i '2i node.session.of_tomorrow = 1' {folder}/*")
    yield f"{folder}/*"
    stage.guest.run(f"rm -r {folder}")


def test_a_record_of_somebody_elses_that_nobody_can_read(stage: Stage, unreadable: str) -> None:
    """Case 28: it makes iscsiadm refuse to list the database; ours goes on, it is named, and it stays."""
    lun = stage.make_lun("beside")
    assert stage.guest.run("iscsiadm -m node", check=False).returncode == 7, "nobody can list it"
    before = stage.inventory()
    stage.attach("beside", lun.source)
    doctor = stage.guest.run("cdmi-attach doctor node-records", check=False)
    assert doctor.returncode == 1 and "org.example:theirs" in doctor.stdout and "of_tomorrow" in doctor.stdout
    stage.detach("beside")
    assert stage.guest.run(f"grep -c of_tomorrow {unreadable}").stdout.strip() == "1", "it is not ours to mend"
    assert stage.inventory() == before


@pytest.mark.parametrize("whose", ["theirs", "ours"])
def test_a_rescan_by_others_brings_our_lun_before_we_look_for_it(stage: Stage, whose: str) -> None:
    """Case 77: the server has permitted it, and its answer is on the way; the session was there before."""
    target, may = f"rescanned-{whose}", [initiator(stage)] if whose == "theirs" else []
    beside, lun = (
        stage.make_lun(f"beside-{whose}", target=target, permissions=may),
        stage.make_lun(target, target=target),
    )
    hand = Hand(stage, beside)
    if whose == "theirs":
        hand.log_in()
    else:
        stage.attach(beside.name, beside.source)
    before = stage.inventory()
    with permission_given(stage, lun):
        hand.rescan()
        assert lun.wwid[4:] in stage.guest.run("lsblk -S -n -o WWN").stdout, "it is there before we scan"
    stage.attach(lun.name, lun.source)
    assert not [what for what in steps_of(stage, lun.name) if what.startswith(("log in", "scan"))]
    stage.detach(lun.name)
    assert stage.inventory() == before and stage.export(lun.name)["permissions"] == []
    stage.attach(lun.name, lun.source)
    stage.detach(lun.name)
    assert stage.inventory() == before, "and its number can be used again"
    if whose == "theirs":
        hand.away()
    else:
        stage.detach(beside.name)


def test_one_session_whatever_iscsid_conf_says_and_none_is_left(stage: Stage) -> None:
    """Case 78; and a record of an administrator's that makes two is not logged in with."""
    before = stage.inventory()
    ours, theirs = (stage.make_lun(name, permissions=[initiator(stage)]) for name in ("one-session", "two-sessions"))
    hands = [Hand(stage, theirs, f"127.0.0.{n}:3260") for n in (1, 2)]
    with several_sessions(stage, 2):
        stage.attach(ours.name, ours.source)
        assert len(sessions(stage, ours.target)) == 1
        stage.detach(ours.name)
        assert stage.inventory() == before
        for hand in hands:
            stage.guest.run(hand.make)
    status, problem = stage.api("PUT", "/v1/attachments/two-sessions", {"source": theirs.source})
    assert (status, problem["code"]) == (409, "conflict") and "nr_sessions" in problem["detail"], problem
    assert not sessions(stage, theirs.target)
    for hand in hands:
        stage.guest.run(f"{hand.node} -o delete")
    assert stage.inventory() == before


def test_a_discovery_over_our_record_brings_no_other_lun(stage: Stage) -> None:
    """Cases 10, 29 and 30: it takes our settings away; the next login is made with them all the same."""
    before, lun = stage.inventory(), stage.make_lun("found")
    stage.attach("found", lun.source)
    stage.guest.run("iscsiadm -m discovery -t st -p 127.0.0.1")
    assert "auto" in stage.guest.run(f"grep -rh node.session.scan {NODES}/{lun.target}").stdout
    lose(stage, lun)
    stage.attach("found", lun.source)
    used = stage.status("found")["device"]["paths"][0]["via"].replace(":", ",")
    assert stage.guest.run(f"grep -h node.session.scan '{NODES}/{lun.target}/{used}'").stdout.split()[-1] == "manual"
    stage.detach("found")
    stage.guest.run("iscsiadm -m node -o delete; iscsiadm -m discoverydb -t st -p 127.0.0.1 -o delete", check=False)
    assert stage.inventory() == before


def test_a_session_in_recovery_at_one_portal_keeps_nobody_from_the_other(stage: Stage) -> None:
    """Case 31."""
    before = stage.inventory()
    luns = [stage.make_lun(f"recovers{n}", target="recovers") for n in (0, 1)]
    stage.attach("recovers0", luns[0].source)
    portal = stage.status("recovers0")["device"]["paths"][0]["via"]
    other = {"127.0.0.1:3260": "127.0.0.2:3260", "127.0.0.2:3260": "127.0.0.1:3260"}[portal]
    with failing(stage, portal):
        stage.attach("recovers1", luns[1].source)
        assert stage.status("recovers1")["device"]["paths"][0]["via"] == other
        stage.detach("recovers1")
    wait_for(stage, "! grep -q FAILED /sys/class/iscsi_session/*/state")
    stage.attach("recovers0", luns[0].source)
    stage.detach("recovers0")
    assert stage.inventory() == before


def test_a_session_in_recovery_is_detached_all_the_same(stage: Stage) -> None:
    """Case 31: once its loss is known nothing of it is left, and nobody waits for the target's return."""
    before, lun = stage.inventory(), stage.make_lun("lost")
    stage.attach("lost", lun.source)
    with failing(stage, stage.status("lost")["device"]["paths"][0]["via"]):
        assert any("uid 0" in line for line in stage.give_up("lost"))
        assert stage.inventory() == before, "while the portal is still dead"


def test_an_ipv6_portal(stage: Stage) -> None:
    """Case 33, and 34: the export names it as the server is told to, we and iscsid in our own ways."""
    before = stage.inventory()
    stage.configure(networks="::1/128")
    stage.guest.run("systemctl stop cdmi-server")
    stage.start_server(portals=("[::1]:3260",))
    lun = stage.make_lun("six", content=b"over six")
    link = stage.attach("six", lun.source)
    assert stage.status("six")["device"]["paths"][0]["via"] == "[::1]:3260"
    assert stage.guest.run(f"head -c 8 {link}").stdout == "over six"
    stage.detach("six")
    assert stage.inventory() == before


def test_eight_at_once_with_a_busy_database(stage: Stage) -> None:
    """Cases 26 and 74: logins read all records while ours and an administrator's come and go."""
    before = stage.inventory()
    iqn = initiator(stage)
    luns = [stage.make_lun(f"eight{n}", permissions=[iqn]) for n in range(8)]
    stage.guest.run("dmesg -C")
    with records_come_and_go(stage), ThreadPoolExecutor(8) as pool:
        for _ in range(2):
            list(pool.map(lambda lun: stage.attach(lun.name, lun.source), luns))
            assert len(sessions(stage, "eight")) == 8
            list(pool.map(lambda lun: stage.detach(lun.name), luns))
    assert stage.inventory() == before
    noisy = stage.guest.run("dmesg | grep -Ei 'I/O error|offline device'", check=False).stdout
    assert noisy == "", "udev has finished with each disk before it goes"


def test_nothing_of_the_daemon_has_failed(stage: Stage) -> None:
    assert stage.defects() == ""
