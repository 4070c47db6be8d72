"""Values that go from the server into a socket past us: the same bytes, and the same proofs, as piece by piece."""

import asyncio
import socket
from contextlib import aclosing, suppress
from pathlib import Path
from typing import Any

import pytest
import trustme
from aiohttp import web

from agent.cdmi import transfer
from agent.cdmi.client import CdmiClient
from agent.cdmi.wire import Limits
from agent.model import Part, Reading
from attachers.problems import Code, Problem
from tests.cdmi_server.faults import Action, Fault
from tests.unit.test_cdmi_client import client_of, serving, tls_of
from tests.unit.test_cdmi_content import VALUE, Odd, begin, scene, whole
from tests.unit.test_splice import all_of

LONG = VALUE * 6
UNHASHED = {"cdmi_value_hash": ""}


class Poured:
    """What came out of a socket that a reading was poured into, and how much of it nobody has seen."""

    def __init__(self) -> None:
        self.value = b""
        self.unseen = 0
        self._seen = 0

    async def take(self, reading: Reading) -> None:
        """All of it. Raises what the reading raises; `value` is then what came before."""
        loop = asyncio.get_running_loop()
        sink, out = socket.socketpair()
        with sink, out:
            sink.setblocking(False)
            out.setblocking(False)
            arriving = loop.create_task(all_of(out))
            reading.pieces.pour_into(sink, self._moved)
            try:
                async with aclosing(reading.pieces) as pieces:
                    async for piece in pieces:
                        await loop.sock_sendall(sink, piece)
                        self._seen += len(piece)
            finally:
                sink.shutdown(socket.SHUT_WR)
                self.value = await arriving

    def _moved(self, count: int) -> None:
        self.unseen += count


async def pour(client: CdmiClient, source: str, part: Part | None = None) -> Poured:
    poured = Poured()
    await poured.take(await begin(client, source, part))
    return poured


@pytest.mark.parametrize(
    ("part", "first", "end"),
    [(None, 0, len(LONG)), (Part(5, None), 5, len(LONG)), (Part(7, 1 << 22), 7, (1 << 22) + 1)],
)
async def test_most_of_it_is_never_seen_and_all_of_it_comes(
    tmp_path: Path, part: Part | None, first: int, end: int
) -> None:
    async with scene(tmp_path, LONG, **UNHASHED) as (_, client, source):
        for _ in range(2):  # a connection that was taken over is not used again
            poured = await pour(client, source, part)
            assert poured.value == LONG[first:end]
            assert (end - first) / 2 < poured.unseen <= end - first - transfer.HELD


async def test_what_has_a_hash_is_seen(tmp_path: Path) -> None:
    async with scene(tmp_path, LONG) as (_, client, source):
        poured = await pour(client, source)
    assert (poured.value, poured.unseen) == (LONG, 0)


async def test_connections_that_break_are_taken_up_where_they_broke(tmp_path: Path) -> None:
    async with scene(tmp_path, LONG, **UNHASHED) as (server, client, source):
        server.faults.set("get-value", Fault(Action.CUT, times=6))
        poured = await pour(client, source)
        assert server.faults.describe()["get-value"]["left"] == 0
        assert poured.value == LONG and poured.unseen > 0


async def test_what_changes_while_it_is_poured_never_ends(tmp_path: Path) -> None:
    async with scene(tmp_path, LONG, **UNHASHED) as (server, client, source):
        poured, reading = Poured(), await begin(client, source)
        server.store.touch(server.store.find("/image"))
        with pytest.raises(Problem, match="has changed while it was read"):
            await poured.take(reading)
    assert poured.unseen > 0 and LONG.startswith(poured.value)
    assert len(LONG) - transfer.HELD <= len(poured.value) < len(LONG), "the last piece was held back"


async def test_a_server_that_knows_no_ranges_is_seen_up_to_where_they_begin() -> None:
    def answer(_request: web.Request) -> web.Response:
        return web.Response(body=LONG)

    async with serving(Odd(answer, cdmi_size=str(len(LONG)))) as url, client_of(url) as client:
        poured = await pour(client, f"{url}a", Part(len(VALUE), None))
    assert poured.value == LONG[len(VALUE) :]


async def test_chunks_and_tls_are_read_by_hand() -> None:
    def chunked(_request: web.Request) -> web.Response:
        response = web.Response(body=LONG)
        response.enable_chunked_encoding()
        return response

    def plain(_request: web.Request) -> web.Response:
        return web.Response(body=LONG)

    size = str(len(LONG))
    async with serving(Odd(chunked, cdmi_size=size)) as url, client_of(url) as client:
        poured = await pour(client, f"{url}a")
        assert (poured.value, poured.unseen) == (LONG, 0)
    authority = trustme.CA()
    with authority.cert_pem.tempfile() as trusted:
        async with (
            serving(Odd(plain, cdmi_size=size), tls=tls_of(authority, "localhost")) as url,
            client_of(url, ca_file=Path(trusted)) as client,
        ):
            poured = await pour(client, f"{url}a")
            assert (poured.value, poured.unseen) == (LONG, 0)


async def test_a_server_that_falls_silent_in_the_middle_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(transfer, "TRIES", 2)
    over = asyncio.Event()

    async def answer(request: web.Request) -> web.StreamResponse:
        if "X-CDMI-Specification-Version" in request.headers:
            return await Odd(whole, cdmi_size=str(len(LONG)))(request)
        response = web.StreamResponse()
        response.content_length = len(LONG)
        await response.prepare(request)
        if "Range" not in request.headers:
            await response.write(LONG[: len(VALUE)])
        await over.wait()
        return response

    async with serving(answer) as url, client_of(url, limits=Limits(read_s=1, total_s=5)) as client:
        poured = Poured()
        with pytest.raises(Problem) as caught:
            await poured.take(await begin(client, f"{url}a"))
        over.set()
    assert caught.value.code is Code.CDMI_UNREACHABLE
    assert poured.value == VALUE[: len(poured.value)] and poured.unseen > 0


async def test_a_reader_that_goes_away_lets_go_of_the_connection(tmp_path: Path) -> None:
    async with scene(tmp_path, LONG, **UNHASHED) as (_, client, source):
        reading = await begin(client, source)
        sink, out = socket.socketpair()
        with sink:
            sink.setblocking(False)
            reading.pieces.pour_into(sink, lambda _: None)
            out.close()
            with suppress(BrokenPipeError):
                async with aclosing(reading.pieces) as pieces:
                    async for _ in pieces:
                        pass
                pytest.fail("a broken sink is told")
        assert (await pour(client, source)).value == LONG


async def test_pieces_without_a_sink_are_as_they_were(tmp_path: Path) -> None:
    async with scene(tmp_path, LONG, **UNHASHED) as (_, client, source):
        reading: Any = await begin(client, source)
        async with aclosing(reading.pieces) as pieces:
            assert b"".join([piece async for piece in pieces]) == LONG
