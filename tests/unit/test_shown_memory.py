"""Memory that is shown to another process: written into while it is that very memory, and nothing else ever is."""

import fcntl
import os
from pathlib import Path

import pytest

from agent.shown_memory import made, shown
from attachers.problems import Code, Problem

SIZE = 1 << 16


def code_of(fd: int, inode: int, count: int = SIZE) -> Code:
    with pytest.raises(Problem) as caught, shown(os.getpid(), fd, inode, count):
        pass
    assert caught.value.detail and caught.value.hint
    return caught.value.code


def test_what_one_writes_the_other_reads() -> None:
    with made(SIZE) as memory:
        with shown(os.getpid(), memory.fd, memory.inode, 5) as room:
            room[:5] = b"hello"
        assert bytes(memory.view[:6]) == b"hello\0" and memory.view.readonly
        with pytest.raises(PermissionError):
            os.ftruncate(memory.fd, 1)


def test_a_number_that_came_again_is_not_taken_for_the_same() -> None:
    with made(SIZE) as first:
        before = first
    with made(SIZE) as memory:
        assert memory.fd == before.fd and memory.inode != before.inode
        assert code_of(memory.fd, before.inode) is Code.UNAVAILABLE
        assert bytes(memory.view[:4]) == bytes(4)
    assert code_of(before.fd, before.inode) is Code.UNAVAILABLE


def test_nothing_else_is_written_into(tmp_path: Path) -> None:
    """Not even opened: a pipe, whose opening would wait, is the sharpest of these."""
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "file").write_bytes(bytes(SIZE))
    unsealed = os.memfd_create("cdmi-attach", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    os.ftruncate(unsealed, SIZE)
    small = os.memfd_create("cdmi-attach", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    fcntl.fcntl(small, fcntl.F_ADD_SEALS, fcntl.F_SEAL_SHRINK)
    others = [
        os.open(tmp_path / "pipe", os.O_RDONLY | os.O_NONBLOCK),
        os.open(tmp_path / "file", os.O_RDWR),
        os.open("/dev/null", os.O_RDWR),
    ]
    for fd in (unsealed, small, *others):
        assert code_of(fd, os.fstat(fd).st_ino) is Code.FORBIDDEN
        os.close(fd)
    assert (tmp_path / "file").read_bytes() == bytes(SIZE)
