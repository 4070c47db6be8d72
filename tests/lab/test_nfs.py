"""NFS on a real kernel: guests that boot from files, one mount for all, servers that die; with other tools' account."""

import shlex

import pytest

from tests.lab.boot_sector import boot_sector
from tests.lab.execs import traced
from tests.lab.guest import Guest
from tests.lab.nfs_scene import ALIVE, IMAGE, ROOT, Shares
from tests.lab.stage import SERVICES, Stage
from tests.lab.syscalls import assert_in_order, watched


@pytest.fixture(scope="module")
def shares(guest: Guest) -> Shares:
    """A guest with the server, the NFS servers, and the configured daemon."""
    return Shares(Stage(guest)).set()


def test_a_guest_boots_from_a_disk_made_of_a_file(shares: Shares) -> None:
    stage, before = shares.stage, shares.inventory()
    source = shares.put("alive/boot.img", boot_sector("a file as a disk"))
    with traced(stage.guest, *SERVICES) as executed:
        link = stage.attach("boot", source)
    assert executed.programs == [], "no process for an attach over NFS"
    view = stage.status("boot")
    assert (view["protocol"], view["verified"], view["device"]["size"]) == ("nfs", True, IMAGE)
    assert stage.guest.run(f"lsblk -dno WWN,VENDOR $(readlink -f {link})").stdout.split() == [
        view["device"]["wwid"].replace("naa.", "0x"),
        "LIO-ORG",
    ]
    stage.start_domain("boot", disk=view["disk_xml"], paused=False)
    assert "a file as a disk" in stage.boot_line("boot", "a file as a disk")
    status, problem = stage.api("DELETE", "/v1/attachments/boot")
    assert (status, problem["code"]) == (409, "in-use") and "domain boot" in problem["detail"], problem
    stage.guest.run("virsh -q destroy boot")
    with traced(stage.guest, *SERVICES) as executed:
        stage.detach("boot")
    assert executed.programs == []
    assert shares.inventory() == before


def test_a_guest_boots_from_the_file_itself(shares: Shares) -> None:
    stage, before = shares.stage, shares.inventory()
    source = shares.put("alive/plain.img", boot_sector("the file itself"))
    link = stage.attach("plain", source, "--protocol", "nfs", "--file")
    view = stage.status("plain")
    assert view["device"]["kind"] == "file" and stage.guest.run(["readlink", link]).stdout.strip().startswith(
        "/run/cdmi-attach/mnt/"
    )
    stage.start_domain("plain", disk=view["disk_xml"], paused=False)
    assert "the file itself" in stage.boot_line("plain", "the file itself")
    status, problem = stage.api("DELETE", "/v1/attachments/plain")
    assert (status, problem["code"]) == (409, "in-use") and "domain plain" in problem["detail"], problem
    assert stage.status("plain")["link"] == link, "its link was put back"
    stage.guest.run("virsh -q destroy plain")
    stage.detach("plain")
    assert shares.inventory() == before


def test_what_was_made_of_a_file_grows_with_it(shares: Shares) -> None:
    """As a disk, and as the file itself; the server is asked, whatever this host remembers of the file."""
    stage, before = shares.stage, shares.inventory()
    stage.start_domain("grows")
    for name, target, how in (("disk", "sda", ()), ("file", "sdb", ("--file", "--protocol", "nfs"))):
        path = f"alive/grown-{name}.img"
        stage.attach(name, shares.put(path), *how, "--domain", "grows", "--target", target)
        shares.grow(path, 2 * IMAGE)
        assert int(stage.guest.run(f"cdmi-attach resize {name}").stdout) == 2 * IMAGE
        assert f"{2 * IMAGE}" in stage.guest.run(f"virsh -q domblkinfo grows {target}").stdout
    node = stage.status("disk")["device"]["node"]
    assert int(stage.guest.run(f"blockdev --getsize64 {node}").stdout) == 2 * IMAGE
    stage.guest.run(f"printf %512s end | dd of={node} bs=512 seek={2 * IMAGE // 512 - 1} oflag=direct status=none")
    assert stage.guest.run(f"tail -c 3 {ROOT}/alive/grown-disk.img").stdout == "end", "written behind the old end"
    for name in ("disk", "file"):
        assert int(stage.guest.run(f"stat -c %s {ROOT}/alive/grown-{name}.img").stdout) == 2 * IMAGE
        stage.detach(name)
    stage.guest.run("virsh -q destroy grows")
    assert shares.inventory() == before


def test_a_header_of_another_format_is_only_bytes(shares: Shares) -> None:
    """A guest may write what it likes into its raw disk: neither the host nor QEMU takes it for another format."""
    stage = shares.stage
    stage.start_domain("qcow")
    before = shares.inventory()
    backing = b"/etc/passwd"
    header = b"QFI\xfb" + bytes([0, 0, 0, 2]) + (72).to_bytes(8) + len(backing).to_bytes(4) + bytes(52) + backing
    source = shares.put("alive/qcow.img", header)
    stage.attach("qcow", source, "--file", "--protocol", "nfs", "--domain", "qcow", "--target", "sda")
    shown = stage.guest.run("virsh -q dumpxml qcow").stdout
    assert "type='raw'" in shown and "<backingStore/>" in shown and "/etc/passwd" not in shown
    stage.detach("qcow")
    assert stage.guest.run("virsh -q domblklist qcow").stdout.strip() == ""
    assert shares.inventory() == before
    stage.guest.run("virsh -q destroy qcow")


def test_one_mount_for_all_and_every_byte_and_hole_in_its_file(shares: Shares) -> None:
    """Case 62; what is written to the disk is in the file, and what is discarded is a hole in it."""
    stage, before = shares.stage, shares.inventory()
    sources = [shares.put(f"alive/pair{n}.img", bytes([n + 1]) * 512) for n in (0, 1)]
    links = [stage.attach(f"pair{n}", source) for n, source in enumerate(sources)]
    assert len(shares.mounts()) == 1
    stage.detach("pair0")
    assert len(shares.mounts()) == 1
    file = f"{ROOT}/alive/pair1.img"
    stage.guest.run(f"dd if=/dev/urandom of={links[1]} bs=1M count=2 oflag=direct status=none && cmp {links[1]} {file}")
    full = int(stage.guest.run(f"du -k {file}").stdout.split()[0])
    stage.guest.run(f"blkdiscard -o 0 -l {IMAGE // 2} $(readlink -f {links[1]})")
    assert int(stage.guest.run(f"du -k {file}").stdout.split()[0]) <= full - IMAGE // 2048
    stage.detach("pair1")
    assert shares.mounts() == [] and shares.inventory() == before


def test_read_only_to_the_last_layer(shares: Shares) -> None:
    stage, before = shares.stage, shares.inventory()
    source = shares.put("alive/ro.img", b"written once")
    link = stage.attach("ro", source, "--ro")
    assert stage.guest.run(f"cat /sys/block/$(basename $(readlink -f {link}))/ro").stdout.strip() == "1"
    assert stage.guest.run(f"dd if=/dev/zero of={link} count=1 oflag=direct", check=False).returncode != 0
    assert stage.guest.run(f"head -c 12 {link}").stdout == "written once"
    stage.detach("ro")
    assert shares.inventory() == before


def test_an_administrators_mount_of_the_same_export_is_untouched(shares: Shares) -> None:
    stage = shares.stage
    stage.guest.run(f"mkdir -p /mnt/mine && mount -t nfs -o vers=4.1 {ALIVE}:{ROOT}/alive /mnt/mine")
    before = shares.inventory()
    source = shares.put("alive/beside.img", b"beside")
    stage.attach("beside", source)
    stage.detach("beside")
    assert shares.inventory() == before
    stage.guest.run("umount /mnt/mine && rmdir /mnt/mine")


def test_another_file_at_the_same_path_is_not_handed_out(shares: Shares) -> None:
    """Case 93: behind the CDMI server's back; nothing leads to it, and the one that was there is good again."""
    stage, before = shares.stage, shares.inventory()
    body = {"source": shares.put("alive/pinned.img", b"the right one"), "present": "file", "protocols": ["nfs"]}
    status, view = stage.api("PUT", "/v1/attachments/pinned", body)
    assert (status, view["verified"]) == (201, True)
    file = f"{ROOT}/alive/pinned.img"
    stage.guest.run(f"mv {file} {file}.aside && cp {file}.aside {file}")
    status, problem = stage.api("PUT", "/v1/attachments/pinned", body)
    assert (status, problem["code"]) == (502, "wrong-device"), problem
    assert stage.guest.run(["test", "-L", view["link"]], check=False).returncode == 1, "its link was taken away"
    assert stage.status("pinned")["link"] is None and not stage.status("pinned")["verified"]
    stage.guest.run(f"mv {file}.aside {file}")
    status, view = stage.api("PUT", "/v1/attachments/pinned", body)
    assert (status, view["phase"], view["verified"]) == (200, "attached", True)
    assert stage.guest.run(f"head -c 13 {view['link']}").stdout == "the right one"
    stage.detach("pinned")
    assert shares.inventory() == before


def test_an_export_that_names_hosts_lets_this_one_in_and_out_again(shares: Shares) -> None:
    """Seen from the server's side, before and after: what exportfs says, and what the kernel's server knows."""
    stage, before = shares.stage, shares.inventory()
    source = shares.put("named/one.img", b"named")
    assert shares.exported("named", "192.0.2.9") and not shares.exported("named", ALIVE)
    link = stage.attach("named", source)
    ours = shares.exported("named", ALIVE)
    assert len(ours) == 2 and all({"rw", "no_root_squash"} <= options for options in ours), ours
    stage.guest.run(f"printf %512s written | dd of={link} bs=512 count=1 oflag=direct status=none")
    stage.detach("named")
    assert stage.guest.run(f"head -c 512 {ROOT}/named/one.img").stdout.strip() == "written"
    assert not shares.exported("named", ALIVE) and shares.exported("named", "192.0.2.9")
    stage.attach("named", source, "--ro", "--file", "--protocol", "nfs")
    ours = shares.exported("named", ALIVE)
    assert len(ours) == 2 and all({"ro", "root_squash"} <= options for options in ours), ours
    stage.detach("named")
    entry = stage.cdmi("GET", "/named/?exports")["exports"]["nfs"]
    assert (entry["rw_hosts"], entry["root_hosts"], entry["ro_hosts"]) == (["192.0.2.9"], [], [])
    assert shares.inventory() == before


def test_a_dead_server_holds_nobody_up(shares: Shares) -> None:
    """Cases 57, 58, 59: everything is bounded, others are not held up, what is unused can go; and all heals."""
    stage, before = shares.stage, shares.inventory()
    sources = [shares.put(f"mortal/{n}.img", b"mortal") for n in ("idle", "busy", "late")]
    elsewhere = shares.put("alive/elsewhere.img", b"elsewhere")
    stage.attach("idle", sources[0])
    link = stage.attach("busy", sources[1])
    with shares.dead():
        stage.guest.run(
            f"systemd-run -q --unit=writer --property=RemainAfterExit=yes dd if=/dev/urandom of={link} bs=64k count=16 "
            "oflag=direct conv=fsync"
        )
        body = {"source": sources[2], "timeout_s": 20}
        assert stage.api("PUT", "/v1/attachments/late?wait=0", body)[0] == 202
        assert stage.attach("elsewhere", elsewhere) and stage.status("elsewhere")["phase"] == "attached"
        assert stage.status("late")["phase"] == "attaching", "others were answered, and attached, while it waits"
        status, problem = stage.api("PUT", "/v1/attachments/late", body)
        assert (status, problem["code"]) == (504, "target-timeout"), problem
        left = "/run/cdmi-attach/mnt/left"  # as by a crash between mkdir(2) and mount(2)
        gone = f"while test -e {left}; do sleep 0.5; done"
        stage.guest.run(
            f"mkdir {left} && systemctl kill --signal=KILL cdmi-attach-helperd && timeout 60 sh -c {shlex.quote(gone)}"
        )
        assert len(shares.mounts()) == 2, "what is mounted stays, and its server is not asked"
        status, problem = stage.api("DELETE", "/v1/attachments/busy")
        assert (status, problem["code"]) == (409, "in-use") and "dd" in problem["detail"], problem
        stage.detach("idle")
        assert len(shares.mounts()) == 2, "one for each server"
    ended = "systemctl show -P SubState writer | grep -Eq 'exited|failed'"
    stage.guest.run(f"timeout 60 sh -c {shlex.quote(f'until {ended}; do sleep 0.5; done')}")
    assert stage.guest.run("systemctl show -P ExecMainStatus writer").stdout.strip() == "0", "no write was lost"
    stage.guest.run("systemctl stop writer")
    stage.attach("late", sources[2])
    for name in ("late", "busy", "elsewhere"):
        stage.detach(name)
    assert shares.inventory() == before


WRITES = (
    "import mmap, os, sys; f = os.open(sys.argv[1], os.O_RDWR); m = mmap.mmap(f, 4096); os.close(f); m[:4] = b'last'"
)
"""Leaves a page in the cache that no close has written out."""


def test_a_file_that_was_handed_out_is_written_out_before_its_mount_goes(shares: Shares) -> None:
    """Case 98: by an fsync of ours, which hears of an error; while its server is silent it is waited for."""
    stage, before = shares.stage, shares.inventory()
    source = shares.put("mortal/mapped.img", b"first".ljust(4096, b"\0"))
    link = stage.attach("mapped", source, "--file", "--protocol", "nfs")
    file = stage.guest.run(f"readlink -f {link}").stdout.strip()
    stage.guest.run(["python3", "-c", WRITES, file])
    with watched(stage.guest) as calls:  # who has it open is asked for 10 s at most, which the watch may make too short
        stage.guest.run(["timeout", "100", "sh", "-c", "until cdmi-attach detach mapped; do sleep 0.1; done"])
    assert_in_order(calls, rf"fsync\(\d+<{file}>")
    assert shares.inventory() == before
    link = stage.attach("mapped", source, "--file", "--protocol", "nfs")
    assert stage.guest.run(f"head -c 4 {link}").stdout == "last"
    stage.guest.run(["python3", "-c", WRITES.replace("last", "next"), file])
    with shares.dead():
        status, problem = stage.api("DELETE", "/v1/attachments/mapped")
        assert status >= 500 and problem["code"] in ("dirty", "target-timeout"), problem
    stage.detach("mapped")
    assert shares.inventory() == before
    link = stage.attach("mapped", source, "--file", "--protocol", "nfs", "--ro")
    assert stage.guest.run(f"head -c 4 {link}").stdout == "next"
    stage.detach("mapped")


def test_handles_that_went_stale_are_told_and_made_anew(shares: Shares) -> None:
    """Case 60: a mount that an attachment needs is told as stale and left alone; without one, it is made anew."""
    stage, before = shares.stage, shares.inventory()
    first, second = (shares.put(f"mortal/stale{number}.img", b"stale") for number in (1, 2))
    stage.attach("stale1", first)
    anew = "until systemctl show -P StatusText nfs-mortal | grep -q anew; do sleep 0.2; done"
    stage.guest.run(f"systemctl kill --kill-whom=main -s HUP nfs-mortal && timeout 20 sh -c {shlex.quote(anew)}")
    status, problem = stage.api("PUT", "/v1/attachments/stale2", {"source": second, "timeout_s": 10})
    assert status >= 500 and "stale" in problem["detail"], problem
    assert len(shares.mounts()) == 1
    stage.detach("stale1")
    stage.attach("stale2", second)
    stage.detach("stale2")
    assert shares.inventory() == before


def test_what_this_host_can_do(shares: Shares) -> None:
    status, host = shares.stage.api("GET", "/v1/host")
    assert status == 200 and host["protocols"]["nfs"] == {"available": True, "reason": ""}
    status, problem = shares.stage.api(
        "PUT", "/v1/attachments/x", {"source": "cdmi://127.0.0.1:8443/x", "present": "file", "protocols": ["iscsi"]}
    )
    assert (status, problem["code"]) == (422, "invalid-request") and "nfs" in problem["detail"]


def test_nothing_of_the_daemon_has_failed(shares: Shares) -> None:
    assert shares.stage.defects() == ""
