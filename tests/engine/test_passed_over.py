"""What a server passes over, and says yes to: a restore, a move, a size is done when it is seen to be."""

import re
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
from aiohttp import web

from agent.cdmi import changes
from agent.cdmi.find import find
from agent.cdmi.members import Found
from agent.cdmi.sources import Location
from agent.cdmi.wire import Wire
from agent.model import Making, MakingState, Stat
from attachers.problems import Code, Problem
from tests.cdmi_server.dialects import DIALECTS
from tests.cdmi_server.faults import Action, Fault
from tests.engine.test_changes import alone
from tests.engine.test_lost_answers import LOST
from tests.engine.test_operations import SIZE, WAIT_S, Lab, daemon, hurried, read, scene, write
from tests.unit.test_cdmi_client import at_once, serving
from tests.unit.test_cdmi_references import GOLDEN, IMAGE, Tree

__all__ = ["hurried"]


@pytest.mark.parametrize("dialect", DIALECTS)
async def test_a_restore_that_is_passed_over_is_not_done(tmp_path: Path, dialect: str) -> None:
    """The server says yes, and does nothing: of a LUN only the time of its last change tells."""
    async with scene(tmp_path, dialect=dialect) as server, daemon(tmp_path, server) as lab:
        await alone(lab)
        source, operations = f"{server.url}vol1", lab.engine.operations
        await operations.snapshot(source, "monday", wait_s=WAIT_S)
        write(server, "/vol1/", b"broken")
        server.faults.set("put-object", Fault(Action.STATUS, status=204))
        with pytest.raises(
            Problem, match=r"nothing tells that it did anything \(its cdmi_mtime is what it was"
        ) as caught:
            await operations.restore(source, "monday", wait_s=WAIT_S)
        assert caught.value.code is Code.CONFLICT and "clone the snapshot monday" in caught.value.hint
        server.faults.clear()
        assert read(server, "/vol1/")[:6] == b"broken"
        assert (await operations.restore(source, "monday", wait_s=WAIT_S))[0]
    assert read(server, "/vol1/")[:6] == b"blocks"


UNTOLD: dict[str, tuple[Callable[[bool], dict[str, str]], str]] = {
    "nothing": (lambda _: {}, r"\(its cdmi_mtime is not told\)"),
    "a snapshot's": (lambda _: {"modified": "1"}, "its cdmi_mtime was and is that of its snapshot"),
}


@pytest.mark.parametrize("told", UNTOLD)
async def test_a_restore_of_which_a_server_can_tell_nothing_is_done_and_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, told: str
) -> None:
    """A time is optional, and writes over iSCSI need not move it: a server that is well has to be usable."""
    times, why = UNTOLD[told]
    async with scene(tmp_path) as server, daemon(tmp_path, server) as lab:
        await alone(lab)
        source = f"{server.url}vol1"
        await lab.engine.operations.snapshot(source, "monday", wait_s=WAIT_S)
        write(server, "/vol1/", b"broken")
        tell(monkeypatch, lab, times)
        done, view = await lab.engine.operations.restore(source, "monday", wait_s=WAIT_S)
        assert done and re.search(f"nothing tells that the server did anything .*{why}", view["note"]), view
    assert read(server, "/vol1/")[:6] == b"blocks"


@pytest.mark.parametrize("kept", ["2", ""])
async def test_a_time_that_stands_still_and_is_not_that_of_the_snapshot_contradicts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kept: str
) -> None:
    async with scene(tmp_path) as server, daemon(tmp_path, server) as lab:
        await alone(lab)
        source = f"{server.url}vol1"
        await lab.engine.operations.snapshot(source, "monday", wait_s=WAIT_S)
        tell(monkeypatch, lab, lambda snapshot: {"modified": kept if snapshot else "1"})
        with pytest.raises(Problem, match="its cdmi_mtime is what it was") as caught:
            await lab.engine.operations.restore(source, "monday", wait_s=WAIT_S)
        assert caught.value.code is Code.CONFLICT


def tell(monkeypatch: pytest.MonkeyPatch, lab: Lab, times: Callable[[bool], dict[str, str]]) -> None:
    """Have the server tell these times, of a snapshot and of anything else."""
    stat = lab.client.stat

    async def told(uri: str) -> Stat:
        return replace(await stat(uri), times=times("cdmi_snapshots" in uri))

    monkeypatch.setattr(lab.client, "stat", told)


async def test_what_a_server_shows_of_a_restore_counts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its work proves it, and what is not as the snapshot contradicts."""
    async with scene(tmp_path, x_copy_reads="3") as server, daemon(tmp_path, server) as lab:
        await alone(lab)
        source = f"{server.url}vol1"
        await lab.engine.operations.snapshot(source, "monday", wait_s=WAIT_S)
        tell(monkeypatch, lab, lambda snapshot: {"modified": "2" if snapshot else "1"})
        done, view = await lab.engine.operations.restore(source, "monday", wait_s=WAIT_S)
        assert done and view["note"] is None, "it was seen at work"

        async def other(_uri: str, _name: str) -> str:
            return "it has 1 bytes"

        monkeypatch.setattr(lab.client, "unlike", other)
        with pytest.raises(Problem, match="it is not as its snapshot monday: it has 1 bytes") as caught:
            await lab.engine.operations.restore(source, "monday", wait_s=WAIT_S)
        assert caught.value.code is Code.CDMI_REFUSED


async def test_work_that_was_seen_before_a_server_said_yes_proves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first answer was lost, and something was going on there; the second request is passed over."""
    async with scene(tmp_path) as server, daemon(tmp_path, server) as lab:
        await alone(lab)
        source, look, asked, seen = f"{server.url}vol1", lab.client.look, 0, 0
        await lab.engine.operations.snapshot(source, "monday", wait_s=WAIT_S)

        async def passed_over(*_args: Any, **_more: Any) -> None:
            nonlocal asked
            asked += 1
            if asked == 1:
                raise LOST

        async def working(uri: str) -> Making:
            nonlocal seen
            there = await look(uri)
            if asked != 1 or "cdmi_snapshots" in uri or seen == 3:
                return there
            seen += 1
            return replace(there, state=MakingState.PROCESSING)

        monkeypatch.setattr(lab.client, "restore", passed_over)
        monkeypatch.setattr(lab.client, "look", working)
        with pytest.raises(Problem, match="nothing tells that it did anything") as caught:
            await lab.engine.operations.restore(source, "monday", wait_s=WAIT_S)
        assert caught.value.code is Code.CONFLICT and (asked, seen) == (2, 3)


@pytest.mark.parametrize("odd", ["unlike", "stat", "both"])
async def test_a_look_after_a_restore_that_fails_is_no_word_about_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, odd: str
) -> None:
    """A server may be at its limit just now: what it has done is done."""
    async with scene(tmp_path) as server, daemon(tmp_path, server) as lab:
        await alone(lab)
        source, restore, asked = f"{server.url}vol1", lab.client.restore, 0
        await lab.engine.operations.snapshot(source, "monday", wait_s=WAIT_S)
        failing: list[str] = []

        async def restored(*args: Any, **more: Any) -> None:
            nonlocal asked
            await restore(*args, **more)
            asked, failing[:] = asked + 1, ["unlike", "stat"] if odd == "both" else [odd]

        def failing_once(name: str) -> Any:
            look = getattr(lab.client, name)

            async def once(*args: Any) -> Any:
                if name in failing:
                    failing.remove(name)
                    raise Problem(Code.NOT_FOUND if name == "stat" else Code.CDMI_REFUSED, "503", hint="")
                return await look(*args)

            return once

        monkeypatch.setattr(lab.client, "restore", restored)
        for name in ("unlike", "stat"):
            monkeypatch.setattr(lab.client, name, failing_once(name))
        assert (await lab.engine.operations.restore(source, "monday", wait_s=WAIT_S))[0]
        assert (asked, failing) == (1, [])


async def test_a_restore_of_which_nothing_is_told_any_more_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with scene(tmp_path) as server, daemon(tmp_path, server) as lab:
        await alone(lab)
        source = f"{server.url}vol1"
        await lab.engine.operations.snapshot(source, "monday", wait_s=WAIT_S)

        async def refuses(*_args: Any) -> str:
            raise Problem(Code.CDMI_REFUSED, "it answered 503", hint="")

        monkeypatch.setattr(lab.client, "unlike", refuses)
        with pytest.raises(Problem, match="said yes, and does not tell what it has done: it answered 503") as caught:
            await lab.engine.operations.restore(source, "monday", wait_s=WAIT_S)
        assert caught.value.code is Code.CDMI_REFUSED


async def test_a_server_may_use_a_snapshot_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with scene(tmp_path) as server, daemon(tmp_path, server) as lab:
        await alone(lab)
        source, restore = f"{server.url}vol1", lab.client.restore
        await lab.engine.operations.snapshot(source, "monday", wait_s=WAIT_S)
        write(server, "/vol1/", b"broken")

        async def using_up(*args: Any, **more: Any) -> None:
            await restore(*args, **more)
            await lab.client.delete(lab.client.snapshot_place(source, "monday"), pause=at_once)

        monkeypatch.setattr(lab.client, "restore", using_up)
        assert (await lab.engine.operations.restore(source, "monday", wait_s=WAIT_S))[0]
    assert read(server, "/vol1/")[:6] == b"blocks"


class Linking(Tree):
    """A server that gives an object a second place, and calls that a move."""

    async def __call__(self, request: web.Request) -> web.StreamResponse:
        if request.method != "PUT":
            return await super().__call__(request)
        self.objects[request.path] = self.objects[IMAGE]
        return web.Response(status=204)


@dataclass
class Moving(Tree):
    """A server that moves an object, and answers these to looks at where it was; the last one for ever."""

    said: list[int] = field(default_factory=lambda: [404])

    async def __call__(self, request: web.Request) -> web.StreamResponse:
        if request.method == "PUT":
            self.objects[request.path] = self.objects.pop(IMAGE)
            return web.Response(status=204)
        if request.path == IMAGE and IMAGE not in self.objects:
            return web.Response(status=self.said.pop(0) if len(self.said) > 1 else self.said[0])
        return await super().__call__(request)


@pytest.mark.parametrize("said", [[410], [503, 404], [403, 503, 410]])
async def test_what_has_left_its_place_was_moved(tmp_path: Path, said: list[int]) -> None:
    """Whatever is said of that place: gone for good, and once nothing at all."""
    tree = Moving(said=said)
    async with serving(tree) as url, daemon(tmp_path, cast(Any, SimpleNamespace(url=url))) as lab:
        done, view = await lab.engine.operations.move(f"{url}images/golden.img", f"{url}new", wait_s=WAIT_S)
    assert done and view["object_id"] == GOLDEN and len(said) == 1


async def test_what_is_at_both_places_was_not_moved(tmp_path: Path) -> None:
    tree = Linking()
    async with serving(tree) as url, daemon(tmp_path, cast(Any, SimpleNamespace(url=url))) as lab:
        with pytest.raises(Problem, match="something is at its source still") as caught:
            await lab.engine.operations.move(f"{url}images/golden.img", f"{url}new", wait_s=WAIT_S)
        assert caught.value.code is Code.CDMI_REFUSED
    assert not [done for done in tree.log if "DELETE" in done]


def working(monkeypatch: pytest.MonkeyPatch, *, size: str = "") -> None:
    """The server works on what it was told for longer than anybody waits; until then it tells this size."""
    looks = 0

    async def look(wire: Wire, location: Location) -> Found:
        nonlocal looks
        looks, found = looks + 1, await find(wire, location)
        if looks == 1:
            return found
        more = {"cdmi_assignedsize": size} if size else {}
        members = {**found.members, "metadata": {**found.members["metadata"], **more}}
        return replace(found, members={**members, "completionStatus": "Processing"})

    monkeypatch.setattr(changes, "TRIES", 2)
    monkeypatch.setattr(changes, "find", look)


async def test_a_size_that_is_only_on_its_way_is_not_done(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with scene(tmp_path) as server, daemon(tmp_path, server) as lab:
        working(monkeypatch, size=str(SIZE))
        with pytest.raises(Problem, match="was to have 2097152 bytes: the server is still making it") as caught:
            await lab.engine.objects.resize(f"{server.url}vol1", 2 * SIZE, shrink=False)
        assert caught.value.code is Code.CDMI_REFUSED


async def test_a_size_that_is_told_is_there_the_first_time_as_the_second(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A server that fills up what it has added works on for minutes: what waits for the size has it."""
    async with scene(tmp_path) as server, daemon(tmp_path, server) as lab:
        working(monkeypatch)
        for _ in range(2):
            assert (await lab.engine.objects.resize(f"{server.url}vol1", 2 * SIZE, shrink=False))["size"] == 2 * SIZE


async def test_a_clone_that_has_its_size_is_not_deleted_while_the_server_works_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with scene(tmp_path) as server, daemon(tmp_path, server) as lab:
        working(monkeypatch)
        monkeypatch.setattr(changes, "FIRST_PAUSE_S", 0.01)
        done, view = await lab.clone("image", "image2", size=4096)
        assert done and (await lab.client.stat(view["uri"])).size == 4096
