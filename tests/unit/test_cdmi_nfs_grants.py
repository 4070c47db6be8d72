"""This host's place in the lists of an NFS export: by the same conversation as an initiator's in `permissions`."""

from typing import Any

import pytest

from attachers.problems import Code, Problem
from tests.unit.test_cdmi_grants import Peer

KEY, BLOCK = "nfs", "Network/iSCSI"
US, RW, ROOT = "10.0.0.7", "rw_hosts 10.0.0.7", "root_hosts 10.0.0.7"
ENTRY = {
    "protocol": "NFSv4",
    "exportpath": "nas:/srv",
    "mode": "rw",
    "hosts": ["*.example.org"],
    "rw_hosts": ["a", "b"],
}
NEIGHBOUR = {"permissions": ["iqn.2026-01.org.example:other"]}


def peer(**entry: Any) -> Peer:
    return Peer({KEY: ENTRY | entry, BLOCK: dict(NEIGHBOUR)})


def entry_of(peer: Peer) -> dict[str, Any]:
    assert peer.exports is not None
    assert peer.exports[BLOCK] == NEIGHBOUR, "the neighbour stays as it was"
    entry: dict[str, Any] = peer.exports[KEY]
    return entry


async def test_it_comes_and_goes_and_all_else_stays() -> None:
    server = peer()
    async with server.client() as client:
        await client.grant(server.url, KEY, RW, ROOT)
        assert entry_of(server) == ENTRY | {"rw_hosts": ["a", "b", US], "root_hosts": [US]}
        writes = len(server.writes)
        await client.grant(server.url, KEY, RW, ROOT)
        assert len(server.writes) == writes, "it is there already"
        await client.revoke(server.url, KEY, RW, ROOT)
        assert entry_of(server) == ENTRY | {"root_hosts": []}
        await client.revoke(server.url, KEY, RW)


async def test_the_same_address_in_another_spelling_is_there_already() -> None:
    server = peer(rw_hosts=["FD00:0::7"])
    async with server.client() as client:
        await client.grant(server.url, KEY, "rw_hosts fd00::7")
        assert not server.writes
        await client.revoke(server.url, KEY, "rw_hosts fd00::7")
        assert entry_of(server)["rw_hosts"] == []


async def test_an_entry_that_names_nobody_is_left_as_it_is() -> None:
    server = Peer({KEY: {"protocol": "NFSv4", "path": "nas:/srv"}})
    async with server.client() as client:
        await client.grant(server.url, KEY, RW)
        await client.revoke(server.url, KEY, RW)
        assert not server.writes


async def test_what_another_writer_undoes_is_made_again() -> None:
    server, undone = peer(), list[int]()

    def undo() -> None:
        if len(undone) < 2:
            undone.append(1)
            entry_of(server)["rw_hosts"] = ["a", "b", "c"]

    server.after_write = undo
    async with server.client() as client:
        await client.grant(server.url, KEY, RW)
        assert entry_of(server)["rw_hosts"] == ["a", "b", "c", US]


async def test_an_entry_that_is_gone_cannot_let_anybody_in() -> None:
    server = Peer({BLOCK: dict(NEIGHBOUR)})
    async with server.client() as client:
        await client.revoke(server.url, KEY, RW)
        with pytest.raises(Problem) as refused:
            await client.grant(server.url, KEY, RW)
        assert refused.value.code is Code.NOT_FOUND and not server.writes
