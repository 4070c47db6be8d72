"""The helper's server and its client: the border between daemon and root."""

import asyncio
import os
import socket
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from agent import wire
from agent.helper.children import wait_for_children
from agent.helper.server import MOST_REQUESTS, HelperServer
from agent.host.remote import RemoteHost
from agent.host.simulated import SimulatedHost
from agent.host.simulated_faults import Faults, Moment
from agent.listening import listen, uid_of
from agent.shown_memory import made
from attachers.base import Uncertain
from attachers.problems import Code, Problem
from attachers.sights import BLOCK, BlocksQuery, HostQuery, HostSight, IscsiQuery, Query
from attachers.steps import CreateRecord, Step

T, P = "iqn.2024-01.org.example:one", "10.0.0.1:3260"
STEP = CreateRecord(T, P)
BAD = {"type": "CreateRecord", "target": "x", "portal": P, "chap": "", "iface": ""}
OBSERVE = {"id": 1, "verb": "observe", "value": {"type": "HostQuery", "iface": ""}, "timeout_s": 5, "attachment": ""}


class Helper:
    """A helper that can be stopped and started again on the same simulated host."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.raw = SimulatedHost(hook=Faults())
        self.server: HelperServer | None = None

    async def start(self, *, uids: frozenset[int] = frozenset({os.getuid()})) -> None:
        self.server = HelperServer(self.raw, uids=uids)
        await self.server.start(listen(self.path, mode=0o600, uid=None))

    async def stop(self, *, limit_s: float = 0.1) -> None:
        if self.server:
            await self.server.stop(limit_s=limit_s)
        self.server = None

    @property
    def faults(self) -> Faults:
        assert isinstance(self.raw.hook, Faults)
        return self.raw.hook


@pytest.fixture
async def helper(tmp_path: Path) -> AsyncIterator[Helper]:
    helper = Helper(tmp_path / "helper.sock")
    await helper.start()
    yield helper
    await helper.stop()


@pytest.fixture
async def host(helper: Helper) -> AsyncIterator[RemoteHost]:
    host = RemoteHost(helper.path)
    yield host
    await host.close()


def hold(helper: Helper, what: type) -> tuple[asyncio.Event, asyncio.Event]:
    """Let the next act or look of that kind stand still; returns (it has begun, let it go on)."""
    begun, go_on = asyncio.Event(), asyncio.Event()

    async def hook(moment: Moment, done: Step | Query) -> None:
        if isinstance(done, what) and moment is Moment.BEFORE:
            begun.set()
            await go_on.wait()

    helper.raw.hook = hook
    return begun, go_on


async def test_the_client_goes_away_and_the_step_goes_on(helper: Helper, host: RemoteHost) -> None:
    begun, go_on = hold(helper, CreateRecord)
    step = asyncio.create_task(host.act(STEP, timeout_s=5))
    await begun.wait()
    await host.close()
    with pytest.raises(Uncertain):
        await step
    go_on.set()
    await host.changed(host.changes, timeout_s=5)
    while not helper.raw.inventory():
        await host.changed(host.changes, timeout_s=5)


async def test_a_cancelled_caller_cancels_nothing(helper: Helper, host: RemoteHost) -> None:
    begun, go_on = hold(helper, CreateRecord)
    step = asyncio.create_task(host.act(STEP, timeout_s=5))
    await begun.wait()
    step.cancel()
    await asyncio.gather(step, return_exceptions=True)
    go_on.set()
    await host.act(CreateRecord(T, "10.0.0.2:3260"), timeout_s=5)
    assert len(helper.raw.inventory()) == 2


async def test_requests_overtake_each_other(helper: Helper, host: RemoteHost) -> None:
    begun, go_on = hold(helper, CreateRecord)
    step = asyncio.create_task(host.act(STEP, timeout_s=5))
    await begun.wait()
    sights = await asyncio.gather(*(host.observe(HostQuery()) for _ in range(50)))
    assert len(sights) == 50 and all(isinstance(sight, HostSight) for sight in sights)
    assert not step.done()
    go_on.set()
    await step


async def test_a_lost_connection_is_uncertain_for_steps_and_unavailable_for_looks(
    helper: Helper, host: RemoteHost
) -> None:
    begun, _ = hold(helper, CreateRecord)
    step = asyncio.create_task(host.act(STEP, timeout_s=5))
    await begun.wait()
    hold(helper, HostQuery)
    look = asyncio.create_task(host.observe(HostQuery()))
    await asyncio.sleep(0.05)
    await helper.stop()
    with pytest.raises(Uncertain, match="record"):
        await step
    with pytest.raises(Problem) as caught:
        await look
    assert caught.value.code is Code.UNAVAILABLE


async def test_a_helper_that_is_away_is_a_problem_and_its_return_is_a_change(helper: Helper, host: RemoteHost) -> None:
    await host.observe(HostQuery())
    since = host.changes
    await helper.stop()
    await host.changed(since, timeout_s=5)
    with pytest.raises(Problem, match="cannot be reached") as caught:
        await host.act(STEP, timeout_s=5)
    assert caught.value.code is Code.UNAVAILABLE and "cdmi-attach-helperd" in caught.value.hint
    waiting = asyncio.create_task(host.changed(host.changes, timeout_s=10))
    await asyncio.sleep(0.05)
    assert not waiting.done()
    await helper.start()
    await waiting
    assert isinstance(await host.observe(HostQuery()), HostSight)


async def test_changes_are_pushed(helper: Helper, host: RemoteHost) -> None:
    await host.observe(HostQuery())
    await host.changed(host.changes, timeout_s=0.1)
    since = host.changes
    waiting = asyncio.create_task(host.changed(since, timeout_s=10))
    await asyncio.sleep(0)
    helper.raw.touch()
    await waiting
    assert host.changes > since


async def test_problems_and_defects_come_back_as_problems(helper: Helper, host: RemoteHost) -> None:
    helper.faults.on(CreateRecord, Problem(Code.IN_USE, "no", hint="wait", status=499))
    with pytest.raises(Problem) as caught:
        await host.act(STEP, timeout_s=5)
    problem = caught.value
    assert (problem.code, problem.detail, problem.hint, problem.status) == (Code.IN_USE, "no", "wait", 499)
    assert problem.step == STEP.describe()
    helper.faults.on(CreateRecord, ZeroDivisionError("secret"))
    with pytest.raises(Problem) as caught:
        await host.act(STEP, timeout_s=5)
    assert caught.value.code is Code.INTERNAL and "secret" not in caught.value.detail


async def test_an_answer_that_is_too_long_is_a_problem(helper: Helper, host: RemoteHost) -> None:
    for number in range(30_000):
        helper.raw.kernel.records[T, f"[fd00::{number:x}]:3260"] = "x"
    portals = tuple(portal for _, portal in helper.raw.kernel.records)[:2000]
    assert await host.observe(IscsiQuery("vm", T, portals[:10], 1))
    helper.raw.kernel.links["vm"] = "x" * (wire.MAX_FRAME + 1)
    with pytest.raises(Problem) as caught:
        await host.observe(IscsiQuery("vm", T, (), 1))
    assert caught.value.code is Code.TOO_LARGE


async def test_only_the_daemon_and_root_may_ask(helper: Helper, host: RemoteHost) -> None:
    await helper.stop()
    await helper.start(uids=frozenset({os.getuid() + 1}))
    with pytest.raises(Problem):
        await host.observe(HostQuery())
    reader, writer = await asyncio.open_unix_connection(helper.path)
    message = await wire.read_frame(reader)
    assert message and message["problem"]["code"] == "forbidden"
    assert await wire.read_frame(reader) is None
    writer.close()


async def talk(helper: Helper, *frames: bytes) -> list[dict[str, Any]]:
    """Say this, hang up, and return what is answered, without the news."""
    reader, writer = await asyncio.open_unix_connection(helper.path)
    writer.writelines(frames)
    await writer.drain()
    answers: list[dict[str, Any]] = []
    while len(answers) < len(frames) and (message := await wire.read_frame(reader)) is not None:
        answers += [message] if "changes" not in message else []
    writer.close()
    return answers


@pytest.mark.parametrize(
    "request_",
    [
        {},
        {"id": 1},
        OBSERVE | {"id": "1"},
        OBSERVE | {"id": True},
        OBSERVE | {"verb": None},
        OBSERVE | {"timeout_s": 0},
        OBSERVE | {"attachment": 7},
        OBSERVE | {"attachment": "two\nlines"},
        OBSERVE | {"timeout_s": 1e9},
        OBSERVE | {"timeout_s": True},
        OBSERVE | {"timeout_s": None},
        OBSERVE | {"more": 1},
    ],
)
async def test_malformed_requests_end_the_connection(helper: Helper, request_: dict[str, Any]) -> None:
    (answer,) = await talk(helper, wire.pack(request_))
    assert answer["id"] is None and answer["problem"]["code"] == "bad-request"


@pytest.mark.parametrize("frame", [b"\x00\x00\x00\x01{", b"\x00\x00\x00\x02[]", b"\xff\xff\xff\xff"])
async def test_malformed_frames_end_the_connection(helper: Helper, frame: bytes) -> None:
    (answer,) = await talk(helper, frame)
    assert answer["problem"]["code"] in ("bad-request", "too-large")


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"verb": "close"}, "bad-request"),
        ({"verb": "__class__"}, "bad-request"),
        ({"value": None}, "bad-request"),
        ({"value": {"type": "CreateRecord", "target": T, "portal": P}}, "bad-request"),
        ({"verb": "act", "value": {"type": "HostQuery", "iface": ""}}, "bad-request"),
        ({"verb": "act", "value": {"step": {"type": "HostQuery", "iface": ""}, "then": None}}, "bad-request"),
        ({"verb": "act", "value": {"step": BAD, "then": None}}, "invalid-request"),
        ({"verb": "act", "value": {"step": {**BAD, "target": T}, "then": BAD}}, "bad-request"),
    ],
)
async def test_refused_requests_leave_the_connection(helper: Helper, change: dict[str, Any], code: str) -> None:
    frames = wire.pack(OBSERVE | change), wire.pack(OBSERVE | {"id": 2, "verb": "ping", "value": None})
    answers = sorted(await talk(helper, *frames), key=lambda answer: int(answer["id"]))
    assert answers[0]["problem"]["code"] == code
    assert answers[1] == {"id": 2, "value": None}
    assert not helper.raw.inventory()


async def test_there_is_a_limit_to_what_is_under_way(helper: Helper) -> None:
    _, go_on = hold(helper, HostQuery)
    frames = [wire.pack(OBSERVE | {"id": number}) for number in range(MOST_REQUESTS + 1)]
    talking = asyncio.create_task(talk(helper, *frames))
    await asyncio.sleep(0.2)
    go_on.set()
    answers = await talking
    assert [answer["problem"]["code"] for answer in answers if "problem" in answer] == ["busy"]


async def test_stopping_waits_for_what_is_under_way(helper: Helper, host: RemoteHost) -> None:
    begun, go_on = hold(helper, CreateRecord)
    step = asyncio.create_task(host.act(STEP, timeout_s=5))
    await begun.wait()
    stopping = asyncio.create_task(helper.stop(limit_s=10))
    await asyncio.sleep(0.05)
    with pytest.raises(Problem, match="stopping"):
        await host.observe(HostQuery())
    go_on.set()
    await step
    await stopping
    assert helper.raw.inventory()


async def test_two_helpers_cannot_share_a_path(helper: Helper, tmp_path: Path) -> None:
    with pytest.raises(OSError, match="another process"):
        listen(helper.path, mode=0o600, uid=None)
    with socket.socket(socket.AF_UNIX) as stale:
        stale.bind(str(tmp_path / "stale"))
    sock = listen(tmp_path / "stale", mode=0o600, uid=None)
    assert os.stat(tmp_path / "stale").st_mode & 0o777 == 0o600  # noqa: PTH116
    sock.close()


def test_users() -> None:
    assert uid_of("root") == 0
    assert uid_of("no-such-user-here") is None


async def test_children_of_a_name_are_waited_for() -> None:
    child = await asyncio.create_subprocess_exec("sleep", "0.2")
    await wait_for_children("sleep", limit_s=10)
    assert await asyncio.wait_for(child.wait(), 1) == 0
    child = await asyncio.create_subprocess_exec("sleep", "60")
    await wait_for_children("sleep", limit_s=0.05)
    await wait_for_children("other", limit_s=60)
    child.kill()
    await child.wait()


async def test_nothing_is_written_into_the_memory_of_somebody_else(helper: Helper, host: RemoteHost) -> None:
    """Who may ask shows memory of its own: nothing has root write into a guest's, also as the look after a step."""
    with made(BLOCK) as memory:
        theirs = BlocksQuery("naa.6001405aaaaaaaaa", 0, BLOCK, os.getppid(), memory.fd, memory.inode)
        ours = replace(theirs, pid=os.getpid())
        for query, code in ((theirs, Code.FORBIDDEN), (ours, Code.NOT_FOUND)):
            with pytest.raises(Problem) as caught:
                await host.observe(query)
            assert caught.value.code is code
        with pytest.raises(Problem) as caught:
            await host.act(STEP, timeout_s=5, then=theirs)
        assert caught.value.code is Code.FORBIDDEN and not helper.raw.inventory()
