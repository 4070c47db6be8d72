"""Attachments for a while, a host that was fenced off, and leftovers: on a real kernel, with libvirt's own domains."""

import pytest

from tests.lab.guest import Guest
from tests.lab.iscsi_scene import wait_for
from tests.lab.stage import Stage

GONE = "! cdmi-attach status {} >/dev/null 2>&1"
LEDGER = "/var/lib/cdmi-attach/ledger.sqlite"


@pytest.fixture(scope="module")
def stage(guest: Guest) -> Stage:
    """A guest with the server and the configured daemon."""
    return Stage(guest).set()


def until_later(stage: Stage, seconds: int) -> None:
    """Wait until the guest's clock, which nobody sets, is beyond what a lease is measured by."""
    began = int(stage.guest.run("cut -d. -f1 /proc/uptime").stdout)
    wait_for(stage, f"test $(cut -d. -f1 /proc/uptime) -ge {began + seconds}")


def test_what_nobody_confirms_goes_and_what_is_open_stays(stage: Stage) -> None:
    before, lun = stage.inventory(), stage.make_lun("lent")
    stage.attach("lent", lun.source, "--lease", "5")
    wait_for(stage, GONE.format("lent"))
    assert stage.inventory() == before and stage.permissions("lent") == []
    link = stage.attach("lent", lun.source, "--lease", "5")
    stage.guest.run(f"systemd-run --quiet --unit=holder sh -c 'exec sleep 600 <{link}'")
    until_later(stage, 15)
    assert stage.status("lent")["phase"] == "attached" and stage.status("lent")["lease"]
    stage.guest.run("date -s '+2 days' && systemctl restart cdmi-attachd && date -s '-2 days'")
    assert stage.status("lent")["lease"], "the wall clock has nothing to say"
    stage.guest.run("systemctl stop holder")
    wait_for(stage, GONE.format("lent"))
    assert stage.inventory() == before


def test_a_guest_that_waits_keeps_it_and_one_that_runs_confirms_it(stage: Stage) -> None:
    """A domain is paused while its memory comes from another host; then it runs."""
    before, lun = stage.inventory(), stage.make_lun("comes")
    stage.attach("comes", lun.source, "--lease", "30")
    stage.start_domain("comes", disk=stage.status("comes")["disk_xml"], paused=True)
    until_later(stage, 45)
    assert stage.status("comes")["lease"], "it is there, and does not run"
    stage.guest.run("virsh -q resume comes")
    wait_for(stage, "cdmi-attach --json status comes | grep -q lease.:.null")
    stage.guest.run("virsh -q destroy comes")
    until_later(stage, 35)
    assert stage.status("comes")["phase"] == "attached", "powered off, and it wants its disk again"
    stage.detach("comes")
    assert stage.inventory() == before


def test_what_a_lost_ledger_leaves_is_taken_away(stage: Stage) -> None:
    before, lun = stage.inventory(), stage.make_lun("left")
    stage.attach("left", lun.source)
    stage.guest.run(f"systemctl stop cdmi-attachd && rm -f {LEDGER}* && systemctl start cdmi-attachd")
    link = "/run/cdmi-attach/disk/left"
    stage.guest.run(f"systemd-run --quiet --unit=holder sh -c 'exec sleep 600 <{link}'")
    told = stage.api("GET", "/v1/leftovers")[1]["leftovers"]
    (unit,) = [item for item in told if item["kind"] == "unit"]
    assert lun.wwid in unit["what"] and not unit["cleanable"] and unit["users"]
    assert stage.guest.run(f"cdmi-attach leftovers --clean {unit['id']}", check=False).returncode == 5
    stage.guest.run("systemctl stop holder")
    stage.guest.run("cdmi-attach leftovers --clean")
    assert stage.inventory() == before
    assert stage.api("GET", "/v1/leftovers")[1]["leftovers"] == []


def test_a_host_that_was_fenced_off_comes_back_with_nothing(stage: Stage) -> None:
    lun = stage.make_lun("fenced")
    stage.attach("fenced", lun.source)
    (mine,) = stage.permissions("fenced")
    stage.guest.run("systemctl stop cdmi-attachd")
    other = ["iqn.2026-01.org.example:other"]
    stage.cdmi("PUT", "/fenced/?exports", {"exports": {"Network/iSCSI": {"permissions": other}}})
    stage.guest.run(f"iscsiadm -m node -T {lun.target} --logout")
    stage.guest.run("systemctl start cdmi-attachd")
    wait_for(stage, "cdmi-attach --json status fenced | grep -q code.:.*forbidden")
    assert mine not in stage.permissions("fenced")
    stage.detach("fenced")
    assert stage.permissions("fenced") == other
