"""What carries no I/O any more, in sysfs as the kernel lays it."""

from pathlib import Path

from agent.host import dead
from tests.unit.linux_tree import add_disk, add_session, link, roots_in, write


def test_disks_that_do_not_run_and_maps_without_a_path_that_does(tmp_path: Path) -> None:
    roots = roots_in(tmp_path)
    session = add_session(roots)
    hctls = [add_disk(roots, session, lun, node) for lun, node in ((1, "sda"), (2, "sdb"), (3, "sdc"))]
    devices = [roots.sys / "class/scsi_device" / hctl / "device" for hctl in hctls]
    for device in devices:
        write(device / "type", "0")
    assert dead.find(roots) == ()
    write(devices[1] / "state", "transport-offline")
    write(devices[1] / "block/sdb/holders/dm-0/x", "")
    (found,) = dead.find(roots)
    assert (found.kind, found.node, found.hctl, found.used) == ("disk", "/dev/sdb", hctls[1], True)
    assert "transport-offline" in found.says
    for name, uuid, path in (("dm-0", "mpath-3600", "sdb"), ("dm-1", "mpath-3601", "sda"), ("dm-2", "LVM-x", "")):
        write(roots.sys / "block" / name / "dm/uuid", uuid)
        (roots.sys / "block" / name / "slaves").mkdir()
        if path:
            link(roots.sys / "block" / name / "slaves" / path, roots.sys / "block" / path)
    assert [(one.kind, one.node) for one in dead.find(roots)] == [("disk", "/dev/sdb"), ("map", "/dev/dm-0")]
    write(devices[1] / "type", "1")
    write(roots.sys / "block/dm-3/dm/uuid", "mpath-3602")
    assert [(one.node, one.says) for one in dead.find(roots)][1] == ("/dev/dm-3", "it has no path")
