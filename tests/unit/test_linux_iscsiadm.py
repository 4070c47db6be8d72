"""Running iscsiadm, with a shell script in its place: one writer at a time, never killed, watched to its end."""

import asyncio
import os
from pathlib import Path

import pytest

from agent.host.iscsiadm import Iscsiadm, Result, Use, number_of, refusal, unfinished
from agent.host.roots import Roots
from agent.workers.pool import Abandoned
from attachers import checks
from attachers.problems import Code, Problem
from tests.unit.linux_tree import roots_in, write

SOON_S = 20.0
SCRIPT = """#!/bin/sh
case $1 in
say) echo "Logging in"; echo "iscsiadm: it failed" >&2; exit 24;;
wait) : > $2; read line < $3; exit 0;;
ids) read -r pid c s p g session rest < /proc/$$/stat; set -- /proc/$$/fd/*; echo $pid $session $#; exit 0;;
esac
"""


@pytest.fixture
def roots(tmp_path: Path) -> Roots:
    return roots_in(tmp_path)


@pytest.fixture
def tool(tmp_path: Path, roots: Roots) -> Iscsiadm:
    script = tmp_path / "bin/iscsiadm"
    script.parent.mkdir()
    script.write_text(SCRIPT)
    script.chmod(0o755)
    return Iscsiadm(roots, path=f"{script.parent}:/usr/bin:/bin")


@pytest.fixture
def door(tmp_path: Path) -> Path:
    """A pipe that a waiting command reads: it ends when somebody opens it for writing."""
    os.mkfifo(tmp_path / "door")
    return tmp_path / "door"


def _open(door: Path) -> None:
    os.close(os.open(door, os.O_WRONLY))


async def test_exit_code_and_output_are_told(tool: Iscsiadm) -> None:
    result = await tool.run(["say"], "log in", timeout_s=SOON_S)
    assert result == Result(24, "Logging in\niscsiadm: it failed\n")
    problem = refusal(result, "log in to t")
    assert problem.code is Code.TARGET_REFUSED
    text = "log in to t: the target refused this host's initiator name or CHAP secret (exit code 24: 'it failed')"
    assert problem.detail == text


async def test_it_runs_in_a_session_of_its_own_with_three_descriptors(tool: Iscsiadm) -> None:
    pid, session, descriptors = (await tool.run(["ids"], "ids", timeout_s=SOON_S)).output.split()
    assert pid == session
    assert int(descriptors) <= 5  # with the script and the directory that the shell itself reads


async def test_a_command_that_outlives_its_deadline_is_watched_not_killed(tool: Iscsiadm, door: Path) -> None:
    with pytest.raises(Abandoned) as late:
        await tool.run(["wait", f"{door}.begun", str(door)], "log in", timeout_s=0.2)
    assert not late.value.ended.done()
    _open(door)
    async with asyncio.timeout(SOON_S):
        assert (await late.value.ended).code == 0


async def test_a_late_writer_keeps_other_writers_out_but_no_logins(tool: Iscsiadm, door: Path) -> None:
    with pytest.raises(Abandoned) as late:
        await tool.run(["wait", f"{door}.begun", str(door)], "new", timeout_s=0.2, use=Use.WRITES)
    with pytest.raises(Problem) as refused:
        await tool.run(["say"], "update", timeout_s=0.05, use=Use.WRITES)
    assert refused.value.code is Code.BUSY
    assert (await tool.run(["say"], "log in", timeout_s=SOON_S)).code == 24
    waiting = asyncio.create_task(tool.run(["say"], "update", timeout_s=SOON_S, use=Use.WRITES))
    _open(door)
    assert (await waiting).code == 24
    assert late.value.ended.done()


async def test_a_cancelled_caller_does_not_end_the_command(tool: Iscsiadm, door: Path) -> None:
    caller = asyncio.create_task(
        tool.run(["wait", f"{door}.begun", str(door)], "new", timeout_s=SOON_S, use=Use.WRITES)
    )
    await tool.run(["say"], "log in", timeout_s=SOON_S)
    caller.cancel()
    with pytest.raises(asyncio.CancelledError):
        await caller
    waiting = asyncio.create_task(tool.run(["say"], "update", timeout_s=SOON_S, use=Use.WRITES))
    _open(door)
    assert (await waiting).code == 24


async def test_without_iscsiadm_the_host_cannot(roots: Roots) -> None:
    with pytest.raises(Problem) as refused:
        await Iscsiadm(roots, path=str(roots.run)).run(["say"], "log in", timeout_s=SOON_S)
    assert refused.value.code is Code.UNSUPPORTED_ON_HOST


@pytest.mark.parametrize(
    ("code", "problem", "says"),
    [
        (6, Code.UNAVAILABLE, "database failed"),
        (7, Code.UNAVAILABLE, "cannot read"),
        (8, Code.TARGET_TIMEOUT, "the portal does not answer"),
        (10, Code.TARGET_TIMEOUT, "did not let the session go"),
        (12, Code.UNSUPPORTED_ON_HOST, "iscsi_tcp is missing"),
        (18, Code.UNAVAILABLE, "iscsid does not answer"),
        (19, Code.TARGET_REFUSED, "the target refused the login"),
        (20, Code.UNAVAILABLE, "iscsid is not running"),
        (21, Code.UNAVAILABLE, "no such record"),
        (24, Code.TARGET_REFUSED, "CHAP"),
        (28, Code.IN_USE, "in use"),
        (29, Code.UNAVAILABLE, "busy"),
        (32, Code.TARGET_TIMEOUT, "no connection"),
        (33, Code.TARGET_TIMEOUT, "in time"),
        (99, Code.TARGET_REFUSED, "ended with 99"),
    ],
)
def test_exit_codes_have_each_its_meaning(code: int, problem: Code, says: str) -> None:
    """Cases 20, 21, 23, 24 and 26; 15 is no problem at all (case 19): see test_linux_logins.py."""
    found = refusal(Result(code, ""), "log in")
    assert found.code is problem and says in found.detail
    assert found.step == "log in"
    assert found.final == (code == 24), "a wrong secret is not tried at another portal"


def test_a_bad_record_of_another_target_does_not_hide_what_became_of_the_login() -> None:
    """Cases 26 and 27: iscsiadm ends with 6 for the record, and prints what iscsid said of the login."""
    output = """iscsiadm: iface iter could not stat /etc/iscsi/nodes/iqn.2026-01.org.example:x/,3260.
iscsiadm: Could not execute operation on all records: encountered iSCSI database failure
iscsiadm: Could not login to [iface: default, target: iqn.2026-01.org.example:t, portal: 10.0.0.1,3260].
iscsiadm: initiator reported error (24 - iSCSI login failed due to authorization failure)
"""
    result = Result(6, output)
    assert number_of(result) == 24
    assert refusal(result, "log in").final


def test_the_record_that_poisons_the_database_is_named() -> None:
    """Case 28."""
    output = """iSCSI ERROR: Unknown parameter name node.session.new   # idbm.c:_idbm_rec_update_param():759
iSCSI ERROR: config file /etc/iscsi/nodes/iqn.2026-01.org.example:t/10.0.0.1,3260 invalid. # idbm.c:900
"""
    found = refusal(Result(7, output), "log in")
    assert "'config file /etc/iscsi/nodes/iqn.2026-01.org.example:t/10.0.0.1,3260 invalid.'" in found.detail


def test_the_longest_target_has_a_file_of_its_own(roots: Roots) -> None:
    target = checks.iqn("iqn.2003-01.org.example." + "a" * 199)
    assert len(target) == 223
    mark = unfinished(roots, target, "[2001:db8:aaaa:bbbb:cccc:dddd:eeee:ffff]:65535")
    mark.parent.mkdir(parents=True)
    mark.touch()
    assert mark.exists() and mark != unfinished(roots, target, "10.0.0.1:3260")


READER = """#!/usr/bin/python3
import os, socket, sys
open(sys.argv[1] + ".begun", "w").close()
open(sys.argv[1]).close()
asked = socket.socket(socket.AF_UNIX)
open(sys.argv[1] + ".out").close()
"""


@pytest.fixture
def real_proc(tmp_path: Path) -> Roots:
    """Roots with this machine's own processes."""
    roots = roots_in(tmp_path)
    return Roots(roots.sys, Path("/proc"), roots.dev, roots.run, roots.etc, roots.lib, roots.modules)


@pytest.fixture
def reader(tmp_path: Path, real_proc: Roots) -> Iscsiadm:
    """An iscsiadm that reads the database until the door is opened, then asks iscsid until its way out is."""
    script = tmp_path / "bin/iscsiadm"
    script.parent.mkdir()
    script.write_text(READER)
    script.chmod(0o755)
    return Iscsiadm(real_proc, path=f"{script.parent}:/usr/bin:/bin")


async def test_no_record_is_removed_while_a_login_reads_and_no_removal_waits_for_its_end(
    reader: Iscsiadm, door: Path
) -> None:
    """A login reads all records, and fails with 6 where one goes away meanwhile (case 26)."""
    out = door.with_name(
        "door.out"
    )  # a pipe of its own: one that is opened twice may let the reader through both times
    os.mkfifo(out)
    login = asyncio.create_task(reader.run([str(door)], "log in", timeout_s=SOON_S, use=Use.READS))
    async with asyncio.timeout(SOON_S):
        while not door.with_name("door.begun").exists():
            await asyncio.wait({login}, timeout=0.01)
        with pytest.raises(Problem) as refused:
            async with reader.database("forget", Use.REMOVES, timeout_s=0.1):
                raise AssertionError("it has not read everything yet")
        assert refused.value.code is Code.BUSY
        async with reader.database("settings", Use.WRITES, timeout_s=SOON_S):
            """A change of a record is made at once, and does not hurt a reader."""
        await asyncio.to_thread(_open, door)
        async with reader.database("forget", Use.REMOVES, timeout_s=SOON_S):
            assert not login.done(), "it waits for its target"
            second = asyncio.create_task(reader.run([str(door)], "log in", timeout_s=0.05, use=Use.READS))
            await asyncio.wait({second})
        with pytest.raises(Problem) as late:
            second.result()
        assert late.value.code is Code.BUSY, "no login begins to read while something is removed"
        await asyncio.to_thread(_open, out)
        assert (await login).code == 0


async def test_the_lock_is_iscsiadms_own(reader: Iscsiadm, real_proc: Roots) -> None:
    lock = real_proc.run / "lock/iscsi/lock.write"
    async with reader.database("settings", Use.WRITES, timeout_s=SOON_S):
        assert lock.stat().st_nlink == 2, "a hard link of the file lock beside it (usr/idbm.c)"
    assert not lock.exists()


async def test_a_lock_held_by_somebody_is_waited_for(tool: Iscsiadm, roots: Roots) -> None:
    """An iscsiadm of an administrator has it; one that has died does not (case 25)."""
    lock = roots.run / "lock/iscsi/lock.write"
    write(lock, "")
    write(roots.proc / "17/comm", "iscsiadm")
    with pytest.raises(Problem) as refused:
        async with tool.database("settings", Use.WRITES, timeout_s=0.1):
            raise AssertionError("it is locked")
    assert refused.value.code is Code.BUSY and lock.exists()
    write(roots.proc / "17/comm", "bash")
    async with tool.database("settings", Use.WRITES, timeout_s=SOON_S):
        assert lock.exists()
