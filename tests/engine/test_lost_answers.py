"""A server's answer is lost, and something is at the place: told as done only where that is proved to be ours."""

import asyncio
import json
from collections.abc import Awaitable, Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from agent.model import Making, Stat
from attachers.problems import Code, Problem
from tests.cdmi_server.dialects import DIALECTS
from tests.cdmi_server.faults import Action, Fault
from tests.cdmi_server.runner import ServerHandle
from tests.engine.test_changes import create
from tests.engine.test_operations import SIZE, WAIT_S, Lab, daemon, hurried, read, scene
from tests.unit.test_cdmi_client import at_once
from tests.unit.test_cdmi_matrix import KEYS, put

__all__ = ["hurried"]
LUN_OF_ANOTHER = {"metadata": {"cdmi_assignedsize": str(SIZE)}, "exports": {KEYS["1.1"]: {"permissions": []}}}
OTHERS: dict[str, dict[str, Any]] = {"clone": LUN_OF_ANOTHER, "image": {"value": "y" * 77}, "create": LUN_OF_ANOTHER}
LOST = Problem(Code.CDMI_UNREACHABLE, "no complete answer within 50 s", hint="", status=504)


async def ask(lab: Lab, what: str) -> Any:
    """Have something made at `there`, by one of the ways that there are."""
    url = lab.server.url
    match what:
        case "create":
            return await create(lab, "there")
        case "snapshot":
            return await lab.engine.operations.snapshot(f"{url}vol1", "monday", wait_s=WAIT_S)
    return await lab.clone("vol1" if what == "clone" else "image", "there")


def lose(monkeypatch: pytest.MonkeyPatch, lab: Lab, name: str, instead: Callable[..., Awaitable[Any]]) -> None:
    """The request of that name does this instead, and its answer is lost."""

    async def lost(*args: Any, **more: Any) -> None:
        await instead(*args, **more)
        raise LOST

    monkeypatch.setattr(lab.client, name, lost)


def at(server: ServerHandle, path: str) -> str:
    record = server.store.find(path)
    assert record, path
    return record.id


@pytest.mark.parametrize("what", OTHERS)
async def test_another_hosts_object_is_not_taken_for_ours(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, what: str
) -> None:
    """It was made there just before our request, of which nothing came. Nothing of it is changed."""
    async with scene(tmp_path) as server, daemon(tmp_path, server) as lab:
        path = "there" if what == "image" else "there/"

        async def another(*_args: Any, **_more: Any) -> None:
            await put(server.url, path, OTHERS[what], DIALECTS["1.1"])

        lose(monkeypatch, lab, "create" if what == "create" else "copy", another)
        with pytest.raises(Problem, match=r"nothing proves that what is at .*there is ours") as caught:
            await ask(lab, what)
        assert caught.value.code is Code.CONFLICT and "cdmi-attach stat" in caught.value.hint
        before, raw = at(server, f"/{path}"), server.store.find(f"/{path}")
        (view,) = [lab.engine.operations.view(one) for one in lab.engine.operations._desk.ledger.operations]
        assert (view["state"], view["object_id"], view["uri"]) == ("failed", None, None)
        with pytest.raises(Problem, match="already something"):
            await ask(lab, what)
        assert at(server, f"/{path}") == before and server.store.find(f"/{path}") == raw


async def test_another_hosts_object_gets_no_exports_and_no_size(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with scene(tmp_path) as server, daemon(tmp_path, server) as lab:
        for what, name in (("clone", "copy"), ("create", "create")):

            async def another(*_args: Any, **_more: Any) -> None:
                await put(server.url, "there/", {"metadata": {"cdmi_assignedsize": str(SIZE // 2)}}, DIALECTS["1.1"])

            lose(monkeypatch, lab, name, another)
            with pytest.raises(Problem, match="nothing proves"):
                await ask(lab, what)
            theirs = await lab.client.resolve(f"{server.url}there/")
            assert theirs.size == SIZE // 2 and not theirs.exports
            await lab.client.delete(f"{server.url}there/", pause=at_once)


@pytest.mark.parametrize("dialect", DIALECTS)
@pytest.mark.parametrize("what", OTHERS)
async def test_what_bears_our_mark_is_ours(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, what: str, dialect: str
) -> None:
    """And keeps what its source said of itself."""
    async with scene(tmp_path, dialect=dialect, x_copy_reads="2") as server, daemon(tmp_path, server) as lab:
        server.faults.set("put-object", Fault(Action.RESET, after=True, times=1))
        done, view = await ask(lab, what)
        assert done and view["object_id"]
        if what != "create":
            assert (await lab.client.stat(view["uri"])).metadata["colour"] == "red"


async def test_a_snapshot_of_that_name_may_be_anybodys(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It can bear no mark, and who took it may delete it."""
    async with scene(tmp_path) as server, daemon(tmp_path, server) as lab:
        lose(monkeypatch, lab, "snapshot", lab.client.snapshot)
        with pytest.raises(Problem, match=r"nothing proves that what is at .*monday/ is ours"):
            await ask(lab, "snapshot")
        assert server.store.find("/vol1/cdmi_snapshots/monday/")


@pytest.mark.parametrize("what", ["clone", "image"])
async def test_a_server_that_drops_our_mark(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, what: str) -> None:
    """Its answer counts; where that is lost, nothing does."""
    async with scene(tmp_path) as server, daemon(tmp_path, server) as lab:
        copy = lab.client.copy

        async def unmarked(source: str, destination: str, *, size: int | None, metadata: Any, mark: str) -> str:
            assert mark
            return await copy(source, destination, size=size, metadata=metadata, mark="")

        monkeypatch.setattr(lab.client, "copy", unmarked)
        assert (await ask(lab, what))[0]
        await lab.client.delete(f"{server.url}there", pause=at_once)
        lose(monkeypatch, lab, "copy", unmarked)
        with pytest.raises(Problem, match="nothing proves"):
            await ask(lab, what)


@pytest.mark.parametrize("status", [400, 403])
async def test_a_server_that_takes_no_metadata_with_a_copy(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, status: int
) -> None:
    async with scene(tmp_path) as server, daemon(tmp_path, server) as lab:
        wire = lab.client._wire
        create_on, asked = wire.create, []

        async def strict(on: Any, url: str, body: bytes) -> Any:
            asked.append("metadata" in json.loads(body))
            if asked[-1]:
                server.faults.set("put-object", Fault(Action.STATUS, status=status, times=1))
            return await create_on(on, url, body)

        monkeypatch.setattr(wire, "create", strict)
        done, view = await ask(lab, "clone")
        assert done and asked[0] and not asked[-1]
        assert (await lab.client.stat(view["uri"])).metadata["colour"] == "red"


async def test_a_failed_copy_of_which_the_answer_was_lost_is_cleared_away_by_its_mark(tmp_path: Path) -> None:
    async with scene(tmp_path, x_copy_reads="2", x_copy_error="no space") as server, daemon(tmp_path, server) as lab:
        server.faults.set("put-object", Fault(Action.RESET, after=True, times=1))
        with pytest.raises(Problem, match=r"no space$"):
            await ask(lab, "clone")
        assert server.store.find("/there/") is None


async def test_what_another_host_is_making_is_not_noted_as_ours(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """His takes its time, and ours came to nothing."""
    async with scene(tmp_path, x_copy_reads="20") as server, daemon(tmp_path, server) as lab:
        copy = lab.client.copy

        async def another(source: str, destination: str, *, size: int | None, metadata: Any, mark: str) -> None:
            await copy(source, destination, size=size, metadata=metadata, mark="of-another")

        lose(monkeypatch, lab, "copy", another)
        asked = asyncio.create_task(ask(lab, "clone"))
        with pytest.raises(Problem, match="nothing proves"):
            await asked
        assert len(read(server, "/there/")) == SIZE


def without_ids(monkeypatch: pytest.MonkeyPatch, lab: Lab) -> None:
    """The server tells no IDs."""
    stat, look = lab.client.stat, lab.client.look

    async def plain_stat(source: str) -> Stat:
        return replace(await stat(source), object_id="")

    async def plain_look(uri: str) -> Making:
        return replace(await look(uri), object_id="", mark="")

    monkeypatch.setattr(lab.client, "stat", plain_stat)
    monkeypatch.setattr(lab.client, "look", plain_look)


@pytest.mark.parametrize("heard", [True, False])
async def test_a_move_of_what_has_no_id_is_done_by_the_servers_word(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, heard: bool
) -> None:
    async with scene(tmp_path) as server, daemon(tmp_path, server) as lab:
        without_ids(monkeypatch, lab)
        if heard:
            assert (await move(lab))[0]
            assert read(server, "/there") == b"x" * 77
            return

        async def another(*_args: Any, **_more: Any) -> None:
            await put(server.url, "there", OTHERS["image"], DIALECTS["1.1"])

        lose(monkeypatch, lab, "move", another)
        with pytest.raises(Problem, match="nothing proves that what is at"):
            await move(lab)
    assert read(server, "/there") == b"y" * 77 and read(server, "/image") == b"x" * 77


async def test_a_move_that_the_server_passes_over_is_not_done(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It says yes, and makes an empty object."""
    async with scene(tmp_path) as server, daemon(tmp_path, server) as lab:
        without_ids(monkeypatch, lab)

        async def empty(*_args: Any, **_more: Any) -> None:
            await put(server.url, "there", {"value": ""}, DIALECTS["1.1"])

        monkeypatch.setattr(lab.client, "move", empty)
        with pytest.raises(Problem, match="something is at its source still"):
            await move(lab)
    assert read(server, "/image") == b"x" * 77


async def move(lab: Lab) -> Any:
    url = lab.server.url
    return await lab.engine.operations.move(f"{url}image", f"{url}there", wait_s=WAIT_S)


PASSED_OVER: dict[str, tuple[str, str, dict[str, Any], str]] = {
    "an empty object": ("image", "there", {"value": ""}, "has 0 bytes, and not 77"),
    "another value": ("image", "there", {"value": "y" * 77}, "begins with other bytes"),
    "a container": ("image", "there/", {}, "is a container, and no dataobject"),
    "no LUN": ("vol1", "there/", {}, "has no bytes, and not 1048576"),
    "a smaller one": ("vol1", "there/", {"metadata": {"cdmi_assignedsize": "512"}}, "has 512 bytes"),
    "nothing in it": ("pool", "there/", {}, "nothing is in it"),
}


@pytest.mark.parametrize("made", PASSED_OVER)
async def test_a_copy_is_done_when_it_is_like_its_source(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, made: str
) -> None:
    """Servers pass over `copy`, say yes, and make something else: who is told of a copy may delete its source."""
    source, path, body, word = PASSED_OVER[made]
    async with scene(tmp_path) as server, daemon(tmp_path, server) as lab:
        await put(server.url, "pool/", {}, DIALECTS["1.1"])
        await put(server.url, "pool/one", {"value": "1"}, DIALECTS["1.1"])

        async def passed_over(*_args: Any, **_more: Any) -> str:
            await put(server.url, path, body, DIALECTS["1.1"])
            return at(server, f"/{path}")

        monkeypatch.setattr(lab.client, "copy", passed_over)
        with pytest.raises(Problem, match=word) as caught:
            await lab.clone(source, "there")
        assert caught.value.code is Code.CDMI_REFUSED and server.store.find(f"/{path}") is None
