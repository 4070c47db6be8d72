"""Fibre Channel on a real kernel: from an export to a disk and back, cables pulled and put back, the wrong LUN refused.

What the kernel does by itself is the kernel's here; the model of it is agent/host/simulated_fabric.py.
"""

import json
from collections.abc import Iterator

import pytest

from attachers.checks import with_colons
from tests.lab.execs import traced
from tests.lab.fc_scene import PAIRS, Fibre
from tests.lab.guest import Guest
from tests.lab.iscsi_scene import wait_for
from tests.lab.others_scene import mapping
from tests.lab.stage import SERVICES, Stage
from tests.lab.syscalls import assert_in_order, deletes, watched, writes_out
from tests.lab.writer import while_still, writing

ONE, TWO = PAIRS
REPETITIONS = 10
OURS = [name for pair in PAIRS for name in (pair.initiator, pair.target)]
"""All ports of the guest: the array's are this kernel's as well."""


@pytest.fixture(scope="module")
def fibre(guest: Guest) -> Fibre:
    """A guest with two fabrics, the server and the daemon, which uses one way at a time."""
    return Fibre(Stage(guest)).set(config='protocols = ["fc", "iscsi"]\nmultipath = "never"')


@pytest.fixture(autouse=True)
def cables(fibre: Fibre) -> Iterator[None]:
    """Every cable is in its place again after a test, however it ended."""
    yield
    fibre.plug()


def test_the_host_tells_its_ports(fibre: Fibre) -> None:
    status, host = fibre.stage.api("GET", "/v1/host")
    assert status == 200 and sorted(host["wwpns"]) == OURS
    assert host["protocols"]["fc"] == {"available": True, "reason": ""}
    found = json.loads(fibre.guest.run("cdmi-attach doctor --json fc-ports", check=False).stdout)
    assert found["checks"][0]["level"] == "ok", found


def test_attach_then_repetitions_then_nothing(fibre: Fibre) -> None:
    """Case 14: exactly that LUN of exactly that target; and not one process. 200 repetitions: tests/lab/soak_fc.py."""
    stage = fibre.stage
    before = fibre.inventory()
    lun = fibre.make_lun("repeat", content=b"stamp of repeat".ljust(512, b"\0"))
    fibre.make_lun("beside", permissions=(ONE.initiator, TWO.initiator))
    with traced(fibre.guest, *SERVICES) as executed:
        link = stage.attach("repeat", lun.source)
    assert executed.programs == []
    view = stage.status("repeat")
    assert (view["phase"], view["protocol"], view["verified"]) == ("attached", "fc", True)
    assert view["device"]["wwid"] == lun.wwid and view["device"]["paths"][0]["via"] == ONE.via
    assert fibre.guest.run(f"head -c 15 {link}").stdout == "stamp of repeat"
    assert [disk.split()[1] for disk in fibre.disks()] == [lun.wwid], "and no other LUN"
    assert sorted(fibre.export("repeat")["permissions"]) == OURS
    standing = fibre.inventory()
    with traced(fibre.guest, *SERVICES) as executed:
        answers = fibre.ask_again("repeat", lun.source, times=REPETITIONS)
        assert fibre.inventory() == standing
        stage.detach("repeat")
    assert answers == ["200"] * REPETITIONS and executed.programs == []
    assert fibre.inventory() == before
    assert fibre.export("repeat")["permissions"] == []
    stage.cdmi("DELETE", "/beside/")


def test_a_cable_pulled_for_a_moment(fibre: Fibre) -> None:
    """Who writes meanwhile waits, and writes on; an attach says what it waits for.

    Case 56: a disk behind a blocked port goes at once all the same, where nobody has it open.
    """
    stage = fibre.stage
    before = fibre.inventory()
    lun = fibre.make_lun("moment")
    link = stage.attach("moment", lun.source)
    with writing(fibre.guest, link) as result:
        fibre.pull(ONE, while_still=while_still)
        status, problem = stage.api("PUT", "/v1/attachments/moment", {"source": lun.source, "timeout_s": 2})
        fibre.plug(ONE)
        assert status == 504 and "is Blocked" in problem["detail"], problem
        assert stage.api("PUT", "/v1/attachments/moment", {"source": lun.source})[0] == 200
    assert result.well and result.longest_s > 2, "it stood still for as long as the cable was out"
    fibre.pull(ONE)
    stage.detach("moment")
    assert fibre.disks() == []
    fibre.plug(ONE)
    assert fibre.inventory() == before
    assert fibre.export("moment")["permissions"] == []


def test_a_cable_pulled_for_long_and_put_back(fibre: Fibre) -> None:
    """The kernel takes the disk away and brings one back by itself: it is ours, and nobody's to read.

    The second time it is detached while the cable is out: what we permitted is taken back all the same.
    """
    stage = fibre.stage
    before = fibre.inventory()
    lun = fibre.make_lun("long", content=b"still the same".ljust(512, b"\0"))
    link = stage.attach("long", lun.source)
    standing = fibre.shown()
    fibre.pull(*PAIRS, lost=True)  # with one of them alone, the disk is soon looked for at the other
    fibre.until_disks(0)
    assert fibre.guest.run(f"test -e {link}", check=False).returncode != 0, "udev took the disk's link along"
    fibre.plug(ONE)
    fibre.until_disks(1)
    assert fibre.guest.run("ls /dev/disk/by-id | grep -c wwn- || true").stdout.strip() == "0", "nobody probed it"
    with traced(fibre.guest, *SERVICES) as executed:
        assert stage.api("PUT", "/v1/attachments/long", {"source": lun.source})[0] == 200
    assert executed.programs == []
    assert fibre.shown() == standing, "once it is proved, link and claim are as they were"
    assert fibre.guest.run(f"head -c 14 {link}").stdout == "still the same"
    fibre.pull(ONE, lost=True)
    fibre.until_disks(0)
    stage.detach("long")
    fibre.plug()
    assert fibre.inventory() == before, "nothing returns with the port"
    assert fibre.export("long")["permissions"] == []


def test_a_lun_that_returns_while_the_server_is_away_is_removed_again(fibre: Fibre) -> None:
    """Cases 11, 12 and 1: our disk is gone, the server does not take the permission back, and the port flaps."""
    stage = fibre.stage
    before = fibre.inventory()
    lun = fibre.make_lun("returns")
    stage.attach("returns", lun.source)
    stage.fault({"kind": "put-exports", "action": "status", "status": 503})
    status, problem = stage.api("DELETE", "/v1/attachments/returns")
    assert (status, problem["code"]) == (502, "cdmi-refused"), problem
    assert fibre.disks() == []
    fibre.pull(ONE, lost=True)
    fibre.plug(ONE)
    fibre.until_disks(1)
    assert stage.api("DELETE", "/v1/attachments/returns")[0] == 502
    assert fibre.disks() == [], "removed again, though the server is still away"
    stage.clear_faults()
    stage.detach("returns")
    assert fibre.inventory() == before
    fibre.pull(ONE, lost=True)
    fibre.plug(ONE)
    assert fibre.inventory() == before, "nothing is shown to us any more"


def test_what_the_kernel_found_before_us_stays(fibre: Fibre) -> None:
    stage = fibre.stage
    lun = fibre.make_lun("found", permissions=(ONE.initiator,), content=b"an administrator's".ljust(512, b"\0"))
    fibre.pull(ONE)
    fibre.plug(ONE)
    fibre.until_disks(1)
    before = fibre.inventory()
    link = stage.attach("found", lun.source)
    assert fibre.guest.run(f"head -c 18 {link}").stdout == "an administrator's"
    stage.detach("found")
    assert fibre.inventory() == before
    assert fibre.export("found")["permissions"] == [ONE.initiator]
    fibre.guest.run(f"echo 1 > /sys/class/scsi_device/{fibre.disks()[0].split()[0]}/device/delete")
    stage.cdmi("DELETE", "/found/")


def test_a_swapped_lun_is_refused(fibre: Fibre) -> None:
    """Case 2."""
    stage = fibre.stage
    before = fibre.inventory()
    one, other = (fibre.make_lun(name) for name in ("swap-one", "swap-other"))
    stage.attach("swap", one.source)
    stage.swap("swap-one", "swap-other")
    status, problem = stage.api("PUT", "/v1/attachments/swap", {"source": one.source})
    assert (status, problem["code"]) == (502, "wrong-device"), problem
    assert other.wwid in problem["detail"]
    status, problem = stage.api("DELETE", "/v1/attachments/swap")
    assert (status, problem["code"]) == (500, "dirty"), problem
    assert stage.give_up("swap")
    status, problem = stage.api("PUT", "/v1/attachments/swap", {"source": one.source})
    assert (status, problem["code"]) == (502, "wrong-device"), problem
    assert fibre.inventory() == before


def test_a_port_that_is_gone_at_the_attach(fibre: Fibre) -> None:
    """Everything that the ports see is told, and nothing is asked of the server."""
    stage = fibre.stage
    before = fibre.inventory()
    lun = fibre.make_lun("gone")
    fibre.pull(*PAIRS, lost=True)
    status, problem = stage.api("PUT", "/v1/attachments/gone", {"source": lun.source})
    assert (status, problem["code"]) == (504, "target-timeout"), problem
    fibre.plug()
    for pair in PAIRS:
        assert with_colons(pair.initiator) in problem["detail"], problem
        assert f"{with_colons(pair.target)} Not Present" in problem["detail"], problem
    assert "zoning" in problem["hint"]
    assert fibre.export("gone")["permissions"] == []
    assert fibre.inventory() == before


def test_a_target_without_the_lun_and_one_with_it(fibre: Fibre) -> None:
    """One port of the array does not show it: the other does. Then neither: an error names both ways."""
    stage = fibre.stage
    before = fibre.inventory()
    lun = fibre.make_lun("hidden", permissions=OURS)
    fibre.hide(lun, ONE)
    stage.attach("hidden", lun.source)
    assert stage.status("hidden")["device"]["paths"][0]["via"] == TWO.via
    stage.detach("hidden")
    fibre.hide(lun, TWO)
    status, problem = stage.api("PUT", "/v1/attachments/hidden", {"source": lun.source, "timeout_s": 4})
    assert (status, problem["code"]) == (504, "device-timeout"), problem
    assert ONE.via in problem["detail"] and TWO.via in problem["detail"] and "permissions" in problem["hint"]
    assert fibre.inventory() == before
    stage.cdmi("DELETE", "/hidden/")


def test_what_was_written_is_flushed_before_the_disk_goes(fibre: Fibre) -> None:
    """Case 7."""
    stage = fibre.stage
    before = fibre.inventory()
    lun = fibre.make_lun("unsynced")
    link = stage.attach("unsynced", lun.source)
    (path,) = stage.status("unsynced")["device"]["paths"]
    with watched(fibre.guest) as calls:
        fibre.guest.run(f"head -c 1048576 /dev/zero | tr '\\0' x > {link} && cdmi-attach detach unsynced")
    assert_in_order(calls, *writes_out(path["node"]), deletes(path["hctl"]))
    assert fibre.inventory() == before
    link = stage.attach("unsynced", lun.source, "--ro")
    assert fibre.guest.run(f"head -c 1048576 {link} | tr -d x | wc -c").stdout.strip() == "0"
    stage.detach("unsynced")


@pytest.mark.parametrize(("addressed", "number"), [({}, 300), ({"x_flat": "yes"}, 16684)], ids=["plain", "flat"])
def test_a_lun_number_above_255(fibre: Fibre, addressed: dict[str, str], number: int) -> None:
    """Case 73, in both forms in which arrays have it."""
    stage, name = fibre.stage, f"big-{number}"
    before = fibre.inventory()
    lun = fibre.make_lun(name, x_lun="300", content=b"number 300".ljust(512, b"\0"), **addressed)
    assert fibre.export(name)["logical_unit_number"] == "300"
    link = stage.attach(name, lun.source)
    assert fibre.disks()[0].split()[0].endswith(f":{number}")
    assert fibre.guest.run(f"head -c 10 {link}").stdout == "number 300"
    stage.detach(name)
    assert fibre.inventory() == before
    stage.cdmi("DELETE", f"/{name}/")


def test_the_other_way_when_one_is_gone(fibre: Fibre) -> None:
    """Two target ports, one path: handed out over the other one when the first has gone."""
    stage = fibre.stage
    before = fibre.inventory()
    lun = fibre.make_lun("two", content=b"either way".ljust(512, b"\0"))
    link = stage.attach("two", lun.source)
    fibre.pull(ONE, lost=True)
    assert stage.api("PUT", "/v1/attachments/two", {"source": lun.source})[0] == 200
    assert stage.status("two")["device"]["paths"][0]["via"] == TWO.via
    assert fibre.guest.run(f"head -c 10 {link}").stdout == "either way"
    fibre.plug(ONE)
    fibre.until_disks(2)
    stage.detach("two")
    assert fibre.disks() == [], "both are ours: one was scanned, the other came back with its port"
    assert fibre.inventory() == before


def test_a_volume_that_is_activated_first_keeps_its_disk(fibre: Fibre) -> None:
    """Case 79: after a boot the kernel finds the LUN before the daemon runs, and LVM makes a mapping of it."""
    stage, daemons = fibre.stage, " ".join(SERVICES)
    before = fibre.inventory()
    lun = fibre.make_lun("volume")
    stage.attach("volume", lun.source)
    fibre.guest.run(f"systemctl stop {daemons.replace('service', 'socket')} {daemons}")
    fibre.pull(ONE, TWO, lost=True)
    fibre.until_disks(0)
    fibre.guest.run("rm -f /run/cdmi-attach/claim/*")  # as a boot does
    fibre.plug()
    fibre.until_disks(2)
    permitted = fibre.export("volume")["permissions"]
    with mapping(stage, f"/dev/disk/by-id/wwn-0x{lun.wwid[4:]}") as user:
        fibre.guest.run(f"systemctl start {daemons.replace('service', 'socket')} cdmi-attachd.service")
        wait_for(stage, "cdmi-attach --json status volume | grep -qw degraded")
        view = stage.status("volume")
        assert user in view["problem"]["detail"] and not view["verified"], view
        status, problem = stage.api("DELETE", "/v1/attachments/volume")
        assert (status, problem["code"]) == (409, "in-use") and user in problem["detail"], problem
        assert len(fibre.disks()) == 2 and fibre.export("volume")["permissions"] == permitted != []
        assert fibre.guest.run("dmsetup info -c --noheadings -o name").stdout.split() == ["hidden"]
    stage.attach("volume", lun.source)
    assert stage.status("volume")["phase"] == "attached"
    stage.detach("volume")
    assert fibre.inventory() == before and fibre.export("volume")["permissions"] == []


def test_nothing_of_the_daemon_has_failed(fibre: Fibre) -> None:
    assert fibre.stage.defects() == ""
