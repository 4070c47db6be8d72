"""The lab's decisions that need no guest: what is ours to end, which sources, which modules, what stays cached."""

from __future__ import annotations

import os
import struct
import subprocess
from collections.abc import Mapping
from pathlib import Path

import pytest

from tests.lab import apt, cli, fleet, hostcheck, initrd, machine
from tests.lab.cache import LAB, Cache, cache_root, digest, prune, tree_parts
from tests.lab.errors import LabError
from tests.lab.identity import checked_name, identity
from tests.lab.image import packages
from tests.lab.inside_blocks import OWNER, Blocks
from tests.lab.inside_writer import BLOCK, FIRST, block_of
from tests.lab.writing_sector import SECTOR, SECTORS, lost


def place(tmp_path: Path, pid: str) -> machine.Place:
    made = machine.Place(tmp_path / "guests" / "one")
    made.folder.mkdir(parents=True)
    made.pid_file.write_text(pid)
    return made


def written(newest: int) -> list[int]:
    """The numbers in the sectors after so many writes."""
    return [max(newest - (newest - place) % SECTORS, 0) for place in range(SECTORS)]


def on_disk(numbers: list[int]) -> bytes:
    return b"".join(struct.pack("<I", number) * (SECTOR // 4) for number in numbers)


@pytest.mark.parametrize("newest", [0, 1, 127, 128, 129, 5000])
def test_a_guest_that_lost_nothing(newest: int) -> None:
    assert not lost(on_disk(written(newest)))


@pytest.mark.parametrize(("place", "number"), [(7, 7), (7, 8), (0, 1)])
def test_a_sector_with_an_older_or_another_number_is_found(place: int, number: int) -> None:
    numbers = written(5000)
    numbers[place] = number
    assert len(lost(on_disk(numbers))) == 1


def test_a_sector_of_two_writes_is_found() -> None:
    sectors = bytearray(on_disk(written(5000)))
    sectors[:4] = sectors[4 * SECTOR : 4 * SECTOR + 4]
    assert len(lost(bytes(sectors))) == 1


def process(tmp_path: Path, pid: int, *argv: str) -> Path:
    proc = tmp_path / "proc"
    (proc / str(pid)).mkdir(parents=True)
    (proc / str(pid) / "cmdline").write_bytes(b"".join(os.fsencode(word) + b"\0" for word in argv))
    return proc


def test_a_machine_is_ours_when_its_command_line_names_our_pid_file(tmp_path: Path) -> None:
    ours = place(tmp_path, "77\n")
    proc = process(tmp_path, 77, "qemu-system-x86_64", "-pidfile", str(ours.pid_file), "-daemonize")
    assert machine.running_pid(ours, proc=proc) == 77


@pytest.mark.parametrize("argv", [["vi", "notes"], ["qemu-system-x86_64", "-pidfile", "/elsewhere/qemu.pid"], []])
def test_a_reused_pid_is_left_alone(tmp_path: Path, argv: list[str]) -> None:
    assert machine.running_pid(place(tmp_path, "77\n"), proc=process(tmp_path, 77, *argv)) is None


@pytest.mark.parametrize("text", ["", "not a pid", "99999999"])
def test_a_pid_file_without_a_process_means_not_running(tmp_path: Path, text: str) -> None:
    assert machine.running_pid(place(tmp_path, text)) is None


def test_clearing_a_stale_place_spares_the_process_that_has_its_pid_now(tmp_path: Path) -> None:
    with subprocess.Popen(["cat"], stdin=subprocess.PIPE) as innocent:
        stale = place(tmp_path, str(innocent.pid))
        fleet.clear(stale)
        assert innocent.poll() is None
        assert not stale.folder.exists()


def test_what_a_killed_build_left_is_swept(tmp_path: Path) -> None:
    cache = Cache(tmp_path)
    for path in (
        cache.images / "a.partial",
        cache.snapshots / "b.partial",
        cache.wheels / "source.x",
        cache.wheels / "c",
    ):
        path.mkdir(parents=True)
    fleet.sweep(cache)
    assert [path.name for top in (cache.images, cache.snapshots, cache.wheels) for path in top.iterdir()] == ["c"]


def test_every_machine_names_its_pid_file(tmp_path: Path) -> None:
    boot = machine.Boot(tmp_path / "image", "tcg", 40000)
    one = machine.Place(tmp_path / "one")
    argv = machine.command(boot, one, ram=one.ram, private=True, incoming=True)
    assert argv[argv.index("-pidfile") + 1] == str(one.pid_file)


DEB822 = """\
# comment
Types: deb
URIs: http://mirror.example/debian
Suites: bookworm bookworm-updates bookworm-backports
Components: main

Types: deb deb-src
Enabled: no
URIs: http://mirror.example/off
Suites: bookworm
Components: main

Types: deb
URIs: http://vendor.example/
Suites: nodistro
Components: main
"""


def test_only_the_machines_own_suites_are_passed_on() -> None:
    narrowed = apt.narrow_deb822(DEB822, "bookworm", "trixie")
    assert "Suites: trixie trixie-updates\n" in narrowed
    assert "vendor" not in narrowed
    assert "/off" not in narrowed
    lines = (
        "deb [signed-by=/k] http://mirror.example/d bookworm main\n"
        "deb http://vendor.example/ bookworm-sdk main\n"
        "deb http://vendor.example/ bookworm stable\n"
    )
    assert apt.narrow_one_line(lines, "bookworm", "bookworm").splitlines() == [lines.splitlines()[0]]


def test_no_usable_source_is_told(tmp_path: Path) -> None:
    (tmp_path / "sources.list.d").mkdir()
    with pytest.raises(LabError, match="/etc/apt"):
        apt.sources("bookworm", etc=tmp_path, own="bookworm")


def test_modules_come_after_what_they_need() -> None:
    dep = (
        "k/virtio_blk.ko: k/virtio.ko k/virtio_ring.ko\nk/virtio-pci.ko: k/virtio.ko\nk/virtio.ko:\nk/virtio_ring.ko:\n"
    )
    order = initrd.load_order(dep, ("virtio_pci", "virtio_blk"))
    assert order == ["k/virtio.ko", "k/virtio-pci.ko", "k/virtio_ring.ko", "k/virtio_blk.ko"]


def test_the_archive_is_aligned_and_ends_with_its_trailer() -> None:
    archive = initrd.cpio([initrd.Entry("init", 0o100755, b"#!/bin/sh\n")])
    assert len(archive) % 4 == 0
    assert archive.startswith(b"070701")
    assert b"TRAILER!!!\0" in archive


def test_guests_share_nothing() -> None:
    one, two = identity("lab"), identity("lab-b")
    assert not set(vars(one).values()) & set(vars(two).values())
    assert one == identity("lab")
    for bad in ("", "A", "-a", "a/b", "..", "x" * 33):
        with pytest.raises(LabError):
            checked_name(bad)


@pytest.mark.parametrize(
    ("argv", "command"),
    [
        ("exec ls -l", ["ls", "-l"]),
        ("exec -- ls -l", ["ls", "-l"]),
        ("--name b exec ls --name c", ["ls", "--name", "c"]),
        ("exec --name b ls -- x", ["ls", "--", "x"]),
        ("exec --name=b -- ls -- x", ["ls", "--", "x"]),
    ],
)
def test_options_after_exec_belong_to_the_command(argv: str, command: list[str]) -> None:
    options = cli.parser().parse_args(cli.guarded(argv.split()))
    assert options.command == command
    assert options.name == ("b" if "b" in argv else "lab")


def test_a_key_follows_names_modes_and_content(tmp_path: Path) -> None:
    file = tmp_path / "file"
    keys = set()
    for text, mode in (("a", 0o644), ("a", 0o755), ("b", 0o755)):
        file.write_text(text)
        file.chmod(mode)
        keys.add(digest(tree_parts(file)))
    assert len(keys) == 3
    assert digest(["ab", "c"]) != digest(["a", "bc"])


def test_the_most_recently_used_and_what_is_in_use_stay(tmp_path: Path) -> None:
    for age, name in enumerate(["new", "newer-but-one", "old-in-use", "old"]):
        (tmp_path / name).mkdir()
        os.utime(tmp_path / name, (1000 - age, 1000 - age))
    assert prune(list(tmp_path.iterdir()), {"old-in-use"}) == [tmp_path / "old"]
    assert cache_root({"CDMI_LAB_CACHE": "/a", "XDG_CACHE_HOME": "/b"}) == Path("/a")
    assert cache_root({"XDG_CACHE_HOME": "/b"}) == Path("/b/cdmi-attach-lab")


def test_a_half_written_record_is_passed_over(tmp_path: Path) -> None:
    cache = Cache(tmp_path)
    (cache.guests / "broken").mkdir(parents=True)
    (cache.guests / "broken/guest.json").write_text('{"name": "broken"')
    assert fleet.records(cache) == []


def test_missing_packages_and_space_name_the_remedy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(hostcheck, "SBIN", str(tmp_path))
    with pytest.raises(LabError, match=r"apt-get install .*mmdebstrap") as told:
        hostcheck.check_tools()
    listed = (LAB / "host-packages.txt").read_text().split()
    assert all(package in listed and package in str(told.value) for package in hostcheck.TOOLS.values())
    with pytest.raises(LabError, match="CDMI_LAB_CACHE"):
        hostcheck.check_space(tmp_path, 1 << 60)


def test_the_guests_packages_are_listed_once() -> None:
    assert len(packages()) == len(set(packages())) > 30


def disk_of(blocks: Mapping[int, bytes]) -> bytes:
    """Some blocks of a disk from `FIRST` on, those that are not named empty."""
    return b"".join(blocks.get(place, bytes(BLOCK)) for place in range(FIRST, FIRST + 4))


def test_blocks_as_they_were_written_are_right() -> None:
    """Empty, written and flushed, or written later without a word of it."""
    one = Blocks(1, flushed={FIRST: (1 << OWNER) + 5})
    later = {FIRST: block_of(FIRST, (1 << OWNER) + 9), FIRST + 1: block_of(FIRST + 1, (1 << OWNER) + 10)}
    assert one.wrong_in(disk_of(later), FIRST) == []
    assert Blocks(1).wrong_in(disk_of({}), FIRST) == []


@pytest.mark.parametrize(
    ("block", "why"),
    [
        (bytes(BLOCK), "it is empty, and write 5 was flushed"),
        (block_of(FIRST, (1 << OWNER) + 3), "2 writes before the one that was flushed"),
        (block_of(FIRST, (2 << OWNER) + 5), "it is of disk 2"),
        (block_of(FIRST + 1, (1 << OWNER) + 5), "torn, or of another place"),
        (block_of(FIRST, (1 << OWNER) + 5)[:2048] + bytes(2048), "torn, or of another place"),
    ],
    ids=["lost", "old", "another disk's", "misplaced", "torn"],
)
def test_a_block_that_is_not_what_was_flushed_is_told(block: bytes, why: str) -> None:
    one = Blocks(1, flushed={FIRST: (1 << OWNER) + 5})
    (told,) = one.wrong_in(disk_of({FIRST: block}), FIRST)
    assert told.startswith(f"block {FIRST}: {why}")


def test_bytes_that_nobody_wrote_are_told() -> None:
    junk = bytes(100).ljust(BLOCK, b"x")
    assert Blocks(1).wrong_in(disk_of({FIRST + 1: junk}), FIRST) == [
        f"block {FIRST + 1}: neither zeros nor a block of ours"
    ]
