"""The lab itself, with real guests: what exec carries, who a guest is, and what a killed run leaves."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from tests.lab import accel, console, fleet
from tests.lab.cache import LAB, open_cache
from tests.lab.conftest import NewGuest
from tests.lab.errors import LabError
from tests.lab.guest import Guest
from tests.lab.identity import identity
from tests.lab.machine import running_pid

pytestmark = pytest.mark.lab_plain

WHO = """
cat /proc/sys/kernel/hostname /etc/machine-id
sed -n s/InitiatorName=//p /etc/iscsi/initiatorname.iscsi
virsh capabilities | sed -n 's:.*<uuid>\\(.*\\)</uuid>:\\1:p'
cat /etc/cdmi-lab/mac-seed
"""


def lab(*words: str, stdin: str = "") -> subprocess.CompletedProcess[str]:
    return subprocess.run([LAB / "lab", *words], input=stdin, text=True, capture_output=True, timeout=120)


def test_exec_carries_status_and_all_three_streams(guest: Guest) -> None:
    done = lab("--name", guest.name, "exec", "read line; echo out $line; echo err >&2; exit 7", stdin="in\n")
    assert (done.returncode, done.stdout, done.stderr) == (7, "out in\n", "err\n")
    assert lab("exec", "--name", guest.name, "--", "printf", "%s|", "a b", "$HOME").stdout == "a b|$HOME|"


def test_exec_without_a_guest_says_what_to_do() -> None:
    done = lab("exec", "--name", "nobody", "true")
    assert done.returncode == 125
    assert "lab up --name nobody" in done.stderr


def test_an_accelerator_counts_when_the_guests_kernel_runs_on_it(guest: Guest, tmp_path: Path) -> None:
    cache = open_cache()
    image = cache.images / next(record.image for record in fleet.records(cache) if record.name == guest.name)
    assert accel.runs("tcg", image, within_s=120), "it works, on a busy machine as well"
    assert accel.accelerator(cache, image) in ("tcg", "kvm")
    (tmp_path / "vmlinuz").write_bytes((image / "vmlinuz").read_bytes()[:4096])
    (tmp_path / "initrd").symlink_to(image / "initrd")
    assert not accel.runs("tcg", tmp_path), "half a kernel"


def test_files_go_in_and_come_back(guest: Guest, tmp_path: Path) -> None:
    (tmp_path / "tree/below").mkdir(parents=True)
    (tmp_path / "tree/below/file").write_bytes(bytes(range(256)))
    (tmp_path / "tree/script").write_text("#!/bin/sh\nexit 3\n")
    (tmp_path / "tree/script").chmod(0o755)
    guest.push(tmp_path / "tree", "/srv/tree")
    guest.push(tmp_path / "tree/script", "/srv/single/renamed")
    assert guest.run("/srv/single/renamed", check=False).returncode == 3
    assert guest.run("stat -c %U:%a /srv/tree/script").stdout == "root:755\n"
    guest.pull("/srv/tree", tmp_path / "back")
    assert (tmp_path / "back/below/file").read_bytes() == bytes(range(256))
    guest.pull("/srv/tree/script", tmp_path / "copy")
    assert (tmp_path / "copy").read_text() == "#!/bin/sh\nexit 3\n"
    with pytest.raises(LabError, match="cannot be read"):
        guest.pull("/srv/none", tmp_path / "none")


def test_commands_that_fail_or_hang_are_told(guest: Guest) -> None:
    with pytest.raises(LabError, match="status 5"):
        guest.run("echo why; exit 5")
    with pytest.raises(LabError, match="had not ended"):
        guest.run("exec tail -f /dev/null", timeout_s=1)
    assert guest.python("import sys, tests.lab; print(sys.version_info >= (3, 11))").stdout == "True\n"


def test_the_pushed_checkout_can_be_tested_inside(guest: Guest) -> None:
    guest.write(
        "/opt/cdmi-attach/tests/host/test_probe.py",
        "import os\n\n\nasync def test_root():\n    assert os.getuid() == 0\n",
    )
    done = guest.run("cd /opt/cdmi-attach && /usr/bin/python3 -m pytest -q tests/host/test_probe.py")
    assert "1 passed" in done.stdout


def test_the_clock_is_right_and_nothing_failed(guest: Guest) -> None:
    before = guest.run("date +%s").stdout
    assert abs(int(before) - guest.place.serial_log.stat().st_mtime) < 300
    assert guest.run("systemctl is-system-running", check=False).stdout == "running\n"
    assert guest.run("journalctl -b --no-pager | tail -1").stdout


def test_the_kernel_of_a_guest_that_hangs_can_still_be_asked(guest: Guest) -> None:
    said = console.dumped(guest.place)
    assert "Show backtrace of all active CPUs" in said and "Show Blocked State" in said and "Mem-Info" in said
    assert guest.run("echo well").stdout == "well\n"


def test_two_guests_are_two_hosts_and_see_each_other(guest: Guest, new_guest: NewGuest) -> None:
    other = new_guest("test-other")
    names = [each.run(WHO).stdout.split() for each in (guest, other)]
    assert not set(names[0]) & set(names[1])
    who = identity(other.name)
    assert names[1] == [who.hostname, who.machine_id, who.iqn, who.host_uuid, who.mac_seed]
    slots = {record.name: record.slot for record in fleet.records(open_cache())}
    peer = fleet.LAN.format(slots[other.name])
    hello = f"import socket; print(socket.create_connection(('{peer}', 22), 20).recv(4))"
    assert guest.python(hello).stdout == "b'SSH-'\n"
    ids = {each.python("import uuid; print(uuid.uuid4())").stdout for each in (guest, other)}
    assert len(ids) == 2


def test_up_again_is_a_fresh_guest_and_the_old_one_is_gone(fresh_guest: Guest) -> None:
    fresh_guest.run("touch /srv/left-behind")
    old = running_pid(fresh_guest.place)
    again = fleet.up(open_cache(), fresh_guest.name, "bookworm", base=True)
    assert again.run("ls /srv").stdout == ""
    assert old is not None
    assert not Path(f"/proc/{old}").exists()


def test_a_reboot_keeps_disk_and_identity(fresh_guest: Guest) -> None:
    who = fresh_guest.run(WHO).stdout
    fresh_guest.reboot()
    assert fresh_guest.run(WHO).stdout == who
