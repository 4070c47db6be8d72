"""Who has a device open, asked of the real /proc: with a pseudo-terminal in the disk's place."""

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from agent.host.holders import MOST_NAMES, holders
from agent.host.served import backstores, resolved

NOBODY = 2**30


@pytest.fixture
def terminal() -> Iterator[tuple[int, str]]:
    """The descriptor of a pseudo-terminal that nobody else has, and its device number."""
    leader, follower = os.openpty()
    number = os.fstat(follower).st_rdev
    yield follower, f"{os.major(number)}:{os.minor(number)}"
    os.close(leader)
    os.close(follower)


def _find(number: str, *, proc: Path = Path("/proc"), sys: Path = Path("/nowhere"), helper: int = NOBODY) -> list[str]:
    disk: dict[str, list[str] | str] = {"node": "sdq", "block": ["8:256", "8:257"], "character": [number]}
    return holders([disk], proc=str(proc), sys=str(sys), helper=helper, zygote=NOBODY)[0]


def test_a_process_that_has_it_open_is_named(terminal: tuple[int, str]) -> None:
    follower, number = terminal
    with subprocess.Popen(["cat", "-", "-"], stdin=subprocess.PIPE, pass_fds=[follower]) as child:
        assert f"cat (pid {child.pid})" in _find(number)
        child.communicate(b"")
    assert not any("cat" in name for name in _find(number))


_WITHOUT_ITS_FIRST_THREAD = """
import ctypes, sys, threading
def last(): print(flush=True); sys.stdin.read()
threading.Thread(target=last).start()
ctypes.CDLL(None).pthread_exit(None)
"""


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may look into what is left of its first thread")
def test_a_process_counts_also_when_its_first_thread_has_ended(terminal: tuple[int, str]) -> None:
    follower, number = terminal
    command = [sys.executable, "-c", _WITHOUT_ITS_FIRST_THREAD]
    with subprocess.Popen(command, stdin=-1, stdout=-1, pass_fds=[follower]) as child:
        assert child.stdout and child.stdin
        child.stdout.readline()
        while "State:\tZ" not in Path(f"/proc/{child.pid}/status").read_text():
            os.sched_yield()
        assert [name for name in _find(number) if f"pid {child.pid}" in name]
        child.stdin.close()


def test_a_name_that_is_too_long_hides_nothing_and_blocks_nothing(terminal: tuple[int, str], tmp_path: Path) -> None:
    follower, number = terminal
    deep = "import os, sys\nfor _ in range(25):\n os.mkdir('d' * 200); os.chdir('d' * 200)\n"
    deep += "f = open('f', 'w'); print(flush=True); sys.stdin.read()"
    with subprocess.Popen(
        [sys.executable, "-c", deep], stdin=-1, stdout=-1, pass_fds=[follower], cwd=tmp_path
    ) as child:
        assert child.stdout and child.stdin
        child.stdout.readline()
        assert [name.endswith(f"(pid {child.pid})") for name in _find(number) if f"pid {child.pid}" in name] == [True]
        assert not [name for name in _find("77:77") if f"pid {child.pid}" in name]
        child.stdin.close()


def test_the_helper_itself_does_not_count(terminal: tuple[int, str]) -> None:
    _, number = terminal
    assert [name for name in _find(number) if f"pid {os.getpid()}" in name]
    assert not [name for name in _find(number, helper=os.getpid()) if f"pid {os.getpid()}" in name]


def test_nobody_has_a_device_that_is_not_there() -> None:
    assert [name for name in _find("77:77") if not name.startswith("unknown:")] == []


def _process(proc: Path, pid: int, *, comm: str = "x", cmdline: str = "", parent: int = 1, uid: int = 1000) -> Path:
    directory = proc / str(pid)
    (directory / "fd").mkdir(parents=True)
    (directory / "comm").write_text(f"{comm}\n")
    (directory / "cmdline").write_text(cmdline.replace(" ", "\0"))
    (directory / "status").write_text(f"Name:\t{comm}\nPPid:\t{parent}\nUid:\t{uid}\t{uid}\t{uid}\t{uid}\n")
    return directory


def _hold(process: Path) -> None:
    (process / "fd/7").symlink_to("/dev/full")


FULL = "1:7"


def test_a_kernel_thread_is_not_asked_and_a_program_of_the_kernel_is(tmp_path: Path) -> None:
    (tmp_path / "2/task/2").mkdir(parents=True)
    (tmp_path / "2/task/2/children").write_text("7 8 ")
    for pid in (7, 8):
        _hold(_process(tmp_path, pid, comm="helper", parent=2))
    (tmp_path / "8/exe").symlink_to("/sbin/helper")
    assert _find(FULL, proc=tmp_path) == ["helper (pid 8)"]


@pytest.mark.parametrize(
    ("comm", "cmdline", "uid", "name"),
    [
        (
            "qemu-system-x86",
            "/usr/bin/qemu-system-x86_64 -name guest=vm1,debug-threads=on -S",
            64055,
            "domain vm1 (qemu-system-x86_64, pid 7)",
        ),
        (
            "qemu-system-x86",
            "/usr/bin/qemu-system-x86_64 -name guest=a,,b",
            0,
            "domain a,b (qemu-system-x86_64, pid 7)",
        ),
        ("qemu-system-x86", "/usr/bin/qemu-system-x86_64 -S", 0, "qemu-system-x86 (pid 7)"),
        ("dd", "dd -name guest=vm1", 0, "dd (pid 7)"),
        ("multipathd", "/sbin/multipathd -d -s", 1000, "multipathd (pid 7)"),
    ],
)
def test_a_guest_is_named_as_its_domain(tmp_path: Path, comm: str, cmdline: str, uid: int, name: str) -> None:
    _hold(_process(tmp_path, 7, comm=comm, cmdline=cmdline, uid=uid))
    assert _find(FULL, proc=tmp_path) == [name]


def test_multipathd_and_udev_only_look_and_do_not_count(tmp_path: Path) -> None:
    _hold(_process(tmp_path, 7, comm="multipathd", uid=0))
    _hold(_process(tmp_path, 8, comm="(udev-worker)", uid=0))
    _hold(_process(tmp_path, 9, comm="blkid", uid=0, parent=8))
    assert _find(FULL, proc=tmp_path) == []


def test_nobody_passes_for_udev_or_root_by_its_name(tmp_path: Path) -> None:
    _hold(_process(tmp_path, 7, comm="dd", uid=0, parent=8))
    _process(tmp_path, 8, comm="(udev-worker)", uid=1000)
    _hold(_process(tmp_path, 9, comm="\rUid:\t0\t0\t", uid=1000, parent=10))
    _process(tmp_path, 10, comm="(udev-worker)", uid=0)
    assert [name[-7:] for name in _find(FULL, proc=tmp_path)] == ["(pid 7)", "(pid 9)"]


def test_what_cannot_be_looked_into_counts_as_in_use(tmp_path: Path) -> None:
    process = _process(tmp_path, 7, comm="odd")
    (process / "fd").rmdir()
    (process / "fd").write_text("no directory: any error but `it has ended`")
    assert _find(FULL, proc=tmp_path) == ["unknown: cannot look into odd (pid 7): Not a directory"]


def test_mounts_of_every_namespace_count_once_each(tmp_path: Path) -> None:
    for pid, namespace in ((7, "mnt:[1]"), (8, "mnt:[1]"), (9, "mnt:[2]")):
        process = _process(tmp_path, pid)
        (process / "ns").mkdir()
        (process / "ns/mnt").symlink_to(namespace)
        number, source = ("8:257", "/dev/sdq1") if pid < 9 else ("0:99", "/dev/sdq")
        (process / "mountinfo").write_text(
            f"1 1 0:1 / / rw - tmpfs none rw\n36 35 {number} / /mnt/{pid} rw,noatime shared:1 - btrfs {source} rw\n"
        )
    assert _find(FULL, proc=tmp_path) == ["mount /mnt/7 (seen by pid 7)", "mount /mnt/9 (seen by pid 9)"]


@pytest.mark.parametrize("odd", ["\x0b", "\r", "\x1c", "\u2028", "\u00a0"])
def test_a_mount_point_with_an_odd_name_neither_hides_nor_breaks(tmp_path: Path, odd: str) -> None:
    process = _process(tmp_path, 7)
    (process / "ns").mkdir()
    (process / "ns/mnt").symlink_to("mnt:[1]")
    lines = f"1 1 0:1 / /a{odd}b rw - tmpfs none rw\n2 1 8:257 / /m{odd}n rw - ext4 /dev/sdq1 rw\n"
    (process / "mountinfo").write_bytes(lines.encode())
    assert _find(FULL, proc=tmp_path) == [f"mount /m{odd}n (seen by pid 7)"]


def test_a_file_system_that_no_namespace_shows_any_more_counts(tmp_path: Path) -> None:
    """Unmounted lazily, or the second disk of a btrfs."""
    proc, sys = tmp_path / "proc", tmp_path / "sys"
    for path in (proc, sys / "block/sdq", sys / "fs/ext4/sdq1", sys / "fs/btrfs/1234/devices/sdq", sys / "fs/xfs/sdqa"):
        path.mkdir(parents=True)
    assert _find(FULL, proc=proc, sys=sys) == ["file system btrfs on sdq", "file system ext4 on sdq1"]


def test_of_very_many_users_only_some_are_named(tmp_path: Path) -> None:
    for pid in range(1000, 3000):
        _hold(_process(tmp_path, pid, comm="x" * 15))
    found = _find(FULL, proc=tmp_path)
    assert (len(found), found[-1]) == (MOST_NAMES + 1, f"{2000 - MOST_NAMES} more")


def test_swap_drivers_loops_and_served_luns_count(tmp_path: Path) -> None:
    proc, sys = tmp_path / "proc", tmp_path / "sys"
    for path in (
        proc,
        sys / "block/sdq/holders/dm-3",
        sys / "block/sdq/sdq1/holders/md0",
        sys / "block/loop5/loop",
        sys / "kernel/config/target/core/iblock_0/vol1",
        sys / "kernel/config/nvmet/subsystems/nqn.x/namespaces/1",
    ):
        path.mkdir(parents=True)
    (proc / "swaps").write_text(
        "Filename Type Size Used Priority\n/dev/sdq2 partition 1 0 -2\n/dev/sdqa partition 1 0 -3\n"
    )
    (sys / "block/loop5/loop/backing_file").write_text("/dev/sdq\n")
    (sys / "kernel/config/target/core/iblock_0/vol1/udev_path").write_text("/dev/sdq1\n")
    (sys / "kernel/config/nvmet/subsystems/nqn.x/namespaces/1/device_path").write_text("/dev/sdq\n")
    assert _find(FULL, proc=proc, sys=sys) == [
        "device dm-3",
        "device md0",
        "device loop5",
        "LIO backstore vol1",
        "NVMe target namespace nqn.x/1",
        "swap /dev/sdq2",
    ]


_MAPPED = """
import mmap, os, sys
fd = os.open("/dev/zero", os.O_RDWR)
memory = mmap.mmap(fd, 4096, flags=mmap.MAP_PRIVATE)
os.closerange(3, 256)  # it has a descriptor of its own as well
print(flush=True)
sys.stdin.read()
"""


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may look into what another has mapped")
def test_a_backstore_that_goes_while_it_is_looked_for_makes_nobody_unknown(tmp_path: Path) -> None:
    """Another disk is taken away at the same moment: seen in the lab, as a detach that was refused for no user."""
    cores = tmp_path / "kernel/config/target/core"
    for number in (1, 2, 3):
        (cores / f"fileio_{number}" / f"disk{number}").mkdir(parents=True)
        (cores / f"fileio_{number}" / f"disk{number}" / "udev_path").write_text("/dev/elsewhere")

    def goes(event: str, args: tuple[object, ...]) -> None:
        """Called by Python itself before a directory is listed (sys.addaudithook)."""
        if event in ("os.listdir", "os.scandir") and str(args[0]) == f"{cores}/fileio_2":
            shutil.rmtree(f"{cores}/fileio_2/disk2")
            Path(f"{cores}/fileio_2").rmdir()

    before = [name for name, _, _ in backstores(tmp_path)]
    sys.addaudithook(goes)
    after = [name for name, _, _ in backstores(tmp_path)]
    assert (before, after) == (["disk1", "disk2", "disk3"], ["disk1", "disk3"])


def test_memory_whose_descriptor_is_closed_counts() -> None:
    """Case 100: no descriptor tells of it any more, and every write to it goes to the disk."""
    with subprocess.Popen([sys.executable, "-c", _MAPPED], stdin=-1, stdout=-1) as child:
        assert child.stdout and child.stdin
        child.stdout.readline()
        zero = os.stat("/dev/zero").st_rdev  # noqa: PTH116
        assert [name for name in _find(f"{os.major(zero)}:{os.minor(zero)}") if f"pid {child.pid}" in name]
        child.stdin.close()


@pytest.mark.parametrize("there", [True, False], ids=["the link is there", "the link is gone"])
def test_what_is_served_from_our_link_counts(tmp_path: Path, there: bool) -> None:
    """Case 100: LIO and NVMe were given a link of ours, or one that leads to it, or LIO tells the device's number."""
    proc, sys_, links = tmp_path / "proc", tmp_path / "sys", tmp_path / "run"
    for path in (proc, links, *(sys_ / f"kernel/config/target/core/iblock_0/vol{n}" for n in (1, 2, 3))):
        path.mkdir(parents=True)
    namespaces = sys_ / "kernel/config/nvmet/subsystems/nqn.x/namespaces"
    for number, device in ((1, links / "vm1"), (2, links / "indirect"), (3, links / "vm2")):
        (namespaces / str(number)).mkdir(parents=True)
        (namespaces / f"{number}/device_path").write_text(f"{device}\n")
        (namespaces / f"{number}/enable").write_text("1\n")
    (links / "indirect").symlink_to(links / "vm1")
    (links / "vm2").symlink_to("/dev/sdz")
    if there:
        (links / "vm1").symlink_to("/dev/sdq")
    core = sys_ / "kernel/config/target/core/iblock_0"
    for name, info in (
        ("vol1", "iBlock device: sdq  UDEV PATH:   readonly: 0\n        Major: 8 Minor: 256  CLAIMED: IBLOCK"),
        ("vol2", f"TCM FILEIO ID: 0        File: {links / 'vm1'}  Size: 1 Mode: O_DSYNC Async: 0"),
        ("vol3", "iBlock device: sdz  UDEV PATH:   readonly: 0\n        Major: 65 Minor: 144  CLAIMED: IBLOCK"),
    ):
        (core / name / "udev_path").write_text("\n")
        (core / name / "info").write_text(f"Status: ACTIVATED\n        {info}\n")
    disk: dict[str, list[str] | str] = {
        "node": "sdq",
        "block": ["8:256"],
        "character": [],
        "names": [str(links / "vm1")],
    }
    found = holders([disk], proc=str(proc), sys=str(sys_), helper=NOBODY, zygote=NOBODY)[0]
    served = ["LIO backstore vol1", "LIO backstore vol2"]
    assert found == [*served, "NVMe target namespace nqn.x/1", "NVMe target namespace nqn.x/2"]
    lost = disk | {"names": [], "lost": [str(links)]}
    assert found == holders([lost], proc=str(proc), sys=str(sys_), helper=NOBODY, zygote=NOBODY)[0]


def test_a_backstore_whose_own_link_is_gone_uses_no_other_disk(tmp_path: Path) -> None:
    """The kernel says which disk it is made of; where its name leads to by now is no reason to keep all others."""
    sys_, proc, links = tmp_path / "sys", tmp_path / "proc", tmp_path / "run/disk"
    backstore = sys_ / "kernel/config/target/core/iblock_0/vm1"
    for folder in (backstore, proc, links):
        folder.mkdir(parents=True)
    (links / "vm1").symlink_to(tmp_path / "dev/cdmi-attach/naa.1")
    (backstore / "udev_path").write_text(f"{links / 'vm1'}\n")
    (backstore / "info").write_text(
        "Status: ACTIVATED\n        iBlock device: sdb  UDEV PATH: x\n        Major: 8 Minor: 16\n"
    )
    for number, found in (("8:0", []), ("8:16", ["LIO backstore vm1"])):
        folders = [str(links), str(tmp_path / "dev/cdmi-attach")]
        disk: dict[str, list[str] | str] = {
            "node": "sda",
            "block": [number],
            "character": [],
            "names": [],
            "lost": folders,
        }
        assert holders([disk], proc=str(proc), sys=str(sys_), helper=NOBODY, zygote=NOBODY)[0] == found


def test_a_descriptor_that_a_backstore_was_made_of_is_nobody_elses(tmp_path: Path) -> None:
    """Our disks made of files are told as /proc/self/fd/N, which leads to what this very process has open there."""
    proc, sys_, node = tmp_path / "proc", tmp_path / "sys", tmp_path / "sdq"
    backstore = sys_ / "kernel/config/target/core/fileio_0/cdmi-attach-1"
    backstore.mkdir(parents=True)
    proc.mkdir()
    with node.open("wb") as held:
        info = f"TCM FILEIO ID: 0        File: /proc/self/fd/{held.fileno()}  Size: 1 Mode: O_DSYNC Async: 1"
        (backstore / "udev_path").write_text("/run/cdmi-attach/mnt/x/a.img\n")
        (backstore / "info").write_text(f"Status: ACTIVATED\n        {info}\n")
        disk: dict[str, list[str] | str] = {"node": "sdq", "block": [], "character": [], "names": [str(node)]}
        assert holders([disk], proc=str(proc), sys=str(sys_), helper=NOBODY, zygote=NOBODY)[0] == []


def test_no_name_is_followed_to_a_server(tmp_path: Path) -> None:
    """It may be dead, and a look at the name would wait for it."""
    (tmp_path / "far").mkdir()
    (tmp_path / "far/link").symlink_to("/dev/sdq")
    (tmp_path / "near").symlink_to(tmp_path / "far/link")
    remote = [str(tmp_path / "far")]
    assert resolved(str(tmp_path / "far/link"), remote) == str(tmp_path / "far/link")
    assert resolved(str(tmp_path / "near"), remote) == str(tmp_path / "far/link")
    assert resolved(str(tmp_path / "near"), []) == "/dev/sdq"
