"""Bytes of objects through the confined daemon: of a LUN through its disk, of a data object past the daemon."""

import json
import re
import shlex
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from tests.lab.guest import Guest
from tests.lab.iscsi_scene import Hand, initiator
from tests.lab.stage import ATTACH, URL, Stage

SOCKET = "curl -sS --fail --unix-socket /run/cdmi-attach/control.sock"
ROUTE = "http://localhost/v1/objects/content?uri="
PLAIN = "http://127.0.0.1:8080/cdmi"
"""A server without TLS: what it sends is moved by the kernel."""
SERVER = f'\n[[server]]\nurl = "{PLAIN}/"\nallow_http = true\n'
SIZE = 24 << 20
LONG = 64 << 20
GROWTH_KIB = 40 << 10


@pytest.fixture(scope="module")
def stage(guest: Guest) -> Stage:
    """The daemon with two servers, and random bytes in two files."""
    words = "-m tests.cdmi_server --state /var/lib/cdmi-plain --listen 127.0.0.1:8080 --no-tls"
    unit = "--unit=cdmi-plain --service-type=notify --property=WorkingDirectory=/opt/cdmi-attach"
    guest.run(f"systemd-run --quiet {unit} /usr/bin/python3 {words}")
    guest.run(f"head -c {SIZE} /dev/urandom > /srv/lun && head -c {LONG} /dev/urandom > /srv/image")
    return Stage(guest).set(config=ATTACH + SERVER)


def make_image(stage: Stage, name: str, **metadata: str) -> str:
    """A data object of the plain server, with the long file as its value. Returns its URL."""
    told = ", ".join(f'"{key}": "{value}"' for key, value in metadata.items())
    body = f'{{"metadata": {{{told}}}, "value": ""}}'
    headers = "-H 'X-CDMI-Specification-Version: 1.1.1' -H 'Content-Type: application/cdmi-object'"
    stage.guest.run(f"curl -sS --fail -o /dev/null -X PUT {headers} -d {shlex.quote(body)} {PLAIN}/{name}")
    stage.guest.run(f"curl -sS --fail -o /dev/null -T /srv/image {PLAIN}/{name}")
    return f"{PLAIN}/{name}"


def fault(stage: Stage, body: str) -> None:
    """Let the plain server do something wrong."""
    headers = "-H 'Content-Type: application/json'"
    stage.guest.run(
        f"curl -sS --fail -o /dev/null -X POST {headers} -d {shlex.quote(body)} http://127.0.0.1:8080/.faults"
    )


def journal(stage: Stage) -> str:
    return stage.guest.run("journalctl -q -o cat -u cdmi-attachd.service").stdout


def wait_for(stage: Stage, shell: str) -> None:
    """Wait in the guest until a shell command succeeds."""
    stage.guest.run(f"timeout 60 sh -c {shlex.quote(f'until {shell}; do sleep 0.1; done')}")


@contextmanager
def called(stage: Stage, name: str) -> Iterator[str]:
    """While the daemon's system calls of that name are written down in the file that this is."""
    file, pid = f"/root/{name}", stage.guest.run("systemctl show -P MainPID cdmi-attachd.service").stdout.strip()
    stage.guest.run(f"systemd-run --quiet --unit=calls strace -f -o {file} -e trace={name} -p {pid}")
    wait_for(stage, f"! grep -q 'TracerPid:.0$' /proc/{pid}/status")
    yield file
    stage.guest.run("systemctl stop calls.service")


def memory_kib(stage: Stage, what: str) -> int:
    pid = "$(systemctl show -P MainPID cdmi-attachd.service)"
    return int(stage.guest.run(f"grep {what} /proc/{pid}/status").stdout.split()[1])


def test_a_lun_is_read_through_a_disk_that_is_gone_afterwards(stage: Stage) -> None:
    lun = stage.make_lun("volume", size=SIZE)
    stage.upload("/volume/", "/srv/lun")
    before = stage.inventory()
    stage.guest.run(f"{SOCKET} -o /srv/whole '{ROUTE}{lun.source}' && cmp /srv/whole /srv/lun", timeout_s=300)
    part = "-H 'Range: bytes=5000001-13000000'"
    stage.guest.run(f"{SOCKET} {part} -o /srv/part '{ROUTE}{lun.source}'", timeout_s=300)
    stage.guest.run("tail -c +5000002 /srv/lun | head -c 8000000 | cmp - /srv/part")
    stage.guest.run(["cdmi-attach", "cat", lun.source, "-o", "/srv/copy"], timeout_s=300)
    stage.guest.run("cmp /srv/copy /srv/lun")
    assert stage.inventory() == before
    assert stage.export("volume")["permissions"] == []


def test_a_lun_on_two_paths_is_read_through_its_map(stage: Stage) -> None:
    stage.guest.run("systemctl start multipathd.service")
    lun = stage.make_lun("paths", size=SIZE)
    stage.upload("/paths/", "/srv/lun")
    before = stage.inventory()
    with called(stage, "memfd_create") as calls:
        stage.guest.run(f"{SOCKET} -o /srv/map '{ROUTE}{lun.source}' && cmp /srv/map /srv/lun", timeout_s=300)
        assert f"to the map of {lun.wwid}" in journal(stage)
    assert "= -1" not in (said := stage.guest.run(f"cat {calls}").stdout) and said.count("cdmi-attach") == 2
    assert stage.inventory() == before
    stage.guest.run("systemctl stop multipathd.service multipathd.socket")


def test_a_lun_that_a_guest_may_write_to_is_not_read(stage: Stage) -> None:
    lun = stage.make_lun("busy")
    stage.attach("vm", lun.source)
    status, problem = stage.api("GET", f"/v1/objects/content?uri={lun.source}")
    assert (status, problem["code"]) == (409, "conflict") and "attached here as vm" in problem["detail"]
    stage.detach("vm")


def test_a_reader_that_is_killed_leaves_nothing(stage: Stage) -> None:
    lun = stage.make_lun("killed", size=SIZE)
    before = stage.inventory()
    stage.guest.run(f"{SOCKET} '{ROUTE}{lun.source}' | head -c 1000000 | wc -c", check=False, timeout_s=300)
    stage.guest.run("timeout 60 sh -c 'while cdmi-attach status | grep -q content-; do :; done'")
    assert stage.inventory() == before
    assert stage.export("killed")["permissions"] == []


def test_a_daemon_that_is_killed_leaves_nothing(stage: Stage) -> None:
    """And nobody may write to the LUN as long as it is read."""
    lun = stage.make_lun("orphan", size=SIZE)
    before = stage.inventory()
    reader = f"{SOCKET} --limit-rate 100k -o /dev/null '{ROUTE}{lun.source}'"
    stage.guest.run(f"systemd-run --quiet --unit=reader --property=SuccessExitStatus=18 {reader}")
    wait_for(stage, "cdmi-attach status | grep -q 'content-.*attached'")
    status, problem = stage.api("PUT", "/v1/attachments/writer", {"source": lun.source})
    assert (status, problem["code"]) == (409, "conflict") and "attached here as content-" in problem["detail"], problem
    stage.guest.run("systemctl kill -s KILL cdmi-attachd.service")
    wait_for(stage, "cdmi-attach status")
    wait_for(stage, "! cdmi-attach status | grep -q content-")
    assert stage.inventory() == before
    assert stage.export("orphan")["permissions"] == []


def test_an_image_is_moved_by_the_kernel(stage: Stage) -> None:
    """The units' filters let it: nothing broke, nothing was read by hand, and the memory is as it was."""
    url = make_image(stage, "image")
    idle = memory_kib(stage, "VmRSS")
    stage.guest.run(f"{SOCKET} -o /srv/got '{ROUTE}{url}' && cmp /srv/got /srv/image", timeout_s=300)
    assert "broke at byte" not in journal(stage)
    assert memory_kib(stage, "VmHWM") - idle < GROWTH_KIB
    with called(stage, "splice") as calls:
        stage.guest.run(["cdmi-attach", "cat", url, "-o", "/srv/copied"], timeout_s=300)
    said = stage.guest.run(f"cat {calls}").stdout
    assert re.search(r"splice\(.* = [1-9]", said) and "EPERM" not in said
    stage.guest.run("cmp /srv/copied /srv/image")


def test_an_import_that_breaks_off_is_taken_up_and_a_damaged_one_leaves_no_file(stage: Stage) -> None:
    url = make_image(stage, "cut", cdmi_value_hash="SHA256")
    fault(stage, '{"kind": "get-value", "action": "cut", "times": 4}')
    said = stage.guest.run(["cdmi-attach", "cat", url, "-o", "/srv/resumed"], timeout_s=300).stderr
    assert "proved by its sha256" in said and "broke at byte" in journal(stage)
    stage.guest.run("cmp /srv/resumed /srv/image")
    damaged = make_image(stage, "damaged", cdmi_value_hash="SHA256", x_hash="00" * 32)
    done = stage.guest.run(["cdmi-attach", "cat", damaged, "-o", "/srv/none"], timeout_s=300, check=False)
    assert done.returncode == 1 and "not what the server has" in done.stderr
    assert stage.guest.run("find /srv -name '*none*'").stdout == ""


def test_a_command_that_ends_at_its_half_is_taken_up_by_the_next(stage: Stage) -> None:
    cat = f"cdmi-attach cat {make_image(stage, 'half')} -o /srv/half/a"
    stage.guest.run("mkdir /srv/half")
    failed = stage.guest.run(["bash", "-c", f"ulimit -f {LONG // 2 // 1024}; {cat}"], timeout_s=300, check=False)
    assert failed.returncode == 1 and "File too large" in failed.stderr
    assert 0 < int(stage.guest.run("cd /srv/half && stat -c %s .a.*.part").stdout) <= LONG // 2
    stage.guest.run(f"{cat} && cmp /srv/half/a /srv/image", timeout_s=300)
    assert stage.guest.run("ls -A /srv/half").stdout.split() == ["a"]


@pytest.fixture
def narrow(stage: Stage) -> Iterator[None]:
    """A configuration that does not reach the first portal any more, and has CHAP secrets, while a test runs."""
    stage.guest.write("/etc/cdmi-attach/chap", "not-battery-staple", mode=0o400)
    chap = 'chap = { user = "host", password_file = "/etc/cdmi-attach/chap" }\n'
    stage.configure(chap, networks="127.0.0.2/32")
    yield
    stage.configure(SERVER)


def test_a_daemon_that_was_taken_over_gets_no_more_than_the_configuration_allows(stage: Stage, narrow: None) -> None:
    """It asks the helper itself, as the daemon's user, for an administrator's disk, and for what others have."""
    lun = stage.make_lun("theirs", permissions=[initiator(stage)])
    hand = Hand(stage, lun)
    hand.log_in()
    node = stage.guest.run(f"realpath /dev/disk/by-id/wwn-0x{lun.wwid[4:]}").stdout.strip()
    hctl = stage.guest.run(f"basename $(realpath /sys/class/block/{node[5:]}/device)").stdout.strip()
    stage.guest.run("ln -s /dev/null /run/cdmi-attach/disk/theirs")
    look = f"stat -c '%U:%G %a' {node} /dev/vda; blockdev --getro --getsize64 {node}; findmnt -n -o TARGET,SOURCE"
    before, seen = stage.inventory(), stage.guest.run(look).stdout
    scene = {"target": lun.target, "portal": "127.0.0.1:3260", "hctl": hctl, "wwid": lun.wwid, "server": f"{URL}/"}
    ask = "cd /opt/cdmi-attach && runuser -u cdmi-attach -- python3 -m tests.lab.inside_hostile"
    said = json.loads(stage.guest.run(f"{ask} {shlex.quote(json.dumps(scene))}").stdout)
    assert said.pop("look") == "done", said
    assert said.pop("read") == "not-found" and said.pop("read /dev/vda") == "invalid-request", said
    named = ("give", "give somebody's link", "take somebody's link", "remove", "log out")
    assert {said.pop(what) for what in named} == {"conflict"}, said
    assert set(said.values()) == {"forbidden"} and len(said) == 12, said
    assert (stage.inventory(), stage.guest.run(look).stdout) == (before, seen)
    stage.guest.run("rm /run/cdmi-attach/disk/theirs")
    hand.away()


def test_nothing_of_the_daemon_has_failed(stage: Stage) -> None:
    assert stage.defects() == ""
