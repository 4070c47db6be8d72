"""`cat`, against the API over a fake engine: what it prints, what it writes, what it leaves, what it takes up again."""

import hashlib
import json
import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from agent.cli import client, upload
from agent.cli.partial import BLOCK, Partial
from tests.unit.test_cli import SOURCE, Command, command

__all__ = ["command"]
SPARSE = bytes(BLOCK * 9) + b"x" * 100 + bytes(BLOCK * 30) + b"y" + bytes(BLOCK * 20 + 7)
ROOT = Path(__file__).parents[2]


def left(folder: Path) -> list[str]:
    """What is there, but for the daemon's socket."""
    return sorted(path.name for path in folder.iterdir() if path.name != "control.sock")


def run(command: Command, *words: str) -> "subprocess.CompletedProcess[bytes]":
    argv = [sys.executable, "-m", "agent.cli.main", "--socket", str(command.path), *words]
    return subprocess.run(argv, capture_output=True, cwd=ROOT, timeout=60, check=False)


def test_bytes_on_standard_output(command: Command) -> None:
    done = run(command, "cat", SOURCE)
    assert (done.returncode, done.stdout, done.stderr) == (0, command.engine.objects.value, b"")
    missing = run(command, "cat", "cdmi://s/missing")
    assert (missing.returncode, missing.stdout) == (4, b"")


def test_a_file_has_holes_and_is_proved(command: Command, tmp_path: Path) -> None:
    command.engine.objects.value = SPARSE
    done = command("cat", SOURCE, "-o", str(tmp_path / "disk.img"))
    assert (done.status, done.out) == (0, "")
    assert "proved by its sha256" in done.err
    file = tmp_path / "disk.img"
    assert file.read_bytes() == SPARSE and left(tmp_path) == ["disk.img"]
    assert file.stat().st_blocks * 512 <= 4 * BLOCK < len(SPARSE)
    mask = os.umask(0)
    os.umask(mask)
    assert stat.S_IMODE(file.stat().st_mode) == 0o666 & ~mask
    shown = command("cat", SOURCE, "-o", str(file), "--json")
    assert json.loads(shown.out) == {"file": str(file), "size": len(SPARSE), "verified": "sha256"}


def test_one_that_breaks_is_taken_up_where_it_broke(command: Command, tmp_path: Path) -> None:
    objects = command.engine.objects
    objects.value, objects.breaks = SPARSE, [BLOCK * 5, BLOCK * 9 + 50, BLOCK * 20]
    assert command("cat", SOURCE, "-o", str(tmp_path / "a")).status == 0
    assert (tmp_path / "a").read_bytes() == SPARSE and left(tmp_path) == ["a"]
    assert [part and part.first for part, _ in objects.asked][1:] == [BLOCK * 5 - 1, BLOCK * 9 + 49, BLOCK * 20 - 1]


def test_a_later_run_takes_up_what_an_earlier_one_left(command: Command, tmp_path: Path) -> None:
    objects, file = command.engine.objects, tmp_path / "a"
    file.write_bytes(b"the old one")
    objects.value, objects.breaks = SPARSE, [BLOCK * 20] * 4
    first = command("cat", SOURCE, "-o", str(file))
    assert first.status == 1 and "broke off after 1310720 of" in first.err
    assert file.read_bytes() == b"the old one", "whole or nothing"
    assert left(tmp_path) == [f".a.{objects.tag}.part", "a"]
    assert (tmp_path / f".a.{objects.tag}.part").stat().st_size == BLOCK * 20, "the hole at its end counts"
    objects.breaks.clear()
    objects.asked.clear()
    assert command("cat", SOURCE, "-o", str(file)).status == 0
    assert file.read_bytes() == SPARSE and left(tmp_path) == ["a"]
    assert [part and part.first for part, _ in objects.asked] == [BLOCK * 20 - 1]


def test_another_object_by_now_is_read_from_the_start(command: Command, tmp_path: Path) -> None:
    objects, file = command.engine.objects, tmp_path / "a"
    objects.breaks = [100_000] * 4
    assert command("cat", SOURCE, "-o", str(file)).status == 1
    objects.value, objects.tag = b"another" * 1000, "e" * 32
    objects.breaks.clear()
    assert command("cat", SOURCE, "-o", str(file)).status == 0
    assert file.read_bytes() == objects.value and left(tmp_path) == ["a"]


def test_what_is_damaged_leaves_nothing(command: Command, tmp_path: Path) -> None:
    command.engine.objects.digest = hashlib.sha256(b"another").hexdigest()
    for words in (("-o", str(tmp_path / "a")), ()):
        done = run(command, "cat", SOURCE, *words)
        assert done.returncode == 1 and b"not what the server has" in done.stderr
        assert left(tmp_path) == []


def test_what_was_left_and_is_damaged_does_not_pass(command: Command, tmp_path: Path) -> None:
    objects = command.engine.objects
    (tmp_path / f".a.{objects.tag}.part").write_bytes(b"X" + objects.value[1:5000])
    assert command("cat", SOURCE, "-o", str(tmp_path / "a")).status == 1
    assert left(tmp_path) == []


def test_two_runs_do_not_write_one_file(command: Command, tmp_path: Path) -> None:
    (tmp_path / f".a.{command.engine.objects.tag}.part").write_bytes(b"0123")
    held = "import os, sys; os.lockf(os.open(sys.argv[1], os.O_RDWR), os.F_LOCK, 0); print(flush=True); input()"
    argv = [sys.executable, "-c", held, str(tmp_path / f".a.{command.engine.objects.tag}.part")]
    with subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as other:
        assert other.stdout and other.stdout.readline()
        done = command("cat", SOURCE, "-o", str(tmp_path / "a"))
        other.communicate(b"\n")
    assert done.status == 5 and "belongs to another run" in done.err
    assert (tmp_path / f".a.{command.engine.objects.tag}.part").read_bytes() == b"0123"


def test_places_where_no_file_can_be(command: Command, tmp_path: Path) -> None:
    for place, word in (
        (tmp_path, "is not a file"),
        ("/dev/null", "is not a file"),
        (tmp_path / "no" / "a", "No such"),
    ):
        done = command("cat", SOURCE, "-o", str(place))
        assert (done.status, done.out) == (1, "") and word in done.err
    (tmp_path / "real").write_bytes(b"")
    (tmp_path / "link").symlink_to("real")
    assert command("cat", SOURCE, "-o", str(tmp_path / "link")).status == 0
    assert (tmp_path / "link").is_symlink() and (tmp_path / "real").read_bytes() == command.engine.objects.value


def test_a_disk_that_is_full(tmp_path: Path) -> None:
    partial = Partial(str(tmp_path / "a"))
    partial.begin("0" * 32)
    partial.write(b"x" * 100)
    partial.close()
    assert Partial(str(tmp_path / "a")).at == 100


@pytest.mark.parametrize("step", [1, 4095, BLOCK, BLOCK + 1, 1 << 20])
def test_pieces_of_any_size_make_the_same_file(tmp_path: Path, step: int) -> None:
    value = SPARSE[BLOCK * 8 : BLOCK * 11] if step == 1 else SPARSE
    partial = Partial(str(tmp_path / "a"))
    partial.begin("0" * 32)
    for place in range(0, len(value), step):
        partial.write(value[place : place + step])
    assert partial.digest("sha256").digest() == hashlib.sha256(value).digest()
    partial.finish()
    assert (tmp_path / "a").read_bytes() == value


def test_a_file_is_put(command: Command, tmp_path: Path) -> None:
    file, objects = tmp_path / "disk.img", command.engine.objects
    file.write_bytes(SPARSE)
    done = command("put", str(file), SOURCE)
    assert (done.status, done.out) == (0, f"{SOURCE}\n")
    assert (objects.value, objects.length) == (SPARSE, len(SPARSE))
    assert command("put", str(file), SOURCE, "--json").status == 0
    taken = command("put", str(file), "cdmi://s/taken")
    assert (taken.status, taken.out) == (5, "") and "already something" in taken.err
    assert command("put", str(file), "cdmi://s/taken", "--replace").status == 0


def test_standard_input_is_put(command: Command) -> None:
    argv = [sys.executable, "-m", "agent.cli.main", "--socket", str(command.path), "put", "-", SOURCE]
    done = subprocess.run(argv, input=SPARSE, capture_output=True, cwd=ROOT, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    assert (command.engine.objects.value, command.engine.objects.length) == (SPARSE, None)


def test_what_is_refused_while_it_is_sent(command: Command, tmp_path: Path) -> None:
    file = tmp_path / "disk.img"
    file.write_bytes(bytes(8 << 20))
    done = command("put", str(file), "cdmi://s/refusing")
    assert (done.status, done.out) == (1, "") and "no more room; make some" in done.err


def test_what_cannot_be_put(command: Command, tmp_path: Path) -> None:
    for name in (tmp_path, tmp_path / "missing"):
        done = command("put", str(name), SOURCE)
        assert (done.status, done.out) == (1, "") and "give a file or a device" in done.err


def test_a_file_that_changes_meanwhile_is_not_put(tmp_path: Path) -> None:
    file = tmp_path / "a"
    file.write_bytes(bytes(3 << 20))
    fd = os.open(file, os.O_RDONLY)
    pieces = upload._pieces("a", fd, 3 << 20)
    assert len(next(pieces)) == 1 << 20
    file.write_bytes(bytes(4 << 20))
    with pytest.raises(client.Failure, match="has changed"):
        next(pieces)
    os.close(fd)
