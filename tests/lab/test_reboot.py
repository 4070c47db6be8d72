"""A host that is restarted: its guests end before their disks do, and all of it comes back by itself."""

import re

from tests.lab.fc_scene import OPTIONS, PAIRS, Fibre
from tests.lab.guest import Guest
from tests.lab.nfs_scene import ALIVE, ROOT, Shares
from tests.lab.stage import STATE, Lun, Stage
from tests.lab.writing_guest import Writer, writing
from tests.lab.writing_sector import writing_sector

LUNS, MOVED = 6, 5
FILES = {"disk0": "block", "file0": "file", "file1": "file"}
FIBRE = "fibre"
CONFIG = '\n[attach]\nprotocols = ["iscsi", "nfs", "fc"]\n'
SHORT = "[nfsd]\ngrace-time=10\nlease-time=10\n"


class Booting:
    """A guest whose servers start at each boot beside the daemon: iSCSI with two portals, Fibre Channel, and NFS."""

    def __init__(self, guest: Guest) -> None:
        self.guest, self.stage = guest, Stage(guest)
        self.shares, self.fibre = Shares(self.stage), Fibre(self.stage)

    def set(self) -> "Booting":
        """Start them now."""
        # What it says at its end is read after the boot.
        self.guest.write("/etc/systemd/journald.conf.d/zz-kept.conf", "[Journal]\nStorage=persistent\n")
        self.guest.run("mkdir -p /var/log/journal && systemctl restart systemd-journald && journalctl --flush")
        self.guest.write("/etc/nfs.conf.d/short.conf", SHORT)
        self.guest.write("/etc/exports", f"{ROOT}/alive *(rw,no_root_squash,insecure,no_subtree_check)\n")
        self.guest.run(f"mkdir -p {ROOT}/alive && systemctl enable --quiet --now nfs-server")
        self.fibre.at_boot()
        self.stage.start_server("--nfs-root", ROOT, *OPTIONS, at_boot=True)
        self.fibre.plug(*PAIRS)
        self.shares.declare("alive", ALIVE)
        self.stage.start_daemon(CONFIG)
        return self

    def attach(self, luns: list[Lun]) -> list[str]:
        """Attach these, one over Fibre Channel, and files. Returns all names."""
        bodies = {lun.name: {"source": lun.source} for lun in luns}
        bodies[FIBRE] = {"source": self.fibre.make_lun(FIBRE, content=FIBRE.encode()).source}
        for name, present in FILES.items():
            bodies[name] = {"source": self.shares.put(f"alive/{name}.img", name.encode()), "present": present}
        for name, body in bodies.items():
            status, view = self.stage.api("PUT", f"/v1/attachments/{name}", body)
            assert (status, view["phase"]) == (201, "attached"), view
        return list(bodies)

    def are_back(self, names: list[str]) -> None:
        """See that all were back when the daemon said that it is ready, and that this was before libvirt's start."""
        units = ("cdmi-attachd", "libvirtd")
        told = [self.guest.run(f"systemctl show -P ActiveEnterTimestampMonotonic {unit}").stdout for unit in units]
        assert 0 < int(told[0]) <= int(told[1])
        views = {name: self.stage.status(name) for name in names}
        assert {name: view["phase"] for name, view in views.items()} == dict.fromkeys(names, "attached")
        assert all(view["verified"] for view in views.values())
        for name in (FIBRE, *FILES):
            assert self.guest.run(f"head -c 5 /run/cdmi-attach/disk/{name}").stdout == name
        for number in range(2, LUNS):
            read = f"dd if=/run/cdmi-attach/disk/again{number} bs=512 count=1 iflag=direct status=none | head -c 7"
            assert self.guest.run(read).stdout == f"stamp {number}"

    def luns(self) -> list[Lun]:
        """Six on one target; the first two hold what a machine boots from."""
        contents = [writing_sector()] * 2 + [f"stamp {n}".encode() for n in range(2, LUNS)]
        return [
            self.stage.make_lun(f"again{n}", target="again", content=content.ljust(512, b"\0"))
            for n, content in enumerate(contents)
        ]

    def move_over_the_boot(self, lun: Lun, *, number: int) -> str:
        """When the server starts the next time it exports a LUN elsewhere. Returns the target's name."""
        target = f"{lun.target}-moved"
        file = f"{STATE}/objects/{lun.object_id}.json"
        change = f'.volume.export.target = "{target}" | .volume.export.lun = {number}'
        self.guest.write("/root/move.sh", f"jq '{change}' {file} > /root/moved.json && cp /root/moved.json {file}\n")
        dropin = "/etc/systemd/system/cdmi-server.service.d/move.conf"
        self.guest.write(dropin, "[Service]\nExecStartPre=/bin/sh -e /root/move.sh\n")
        return target

    def journal(self, unit: str, wanted: str) -> list[float]:
        """When, in the boot before this one, that was said of a unit, in seconds of its clock."""
        said = self.guest.run(f"journalctl -b -1 -q -o short-monotonic --no-pager _PID=1 | grep -E {unit!r}").stdout
        return [
            float(found[1])
            for line in said.splitlines()
            if wanted in line and (found := re.match(r"\[\s*([\d.]+)\]", line))
        ]

    def guests_ended_first(self, *, after: float) -> None:
        """See, in the journal of the boot before this one, that the guests ended before what their disks hang on."""
        guests = self.journal("machine-qemu", "scope: Deactivated")
        ends = self.journal("cdmi-attach-helperd|run-cdmi", "Deactivated")
        ends = [at for at in (*ends, *self.journal("Remote File", "Stopped target")) if at > after]
        assert len(guests) == 2 and ends and max(guests) < min(ends)


def test_a_reboot_with_guests_that_write_and_ten_attachments(guest: Guest) -> None:
    """Case 102: libvirt starts its guests once at a boot, and has to find their disks then.

    And 83: one of them is somewhere else by then, says its server.
    """
    booting = Booting(guest).set()
    stage = booting.stage
    empty = stage.inventory()
    luns = booting.luns()
    names = booting.attach(luns)
    stage.define_domain("again0", disk=stage.status("again0")["disk_xml"])
    with writing(stage, "again1", stage.status("again1")["disk_xml"]) as writer:
        Writer(stage, "again0").goes_on()
        writer.goes_on()
        elsewhere = booting.move_over_the_boot(luns[MOVED], number=9)
        asked = float(guest.run("cut -d ' ' -f 1 /proc/uptime").stdout)
        guest.reboot(timeout_s=600)
    assert guest.run("iscsiadm -m node -o show | grep -c startup.=.automatic", check=False).stdout.strip() == "0"
    booting.guests_ended_first(after=asked)
    guest.run("timeout 120 systemctl is-system-running --wait", check=False, timeout_s=150)
    booting.are_back(names)
    Writer(stage, "again0").goes_on()
    writer.has_lost_nothing("/run/cdmi-attach/disk/again1")
    assert elsewhere in guest.run("iscsiadm -m session").stdout
    assert [path["hctl"].rpartition(":")[2] for path in stage.status(luns[MOVED].name)["device"]["paths"]] == ["9"]
    guest.run("virsh -q destroy again0 && virsh -q undefine again0")
    for name in names:
        stage.detach(name)
    assert guest.run("findmnt -n -t nfs4", check=False).stdout == ""
    assert all(stage.export(lun.name)["permissions"] == [] for lun in luns)
    assert booting.fibre.export(FIBRE)["permissions"] == []
    assert stage.inventory() == empty
    assert stage.defects() == ""
