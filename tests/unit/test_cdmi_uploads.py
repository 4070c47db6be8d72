"""Writing values: on servers of every version, whole or not at all, and what odd servers make of it."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from agent.cdmi import wire
from agent.cdmi.client import CdmiClient
from agent.cdmi.formats import HEAD_BYTES
from attachers.problems import Code, Problem
from tests.cdmi_server.dialects import DIALECTS
from tests.cdmi_server.faults import Action, Fault
from tests.unit.test_cdmi_client import client_of, serving
from tests.unit.test_cdmi_content import VALUE, at_once, read, scene
from tests.unit.test_cdmi_matrix import lab

STEP = 100_000


async def pieces(value: bytes, *, breaks: int | None = None) -> AsyncIterator[bytes]:
    for place in range(0, len(value), STEP):
        if breaks is not None and place >= breaks:
            raise Problem(Code.BAD_REQUEST, "the body broke off", hint="send it again")
        yield value[place : place + STEP]


async def write(
    client: CdmiClient, place: str, value: bytes = VALUE, *, replace: bool = False, known: bool = True, **more: Any
) -> bool:
    length = len(value) if known else None
    return await client.write(place, pieces(value, **more), length=length, replace=replace, pause=at_once)


@pytest.mark.parametrize("known", [True, False])
@pytest.mark.parametrize("name", DIALECTS)
async def test_a_value_is_written_in_every_version(tmp_path: Path, name: str, known: bool) -> None:
    async with lab(tmp_path, name) as here:
        assert await write(here.client, f"{here.url}pool/new", known=known)
        assert await read(here.client, f"{here.url}pool/new") == VALUE
        assert not await write(here.client, f"{here.url}pool/new", b"", replace=True, known=known)
        assert (await here.client.stat(f"{here.url}pool/new")).size == 0


async def test_what_is_there_is_replaced_only_where_that_is_wanted(tmp_path: Path) -> None:
    async with scene(tmp_path, b"precious") as (_, client, source):
        with pytest.raises(Problem, match="there is already something") as caught:
            await write(client, source)
        assert caught.value.code is Code.CONFLICT and await read(client, source) == b"precious"
        assert not await write(client, source, replace=True)
        assert await read(client, source) == VALUE


@pytest.mark.parametrize("known", [True, False])
@pytest.mark.parametrize("there", [True, False])
async def test_what_breaks_off_changes_nothing(tmp_path: Path, there: bool, known: bool) -> None:
    async with scene(tmp_path, b"precious") as (server, client, source):
        place = source if there else f"{source}2"
        with pytest.raises(Problem, match=r"^the body broke off$"):
            await write(client, place, replace=True, known=known, breaks=500_000)
        assert server.store.find("/image2") is None
        assert await read(client, source) == b"precious"


@pytest.mark.parametrize("action", [Action.RESET, Action.STATUS])
async def test_a_server_that_fails(tmp_path: Path, action: Action) -> None:
    async with scene(tmp_path, b"precious") as (server, client, source):
        server.faults.set("put-value", Fault(action, status=507, times=1))
        with pytest.raises(Problem):
            await write(client, f"{source}2")
        assert server.store.find("/image2") is None
        assert await write(client, f"{source}2")


@pytest.mark.parametrize("there", [True, False])
async def test_an_answer_that_is_lost_when_all_was_written_is_no_failure(tmp_path: Path, there: bool) -> None:
    async with scene(tmp_path, b"precious") as (server, client, source):
        server.faults.set("put-value", Fault(Action.RESET, after=True, times=1))
        place = source if there else f"{source}2"
        assert await write(client, place, replace=True) is not there
        assert await read(client, place) == VALUE


@pytest.mark.parametrize("there", [True, False])
async def test_another_hosts_value_that_begins_and_ends_like_ours_is_not_taken_for_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, there: bool
) -> None:
    """Two disk images of one size, written at the same time: the answer to ours is lost, and so was our request."""
    theirs = VALUE[: len(VALUE) // 2] + b"!" + VALUE[len(VALUE) // 2 + 1 :]
    async with scene(tmp_path, b"precious") as (server, client, source), client_of(server.url) as another:
        place = source if there else f"{source}2"
        send = client._wire.send

        async def lost(on: Any, url: str, pieces: AsyncIterator[bytes], headers: Any) -> Any:
            async for _ in pieces:
                pass
            await write(another, place, theirs, replace=True)
            raise Problem(Code.CDMI_UNREACHABLE, "no complete answer", hint="")

        monkeypatch.setattr(client._wire, "send", lost)
        with pytest.raises(Problem, match=r"is not (that of )?what was written; what"):
            await write(client, place, replace=True)
        monkeypatch.setattr(client._wire, "send", send)
        assert await read(client, place) == theirs


async def test_what_only_looks_like_what_was_sent_is_no_success(tmp_path: Path) -> None:
    """The request is lost, and what was there before has its size and its beginning."""
    async with scene(tmp_path, VALUE[:-1] + b"!") as (server, client, source):
        server.faults.set("put-value", Fault(Action.RESET, times=1))
        with pytest.raises(Problem):
            await write(client, source, replace=True)
        assert await read(client, source) == VALUE[:-1] + b"!"


async def test_what_may_be_somebody_elses_whole_upload_stays(tmp_path: Path) -> None:
    """The server says no, and just what we sent is there: another host has written the same in the same moment."""
    async with scene(tmp_path) as (server, client, source):
        server.faults.set("put-value", Fault(Action.STATUS, status=507, after=True, times=1))
        with pytest.raises(Problem, match=r"507.*; what is at .*image2 now may be a part of it"):
            await write(client, f"{source}2")
        assert await read(client, f"{source}2") == VALUE


async def test_a_hash_that_is_not_that_of_what_was_sent(tmp_path: Path) -> None:
    async with scene(tmp_path, b"old", x_hash="00" * 32) as (_, client, source):
        with pytest.raises(Problem, match="sha256 is not that of what was written; what was there before is not as"):
            await write(client, source, replace=True)


@pytest.mark.parametrize(
    ("place", "code"),
    [
        ("vol1", Code.UNSUPPORTED_ON_HOST),
        ("pool", Code.INVALID_REQUEST),
        ("pool/new/", Code.INVALID_REQUEST),
        ("cdmi_objectid/00007ED90010D891022876A8DE0BC0FD", Code.INVALID_REQUEST),
        ("nowhere/new", Code.NOT_FOUND),
    ],
)
async def test_places_where_nothing_can_be_written(tmp_path: Path, place: str, code: Code) -> None:
    async with lab(tmp_path, "1.1") as here:
        with pytest.raises(Problem) as caught:
            await write(here.client, here.url + place, replace=True)
    assert caught.value.code is code and caught.value.hint


class Keeper:
    """A server that keeps whatever part of a value it gets; `there`: before anything is sent; `told`: its size is."""

    def __init__(self, *, there: bytes | None = None, most: int = 1 << 40, told: bool = True) -> None:
        self.value = there
        self.told = told
        self.most = most
        self.deleted = False

    async def __call__(self, request: web.Request) -> web.StreamResponse:
        if request.method == "PUT":
            kept = b""
            try:
                async for piece in request.content.iter_any():
                    kept = (kept + piece)[: self.most]
            except ConnectionError:
                pass
            finally:
                self.value = kept
            return web.Response(status=204)
        if request.method == "DELETE":
            self.value, self.deleted = None, True
            return web.Response(status=204)
        if self.value is None or request.path.endswith("/"):
            return web.Response(status=404)
        if "X-CDMI-Specification-Version" not in request.headers:
            return web.Response(body=self.value)
        metadata = {"cdmi_size": str(len(self.value))} if self.told else {}
        return web.json_response({"objectType": "application/cdmi-object", "objectID": "45234", "metadata": metadata})


@pytest.mark.parametrize("told", [True, False], ids=["size told", "size not told"])
@pytest.mark.parametrize(
    ("kept", "word"),
    [
        (VALUE, ""),
        (VALUE[:-1] + b"!", "from byte 2031616 on"),
        (b"!" + VALUE[1:], "from byte 0 on"),
        (bytes(len(VALUE)), "from byte 0 on"),
        (VALUE[:-1], "has 2097151 bytes after 2097152 were written"),
        (VALUE + b"!", "has 2097153 bytes after 2097152 were written"),
        (b"", "has (0 bytes after 2097152 were|fewer than the 2097152 bytes that were) written"),
    ],
    ids=["as sent", "end", "beginning", "zeros", "cut", "longer", "empty"],
)
async def test_a_write_is_done_when_size_and_content_are_proved(kept: bytes, word: str, told: bool) -> None:
    """The server says yes, and has something else: it tells no hash, and perhaps not even a size."""
    keeper = Keeper(told=told)

    async def answer(request: web.Request) -> web.StreamResponse:
        if request.method == "PUT":
            while await request.content.read(STEP):
                keeper.value = kept
            return web.Response(status=201)
        return await keeper(request)

    async with serving(answer) as url, client_of(url) as client:
        if not word:
            assert await write(client, f"{url}a")
            return
        with pytest.raises(Problem, match=word) as caught:
            await write(client, f"{url}a")
    assert caught.value.code is Code.CDMI_REFUSED


@pytest.mark.parametrize("size", [0, 1, HEAD_BYTES, HEAD_BYTES + 1, 2 * HEAD_BYTES, STEP])
@pytest.mark.parametrize("told", [True, False], ids=["size told", "size not told"])
async def test_values_of_any_size_are_proved(size: int, told: bool) -> None:
    keeper = Keeper(told=told)
    async with serving(keeper) as url, client_of(url) as client:
        assert await write(client, f"{url}a", VALUE[:size])
    assert keeper.value == VALUE[:size]


async def test_what_cannot_be_read_back_is_not_done() -> None:
    """A server that answers the CDMI representation to a plain GET, say, or nothing."""
    keeper = Keeper()

    async def answer(request: web.Request) -> web.StreamResponse:
        if request.method == "GET" and "X-CDMI-Specification-Version" not in request.headers:
            return web.Response(status=406)
        return await keeper(request)

    async with serving(answer) as url, client_of(url) as client:
        with pytest.raises(Problem, match="406") as caught:
            await write(client, f"{url}a")
    assert caught.value.code is Code.CDMI_REFUSED


async def test_a_part_that_a_server_keeps_is_told_of_and_stays() -> None:
    """Nothing tells it from what somebody else has put there."""
    keeper = Keeper(most=5 * STEP)
    async with serving(keeper) as url, client_of(url) as client:
        with pytest.raises(Problem, match=r"has 500000 bytes after 2097152 were written; what is at .*a now may be"):
            await write(client, f"{url}a")
    assert not keeper.deleted and keeper.value == VALUE[: 5 * STEP]


@pytest.mark.parametrize("replaced", [False, True])
async def test_what_another_host_has_written_meanwhile_stays(tmp_path: Path, replaced: bool) -> None:
    """Two blank disks begin alike: that of a host that is done is not taken for a part of the one that broke off."""
    blank = bytes(HEAD_BYTES)
    async with scene(tmp_path) as (server, ours, source), client_of(server.url) as theirs:

        async def breaks() -> AsyncIterator[bytes]:
            if replaced:
                await write(theirs, f"{source}2", b"first")
            yield blank + b"A" * STEP
            await write(theirs, f"{source}2", blank + b"B is done", replace=replaced)
            raise Problem(Code.BAD_REQUEST, "the body broke off", hint="send it again")

        with pytest.raises(Problem, match=r"^the body broke off; what is at .*image2 now may be a part of it, or some"):
            await ours.write(f"{source}2", breaks(), length=None, replace=False, pause=at_once)
        assert await read(theirs, f"{source}2") == blank + b"B is done"


async def test_what_somebody_else_has_put_there_stays() -> None:
    keeper = Keeper()

    async def answer(request: web.Request) -> web.StreamResponse:
        if request.method == "PUT":
            await request.read()
            keeper.value = b"somebody else's"
            return web.Response(status=500)
        return await keeper(request)

    async with serving(answer) as url, client_of(url) as client:
        with pytest.raises(Problem, match="500"):
            await write(client, f"{url}a", b"x" * 50)
    assert keeper.value == b"somebody else's"


async def test_a_server_that_takes_nothing_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    import asyncio

    monkeypatch.setattr(wire, "STALLED_S", 0.2)
    over = asyncio.Event()

    async def answer(request: web.Request) -> web.StreamResponse:
        if request.method != "PUT":
            return web.Response(status=404)
        await over.wait()
        return web.Response()

    async with serving(answer) as url, client_of(url) as client:
        with pytest.raises(Problem) as caught:
            await write(client, f"{url}a", VALUE * 8)
        over.set()
    assert (caught.value.code, caught.value.status) == (Code.CDMI_UNREACHABLE, 504)
