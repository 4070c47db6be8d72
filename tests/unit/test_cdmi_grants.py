"""This host's place in the permissions of an export: alone, beside others, and against writers at the same moment."""

import asyncio
import copy
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from agent.cdmi.client import CdmiClient
from agent.cdmi.dialects import VERSION_HEADER
from agent.cdmi.grants import LONGEST_SETTLE_S, READS, TRIES
from agent.cdmi.wire import Limits
from attachers.problems import Code, Problem
from tests.cdmi_server.faults import Action, Fault
from tests.unit.test_cdmi_client import ENTRY, client_of, serving
from tests.unit.test_cdmi_resolve import HOST1, lab

KEY = "Network/iSCSI"
US, OTHER, THIRD = "iqn.2026-01.org.example:us", "iqn.2026-01.org.example:other", "iqn.2026-01.org.example:third"
SERVERS_OWN = ("portals", "target_identifier", "logical_unit_number", "logical_unit_name")


class Peer:
    """A server with one object, that replaces `exports` (or, `merging`, its entries' members) at every write.

    `announcing`: it says its version in every answer, as servers of 1.x have to.
    """

    def __init__(self, exports: dict[str, Any] | None, *, merging: bool = False, announcing: bool = True) -> None:
        self.exports = exports
        self.headers = {VERSION_HEADER: "1.1.1"} if announcing else {}
        self.merging = merging
        self.writes: list[dict[str, Any]] = []
        self.methods: list[str] = []
        self.before_read: Callable[[], None] = lambda: None
        self.after_write: Callable[[], None] = lambda: None
        self.url = ""

    def names(self, key: str = KEY) -> list[str]:
        assert self.exports is not None
        names: list[str] = self.exports[key]["permissions"]
        return names

    async def answer(self, request: web.Request) -> web.Response:
        if self.exports is None:
            return web.Response(status=404)
        if request.method == "GET":
            self.before_read()
            return web.json_response({"exports": self.exports}, headers=self.headers)
        assert request.query_string == "exports"
        body = await request.json()
        self.methods.append(request.method)
        self.writes.append(body)
        self.write(body["exports"])
        self.after_write()
        return web.Response(status=204)

    def write(self, entries: dict[str, Any]) -> None:
        assert self.exports is not None
        old, self.exports = self.exports, dict(self.exports) if self.merging else {}
        for key, entry in entries.items():
            own = {name: value for name, value in old.get(key, {}).items() if name in SERVERS_OWN}
            self.exports[key] = copy.deepcopy((old.get(key, {}) if self.merging else own) | entry)

    @asynccontextmanager
    async def client(self, **values: Any) -> AsyncIterator[CdmiClient]:
        async with serving(self.answer) as root, client_of(root, **values) as client:
            self.url = f"{root}cdmi_objectid/45234/"
            yield client


async def held_up(seconds: float) -> None:
    """Answer so much later."""
    over = asyncio.Event()
    asyncio.get_running_loop().call_later(seconds, over.set)
    await over.wait()


def exports_of(permissions: object, **others: Any) -> dict[str, Any]:
    return copy.deepcopy({KEY: ENTRY | {"permissions": permissions}} | others)


async def test_grant_and_revoke_on_the_demos_server(tmp_path: Path) -> None:
    async with lab(tmp_path) as (server, client, _):
        uri = (await client.resolve(f"{server.url}vol1")).uri

        async def permissions() -> tuple[str, ...] | None:
            return (await client.resolve(uri)).exports[0].permissions

        await client.grant(uri, KEY, US)
        await client.grant(uri, KEY, US.upper())
        assert await permissions() == (HOST1, US)
        await client.revoke(uri, KEY, US.upper())
        await client.revoke(uri, KEY, US)
        assert await permissions() == (HOST1,)


async def test_only_the_permissions_are_written() -> None:
    peer = Peer(exports_of([OTHER]))
    async with peer.client() as client:
        await client.grant(peer.url, KEY, US)
    assert peer.writes == [{"exports": {KEY: {"permissions": [OTHER, US]}}}]
    assert peer.methods == ["PUT"]


async def test_a_later_standard_patches_and_keeps_the_type() -> None:
    peer = Peer({"1": ENTRY | {"type": "iSCSI", "permissions": []}})
    async with peer.client(spec_version="2.0.0") as client:
        await client.grant(peer.url, "1", US)
    assert peer.writes == [{"exports": {"1": {"type": "iSCSI", "permissions": [US]}}}]
    assert peer.methods == ["PATCH"]


@pytest.mark.parametrize("merging", [True, False])
async def test_other_entries_stay(merging: bool) -> None:
    occi = {"identifier": "00007E7F", "permissions": ["http://example.com/compute/0/"]}
    second = ENTRY | {"type": "iSCSI", "permissions": [THIRD], "parameters": "p"}
    peer = Peer(exports_of([OTHER], **{"OCCI/iSCSI": occi, "2": second, "childrenrange": "0-1"}), merging=merging)
    async with peer.client() as client:
        await client.grant(peer.url, KEY, US)
        assert peer.names() == [OTHER, US]
        assert peer.exports is not None and (peer.exports["OCCI/iSCSI"], peer.exports["2"]) == (occi, second)
        await client.revoke(peer.url, "2", THIRD)
    assert (peer.names(), peer.names("2")) == ([OTHER, US], [])


@pytest.mark.parametrize(
    ("permissions", "wanted"), [([], [US]), ([OTHER, THIRD], [OTHER, THIRD, US]), (OTHER, [OTHER, US]), ("", [US])]
)
async def test_the_order_of_the_others_stays(permissions: object, wanted: list[str]) -> None:
    peer = Peer(exports_of(permissions))
    async with peer.client() as client:
        await client.grant(peer.url, KEY, US)
    assert peer.names() == wanted


async def test_revoking_takes_every_spelling_of_the_name() -> None:
    peer = Peer(exports_of([US.upper(), OTHER, US]))
    async with peer.client() as client:
        await client.revoke(peer.url, KEY, US)
    assert peer.names() == [OTHER]


@pytest.mark.parametrize("entry", [{}, {"permissions": None}])
async def test_where_anybody_may_nothing_is_written(entry: dict[str, Any]) -> None:
    peer = Peer({KEY: entry})
    async with peer.client() as client:
        await client.grant(peer.url, KEY, US)
        await client.revoke(peer.url, KEY, US)
    assert peer.writes == []


@pytest.mark.parametrize("exports", [None, {}, {"2": ENTRY}])
async def test_what_is_gone_is_revoked_and_cannot_be_granted(exports: dict[str, Any] | None) -> None:
    peer = Peer(exports)
    async with peer.client() as client:
        await client.revoke(peer.url, KEY, US)
        with pytest.raises(Problem) as caught:
            await client.grant(peer.url, KEY, US)
    assert caught.value.code is Code.NOT_FOUND
    assert peer.writes == []


async def test_permissions_that_are_no_names_are_left_alone() -> None:
    peer = Peer(exports_of([{"name": OTHER}]))
    async with peer.client() as client:
        with pytest.raises(Problem) as caught:
            await client.grant(peer.url, KEY, US)
    assert caught.value.code is Code.CDMI_REFUSED
    assert 'exports."Network/iSCSI".permissions' in caught.value.detail
    assert peer.writes == []


async def test_the_object_goes_while_we_revoke() -> None:
    peer = Peer(exports_of([US]))

    def vanish() -> None:
        peer.exports = None

    peer.after_write = vanish
    async with peer.client() as client:
        await client.revoke(peer.url, KEY, US)


async def test_a_writer_that_undoes_our_change_is_answered() -> None:
    peer = Peer(exports_of([]))

    def undo() -> None:
        if len(peer.writes) < 3:
            peer.names()[:] = [OTHER]

    peer.after_write = undo
    async with peer.client() as client:
        await client.grant(peer.url, KEY, US)
    assert peer.names() == [OTHER, US]
    assert len(peer.writes) == 3


async def test_a_late_writer_is_seen_by_the_second_look() -> None:
    """Another host read before we wrote, and writes after we have seen our change for the first time."""
    peer = Peer(exports_of([]))
    reads: list[list[str]] = []

    def late() -> None:
        reads.append(list(peer.names()))
        if len(reads) == 3:
            peer.names()[:] = [OTHER]

    peer.before_read = late
    async with peer.client() as client:
        await client.grant(peer.url, KEY, US)
    assert reads[:3] == [[], [US], [US]]
    assert peer.names() == [OTHER, US]


@pytest.mark.parametrize(("present", "stale"), [(True, [OTHER, THIRD]), (False, [OTHER, US, THIRD])])
async def test_a_write_that_was_long_under_way_is_found_when_all_have_settled(present: bool, stale: list[str]) -> None:
    """Another host read before we wrote, was held up, and writes after we have seen our change: it undoes it."""
    peer = Peer(exports_of([OTHER] if present else [OTHER, US]))

    def late() -> None:
        if len(peer.writes) == 1:
            asyncio.get_running_loop().call_later(0.1, lambda: peer.write(exports_of(stale)))

    peer.after_write = late
    async with peer.client(limits=Limits(settle_s=0.5)) as client:
        await (client.grant if present else client.revoke)(peer.url, KEY, US)
    assert peer.names() == ([OTHER, THIRD, US] if present else [OTHER, THIRD])
    assert len(peer.writes) == 2


async def test_what_was_long_in_coming_is_read_again_before_it_is_written() -> None:
    """We are held up between a read and our write, and another host has come in the meantime: it stays."""
    peer = Peer(exports_of([OTHER]))
    reads = 0

    async def answer(request: web.Request) -> web.Response:
        nonlocal reads
        response = await peer.answer(request)
        reads += request.method == "GET"
        if reads == 1:
            peer.names().append(THIRD)
            await held_up(0.2)
        return response

    async with serving(answer) as root, client_of(root, limits=Limits(settle_s=0.2)) as client:
        await client.grant(f"{root}cdmi_objectid/45234/", KEY, US)
    assert [body["exports"][KEY]["permissions"] for body in peer.writes] == [[OTHER, THIRD, US]]


async def test_a_server_that_is_always_slow_is_not_asked_for_ever() -> None:
    peer = Peer(exports_of([OTHER]))
    before: list[int] = []

    async def answer(request: web.Request) -> web.Response:
        before.append(len(peer.writes))
        await held_up(0.01 / len(before))  # each quicker than the one before: none is as usual
        return await peer.answer(request)

    async with serving(answer) as root, client_of(root, limits=Limits(settle_s=0.0)) as client:
        await client.grant(f"{root}cdmi_objectid/45234/", KEY, US)
    assert before.count(0) <= READS + 1, "the reads, and the write"
    assert peer.names() == [OTHER, US]


async def test_where_nobody_else_is_named_nobody_is_waited_for() -> None:
    peer = Peer(exports_of([]))
    async with peer.client(limits=Limits(settle_s=60.0)) as client, asyncio.timeout(LONGEST_SETTLE_S):
        await client.grant(peer.url, KEY, US)
        assert peer.names() == [US]
        await client.revoke(peer.url, KEY, US)
    assert peer.names() == []


async def test_a_server_that_ignores_the_change_is_given_up() -> None:
    peer = Peer(exports_of([OTHER]))
    peer.after_write = lambda: peer.names().remove(US)
    async with peer.client() as client:
        with pytest.raises(Problem) as caught:
            await client.grant(peer.url, KEY, US)
    assert (caught.value.code, caught.value.status) == (Code.CDMI_REFUSED, 502)
    assert f"{TRIES} tries" in caught.value.detail
    assert len(peer.writes) == TRIES


async def test_a_server_that_loses_a_neighbour_is_found_out() -> None:
    peer = Peer(exports_of([], **{"2": ENTRY}))

    def lose() -> None:
        assert peer.exports is not None
        del peer.exports["2"]

    peer.after_write = lose
    async with peer.client() as client:
        with pytest.raises(Problem, match=r'exports."2" .* is gone') as caught:
            await client.grant(peer.url, KEY, US)
    assert caught.value.code is Code.CDMI_REFUSED


async def test_two_hosts_that_read_before_either_writes_both_get_in() -> None:
    """The worst start for a list without versions: each write undoes the other's."""
    peer = Peer(exports_of([THIRD]))
    readers = 0
    both = asyncio.Event()

    async def answer(request: web.Request) -> web.Response:
        nonlocal readers
        response = await peer.answer(request)
        readers += 1
        if readers == 2:
            both.set()
        await both.wait()
        return response

    async with serving(answer) as root, client_of(root) as one, client_of(root) as two:
        url = f"{root}cdmi_objectid/45234/"
        await asyncio.gather(one.grant(url, KEY, US), two.grant(url, KEY, OTHER))
        assert sorted(peer.names()) == sorted([THIRD, US, OTHER])
        await asyncio.gather(one.revoke(url, KEY, US), two.grant(url, KEY, HOST1))
    assert sorted(peer.names()) == sorted([THIRD, OTHER, HOST1])


@pytest.mark.parametrize("after", [True, False])
async def test_a_lost_answer_is_a_failure_that_may_be_repeated(tmp_path: Path, after: bool) -> None:
    async with lab(tmp_path) as (server, client, _):
        uri = (await client.resolve(f"{server.url}vol1")).uri
        server.faults.set("put-exports", Fault(Action.RESET, after=after))
        with pytest.raises(Problem) as caught:
            await client.grant(uri, KEY, US)
        assert caught.value.code is Code.CDMI_UNREACHABLE
        server.faults.clear()
        await client.grant(uri, KEY, US)
        assert (await client.resolve(uri)).exports[0].permissions == (HOST1, US)


async def test_two_hosts_come_and_go_200_times_and_the_permissions_end_right(tmp_path: Path) -> None:
    """Over real HTTP, at the same moments, beside a third host that stays."""
    soon = Limits(settle_s=0.0)
    async with (
        lab(tmp_path) as (server, _, _),
        client_of(server.url, limits=soon) as one,
        client_of(server.url, limits=soon) as two,
    ):
        uri = f"{server.url}vol1/"

        async def names(client: CdmiClient) -> tuple[str, ...]:
            return (await client.resolve(uri)).exports[0].permissions or ()

        async def come_and_go(client: CdmiClient, name: str) -> None:
            for _ in range(200):
                await client.grant(uri, KEY, name)
                assert name in await names(client)
                await client.revoke(uri, KEY, name)
                assert name not in await names(client)

        await asyncio.gather(come_and_go(one, US), come_and_go(two, OTHER))
        assert await names(one) == (HOST1,)
        await asyncio.gather(one.grant(uri, KEY, US), two.grant(uri, KEY, OTHER))
        assert sorted(await names(two)) == sorted((HOST1, US, OTHER))
