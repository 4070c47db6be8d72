"""NFS on the real host, as far as it shows without one: the mount table, files beneath a directory, LIO's tree."""

import asyncio
import errno
import os
import subprocess
from pathlib import Path

import pytest

from agent.host import lio, mountinfo, nfs_calls
from agent.host.file_users import file_users
from agent.host.linux_nfs import ability
from agent.host.mountinfo import MountEvents
from agent.host.roots import Roots
from attachers.nfs_share import wwid_of
from attachers.problems import Code, Problem
from attachers.sights import Trouble

TABLE = r"""22 1 8:1 / / rw,relatime shared:1 - ext4 /dev/sda1 rw
41 22 0:47 / /run/cdmi-attach/mnt/a rw,nosuid,nodev shared:9 master:2 - nfs4 10.0.0.1:/srv rw,vers=4.2,hard
42 22 0:48 / /mnt/with\040blank rw - nfs4 10.0.0.1:/b\134c rw
43 41 0:49 / /run/cdmi-attach/mnt/a rw - tmpfs none rw
rubbish
44 22 0:50 / /half rw
"""


@pytest.fixture
def share(tmp_path: Path) -> Path:
    """A directory as a share would be."""
    (tmp_path / "a").mkdir()
    (tmp_path / "a/disk.img").write_bytes(bytes(4096))
    (tmp_path / "a/link").symlink_to("disk.img")
    (tmp_path / "out").symlink_to("/etc")
    os.mkfifo(tmp_path / "fifo")
    return tmp_path


def test_the_mount_table_is_read_from_below(tmp_path: Path) -> None:
    (tmp_path / "self").mkdir()
    (tmp_path / "self/mountinfo").write_text(TABLE)
    lower, upper = mountinfo.at(tmp_path, "/run/cdmi-attach/mnt/a")
    assert (lower.id, lower.device, lower.kind, lower.source) == (41, "0:47", "nfs4", "10.0.0.1:/srv")
    assert lower.options == "rw,nosuid,nodev,vers=4.2,hard" and upper.kind == "tmpfs"
    (blank,) = mountinfo.at(tmp_path, "/mnt/with blank")
    assert blank.source == "10.0.0.1:/b\\c"
    assert mountinfo.at(tmp_path, "/half") == mountinfo.at(tmp_path / "none", "/") == ()


async def test_a_table_that_cannot_be_polled_tells_nothing(tmp_path: Path) -> None:
    (tmp_path / "self").mkdir()
    (tmp_path / "self/mountinfo").write_text(TABLE)
    for proc in (tmp_path, tmp_path / "none", Path("/proc")):
        told: list[None] = []
        events = MountEvents(proc, lambda told=told: told.append(None))  # type: ignore[misc]
        await asyncio.sleep(0)
        events.close()
        events.close()


@pytest.mark.parametrize(
    ("path", "trouble"),
    [
        ("a/disk.img", Trouble.NONE),
        ("a/none", Trouble.MISSING),
        ("a/disk.img/x", Trouble.MISSING),
        ("a/link", Trouble.ODD),
        ("out/passwd", Trouble.ODD),
        ("../x", Trouble.ODD),
        ("a", Trouble.ODD),
        ("fifo", Trouble.ODD),
    ],
)
def test_only_a_plain_file_beneath_will_do(share: Path, path: str, trouble: Trouble) -> None:
    found = nfs_calls.look(str(share), path, "/proc")
    assert found["trouble"] == trouble
    assert found["size"] == (4096 if trouble is Trouble.NONE else 0) and bool(found["words"]) == bool(trouble)


@pytest.mark.parametrize(
    ("number", "trouble"),
    [
        (errno.ESTALE, Trouble.STALE),
        (errno.EXDEV, Trouble.ODD),
        (errno.EACCES, Trouble.DENIED),
        (errno.ETIMEDOUT, Trouble.SILENT),
        (errno.EIO, Trouble.SILENT),
    ],
)
def test_what_a_servers_error_means(number: int, trouble: Trouble) -> None:
    found, words = nfs_calls.trouble_of(OSError(number, os.strerror(number)))
    assert found is trouble and words


def test_no_other_file_system_is_entered() -> None:
    """Another export of the server's that the kernel mounts by itself below ours, say."""
    found = nfs_calls.look("/", "proc/version", "/proc")
    assert found["trouble"] == Trouble.ODD and "another file system" in str(found["words"])


def test_a_share_that_is_not_mounted_is_missing(tmp_path: Path) -> None:
    assert nfs_calls.look(str(tmp_path / "none"), "a", "/proc")["trouble"] == Trouble.MISSING
    assert nfs_calls.unmount(str(tmp_path), 7, str(tmp_path)) is False


def test_nothing_is_unmounted_that_is_not_ours_alone(tmp_path: Path) -> None:
    """Cases 59 and 64: before umount is even called."""
    (tmp_path / "self").mkdir()
    (tmp_path / "self/mountinfo").write_text(TABLE)
    for mount_id in (41, 43, 99):
        with pytest.raises(Problem) as refused:
            nfs_calls.unmount("/run/cdmi-attach/mnt/a", mount_id, str(tmp_path))
        assert refused.value.code is Code.CONFLICT


def test_who_has_a_file_open(share: Path) -> None:
    file = share / "a/disk.img"
    status = file.stat()
    device = f"{os.major(status.st_dev)}:{os.minor(status.st_dev)}"

    def found(inode: int, *places: Path, device: str = device) -> list[list[str]]:
        sys = str(share / "sys")
        return file_users(
            ["0:999", device], inode, [str(place) for place in places], "own", proc="/proc", sys=sys, helper=1, zygote=1
        )

    assert found(status.st_ino, file) == [[], []]
    for mode in ("rb", "r+b"):
        with file.open(mode) as held, subprocess.Popen(["sleep", "60"], stdin=held) as user:
            try:
                wanted = f"sleep (pid {user.pid})"
                for using, writing in (found(status.st_ino, Path("/elsewhere")), found(0, file)):
                    assert wanted in using
                    assert (wanted in writing) == (mode == "r+b")
                assert wanted not in found(status.st_ino + 1, file)[0]
            finally:
                user.kill()
    core = "kernel/config/target/core/fileio_0"
    for name in ("block/loop3/loop/backing_file", f"{core}/x/udev_path", f"{core}/own/udev_path"):
        (share / "sys" / name).parent.mkdir(parents=True)
        (share / "sys" / name).write_text(f"{file}\n")
    assert found(status.st_ino, Path("/other/mount"), file) == [["device loop3", "LIO backstore x"]] * 2
    (share / "sys/block/loop3/ro").write_text("1\n")
    assert found(status.st_ino, file)[1] == ["LIO backstore x"], "the loop device only reads"


def test_what_lio_has_of_a_disk(tmp_path: Path) -> None:
    wwid = wwid_of("an object")
    place = lio.place_of(str(tmp_path), wwid)
    assert lio.look(str(tmp_path), wwid) is None and "modprobe target_core_mod" in lio.missing(str(tmp_path))
    place.hba.mkdir(parents=True)
    half = {"file": "", "inode": 0, "size": 0, "whole": False, "hctl": None}
    assert lio.look(str(tmp_path), wwid) == half and not lio.missing(str(tmp_path))
    place.backstore.mkdir()
    (place.backstore / "info").write_text(
        "Status: ACTIVATED  SectorSize: 512\n  File: /proc/self/fd/3  Size: 1048576\n"
    )
    (place.backstore / "udev_path").write_text("/run/cdmi-attach/mnt/x/a,b.img\n")
    (place.backstore / "alias").write_text("cdmi-attach inode=77\n")
    made = half | {"file": "/run/cdmi-attach/mnt/x/a,b.img", "inode": 77, "size": 1 << 20}
    assert lio.look(str(tmp_path), wwid) == made
    place.lun.mkdir(parents=True)
    (place.group / "address").write_text("7:0:1\n")
    (place.lun / "cdmi-attach").symlink_to(place.backstore)
    assert lio.look(str(tmp_path), wwid) == made | {"hctl": "7:0:1:0"}, "deleted by hand"
    (tmp_path / "class/scsi_device/7:0:1:0").mkdir(parents=True)
    assert lio.look(str(tmp_path), wwid) == made | {"hctl": "7:0:1:0", "whole": True}


@pytest.fixture
def configfs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder in configfs's place that takes what is written, with the target of a disk already there."""

    def take(path: str, text: str, *, directory: int | None = None) -> None:
        assert directory is None
        Path(path).write_text(text)

    def make(directory: Path) -> None:
        (directory / ("wwn" if directory.name.startswith("cdmi-attach-") else "")).mkdir(parents=True, exist_ok=True)
        (directory / "attrib").mkdir(exist_ok=True)

    monkeypatch.setattr("agent.host.blocks.write", take)
    monkeypatch.setattr(lio, "_make", make)
    place = lio.place_of(str(tmp_path / "sys"), wwid_of("an object"))
    place.group.mkdir(parents=True)
    (place.root / "core").mkdir()
    (place.group / "address").write_text("7:0:1\n")
    return tmp_path / "sys"


@pytest.mark.parametrize(("size", "discard", "made"), [(2048, True, False), (4096, True, True), (4096, False, True)])
def test_a_disk_is_made_without_a_byte_written_to_its_file(
    share: Path, configfs: Path, size: int, discard: bool, made: bool
) -> None:
    """Case 94: a hole was punched behind the size that was told, which is in the midst of a file that has grown."""
    file, wwid = share / "a/disk.img", wwid_of("an object")
    content = os.urandom(4096)
    file.write_bytes(content)
    before = file.stat()
    if made:
        assert lio.prepare(str(configfs), wwid, str(share), "a/disk.img", size, discard, None, "/proc") == "7:0:1:0"
        attributes = lio.place_of(str(configfs), wwid).backstore / "attrib"
        assert (attributes / "emulate_tpu").read_text() == str(int(discard))
    else:
        with pytest.raises(Problem) as refused:
            lio.prepare(str(configfs), wwid, str(share), "a/disk.img", size, discard, None, "/proc")
        assert refused.value.code is Code.WRONG_DEVICE and "4096 bytes now, not 2048" in refused.value.detail
        assert lio.look(str(configfs), wwid) == {"file": "", "inode": 0, "size": 0, "whole": False, "hctl": "7:0:1:0"}
    assert file.read_bytes() == content
    now = file.stat()
    assert (now.st_mtime_ns, now.st_blocks, now.st_size) == (before.st_mtime_ns, before.st_blocks, before.st_size)


def test_names_that_other_tools_understand() -> None:
    """targetcli reads the whole tree, and takes only such names for the loopback fabric's."""
    place = lio.place_of("/sys", wwid_of("an object"))
    assert place.target.name.startswith("naa.5001405") and len(place.target.name) == 20
    assert place.hba.name.removeprefix("fileio_").isdigit()


@pytest.mark.parametrize(("filesystems", "modules", "lio_there"), [("nfs4", "", True), ("", "nfsv4", False)])
def test_what_this_host_can_do(tmp_path: Path, filesystems: str, modules: str, lio_there: bool) -> None:
    roots = Roots(proc=tmp_path / "proc", sys=tmp_path / "sys", modules=tmp_path / "modules")
    assert not ability(roots).available
    for name, text in (
        ("proc/filesystems", f"nodev\t{filesystems}\n"),
        ("proc/sys/kernel/osrelease", "6.1\n"),
        ("modules/6.1/modules.dep", f"kernel/fs/nfs/{modules}.ko:\n"),
    ):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    if lio_there:
        (tmp_path / "sys/kernel/config/target/core").mkdir(parents=True)
    found = ability(roots)
    assert found.available and bool(found.reason) != lio_there
