"""Running iscsiadm, with a shell script in its place: one writer at a time, never killed, watched to its end."""

import asyncio
import os
from pathlib import Path

import pytest

from agent.host.iscsiadm import Iscsiadm, Result, drop_broken, portals, refusal, unfinished
from agent.host.roots import Roots
from agent.workers.pool import Abandoned
from attachers import checks
from attachers.problems import Code, Problem
from tests.unit.linux_tree import roots_in

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
    assert problem.detail == "log in to t: the target refused this initiator (exit code 24: 'it failed')"


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
        await tool.run(["wait", f"{door}.begun", str(door)], "new", timeout_s=0.2, writes=True)
    with pytest.raises(Problem) as refused:
        await tool.run(["say"], "update", timeout_s=0.05, writes=True)
    assert refused.value.code is Code.BUSY
    assert (await tool.run(["say"], "log in", timeout_s=SOON_S)).code == 24
    waiting = asyncio.create_task(tool.run(["say"], "update", timeout_s=SOON_S, writes=True))
    _open(door)
    assert (await waiting).code == 24
    assert late.value.ended.done()


async def test_a_cancelled_caller_does_not_end_the_command(tool: Iscsiadm, door: Path) -> None:
    caller = asyncio.create_task(tool.run(["wait", f"{door}.begun", str(door)], "new", timeout_s=SOON_S, writes=True))
    await tool.run(["say"], "log in", timeout_s=SOON_S)
    caller.cancel()
    with pytest.raises(asyncio.CancelledError):
        await caller
    waiting = asyncio.create_task(tool.run(["say"], "update", timeout_s=SOON_S, writes=True))
    _open(door)
    assert (await waiting).code == 24


async def test_without_iscsiadm_the_host_cannot(roots: Roots) -> None:
    with pytest.raises(Problem) as refused:
        await Iscsiadm(roots, path=str(roots.run)).run(["say"], "log in", timeout_s=SOON_S)
    assert refused.value.code is Code.UNSUPPORTED_ON_HOST


@pytest.mark.parametrize(
    ("code", "problem"),
    [
        (6, Code.UNAVAILABLE),
        (8, Code.TARGET_TIMEOUT),
        (12, Code.UNSUPPORTED_ON_HOST),
        (18, Code.UNAVAILABLE),
        (19, Code.TARGET_REFUSED),
        (20, Code.UNAVAILABLE),
        (24, Code.TARGET_REFUSED),
        (99, Code.TARGET_REFUSED),
    ],
)
def test_exit_codes_become_problems(code: int, problem: Code) -> None:
    found = refusal(Result(code, ""), "log in")
    assert found.code is problem
    assert found.step == "log in"


def test_the_longest_target_has_a_file_of_its_own(roots: Roots) -> None:
    target = checks.iqn("iqn.2003-01.org.example." + "a" * 199)
    assert len(target) == 223
    mark = unfinished(roots, target, "[2001:db8:aaaa:bbbb:cccc:dddd:eeee:ffff]:65535")
    mark.parent.mkdir(parents=True)
    mark.touch()
    assert mark.exists() and mark != unfinished(roots, target, "10.0.0.1:3260")


TARGET, PORTAL = "iqn.2026-01.org.example:t", "10.0.0.1:3260"


@pytest.mark.parametrize("entry", ["10.0.0.1,3260", "10.0.0.1,3260,1/default", "10.0.0.1,3260,-1/"])
def test_what_a_killed_iscsiadm_left_of_a_record_is_removed(roots: Roots, entry: str) -> None:
    nodes = roots.etc / "iscsi/nodes" / TARGET
    path = nodes / entry
    if entry.endswith("/"):
        path.mkdir(parents=True)
    else:
        path.parent.mkdir(parents=True)
        path.touch()
    (nodes / "10.0.0.2,3260").write_text("node.name = somebody's\n")
    assert PORTAL in portals(roots, TARGET)
    drop_broken(roots, TARGET, PORTAL, only_empty=True)
    assert portals(roots, TARGET) == ("10.0.0.2:3260",), "the other record stays"
    (nodes / "10.0.0.2,3260").unlink()
    drop_broken(roots, TARGET, PORTAL)
    assert not nodes.exists(), "nor is the target's empty directory left"


def test_a_record_with_anything_in_it_is_dropped_only_when_iscsiadm_has_refused_it(roots: Roots) -> None:
    record = roots.etc / "iscsi/nodes" / TARGET / "10.0.0.1,3260"
    record.parent.mkdir(parents=True)
    record.write_text("node.na")
    drop_broken(roots, TARGET, PORTAL, only_empty=True)
    assert record.exists()
    drop_broken(roots, TARGET, PORTAL)
    assert not record.exists()
