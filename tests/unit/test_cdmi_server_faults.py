"""Faults of the CDMI server: each action as its client meets it.

aiohttp's client repeats a GET, PUT or DELETE once by itself when the connection breaks: hence two times.
"""

import asyncio

import aiohttp
import pytest

from tests.cdmi_server.faults import Action, Fault, RequestKind
from tests.cdmi_server.runner import ServerHandle
from tests.unit.test_cdmi_server import CONTAINER, HOST1, VERSION, at, exports, get, http, make_lun, put, server

__all__ = ["http", "server"]


async def test_a_status_as_often_as_asked(http: aiohttp.ClientSession, server: ServerHandle) -> None:
    await make_lun(http, server, "vol")
    server.faults.set("get-exports", Fault(Action.STATUS, status=503, times=2))
    await get(http, server, "vol/")
    for status in (503, 503, 200):
        await get(http, server, "vol/?exports", status=status)


async def test_faults_are_set_over_http(http: aiohttp.ClientSession, server: ServerHandle) -> None:
    path = f"{server.origin}/.faults"
    async with http.post(path, json={"kind": "capabilities", "action": "status", "status": 500}) as answer:
        assert answer.status == 204
    await get(http, server, "cdmi_capabilities/", status=500)
    async with http.get(path) as answer:
        assert (await answer.json())["capabilities"]["status"] == 500
    async with http.delete(path) as answer:
        assert answer.status == 204
    await get(http, server, "cdmi_capabilities/")
    wrong: list[object] = [{}, {"kind": "x", "action": "cut"}, {"kind": "delete", "action": "cut", "more": 1}, []]
    for body in wrong:
        async with http.post(path, json=body) as answer:
            assert answer.status == 400


async def test_a_cut_body_is_noticed(http: aiohttp.ClientSession, server: ServerHandle) -> None:
    await put(http, server, "a.txt", {"value": "hello"})
    for kind, headers in ((RequestKind.GET_VALUE, {}), (RequestKind.GET_OBJECT, VERSION)):
        server.faults.set(kind, Fault(Action.CUT, times=1))
        async with http.get(at(server, "a.txt"), headers=headers) as answer:
            assert answer.status == 200
            with pytest.raises(aiohttp.ClientPayloadError):
                await answer.read()
        async with http.get(at(server, "a.txt"), headers=headers) as answer:
            assert b"hello" in await answer.read()


@pytest.mark.parametrize("action", [Action.CUT, Action.RESET])
async def test_an_answer_is_lost_after_the_work_is_done(
    http: aiohttp.ClientSession, server: ServerHandle, action: Action
) -> None:
    await make_lun(http, server, "vol")
    server.faults.set("put-exports", Fault(action, times=2, after=True))
    with pytest.raises(aiohttp.ClientConnectionError):
        await http.put(at(server, "vol/?exports"), json={"exports": exports(HOST1)}, headers=CONTAINER)
    changed = await get(http, server, "vol/?exports")
    assert changed["exports"]["Network/iSCSI"]["permissions"] == [HOST1]


async def test_a_reset_before_the_work_changes_nothing(http: aiohttp.ClientSession, server: ServerHandle) -> None:
    await make_lun(http, server, "vol")
    server.faults.set("delete", Fault(Action.RESET, times=2))
    with pytest.raises(aiohttp.ClientConnectionError):
        await http.delete(at(server, "vol/"))
    await get(http, server, "vol/")


async def test_garbage_looks_like_cdmi_from_outside(http: aiohttp.ClientSession, server: ServerHandle) -> None:
    server.faults.set("get-object", Fault(Action.GARBAGE, times=1))
    async with http.get(server.url, headers=VERSION) as answer:
        assert answer.status == 200
        assert answer.headers["Content-Type"] == "application/cdmi-container"
        with pytest.raises(ValueError):
            await answer.json(content_type=None)


async def test_a_delay_ends_when_faults_are_cleared(http: aiohttp.ClientSession, server: ServerHandle) -> None:
    server.faults.set("get-object", Fault(Action.DELAY, seconds=3600))
    waiting = asyncio.create_task(get(http, server, ""))
    done, _ = await asyncio.wait({waiting}, timeout=0.2)
    assert not done
    async with http.delete(f"{server.origin}/.faults") as answer:
        assert answer.status == 204
    assert (await waiting)["objectID"] == server.store.root.id


async def test_a_short_delay_passes(http: aiohttp.ClientSession, server: ServerHandle) -> None:
    server.faults.set("get-object", Fault(Action.DELAY, seconds=0.01))
    await get(http, server, "")
