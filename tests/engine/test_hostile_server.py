"""Every attack of the test server's hostile mode, through the whole client and the engine.

Each is refused with a problem that names the rule; no address but the server's own is dialled or looked up, nobody logs
in anywhere, and nothing is written on the server.
"""

import ipaddress
import json
import resource
import sys
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from agent.cdmi.client import CdmiClient
from agent.cdmi.server import Server
from agent.cdmi.wire import Limits
from agent.cli import explain
from agent.engine.desk import Desk, Settings
from agent.engine.engine import Engine
from agent.engine.ledger import MIGRATIONS, Ledger
from agent.host.created import open_created
from agent.host.guarded import GuardedHost
from agent.host.simulated import SimulatedHost
from agent.model import Request
from agent.store import MEMORY, open_store
from attachers import iscsi
from attachers.problems import Code, Problem
from attachers.steps import STEPS, CreateRecord, DeleteRecord, Disown, Own
from tests.api.test_openapi import validator
from tests.cdmi_server.hostile import ATTACKS, IMAGE, NASTY, Attack
from tests.cdmi_server.runner import ServerHandle, running_server

SIZE = 1 << 20
PROTOCOLS = ("iscsi", "fc", "nfs")
REFUSALS = {
    Code.CDMI_REFUSED,
    Code.CDMI_UNREACHABLE,
    Code.NO_USABLE_EXPORT,
    Code.NOT_FOUND,
    Code.DIRTY,
    Code.TARGET_REFUSED,
}
NOTES = CreateRecord | DeleteRecord | Own | Disown
"""Steps that write something down on this host, and dial nobody."""
QUICK = Limits(connect_s=0.5, read_s=0.5, total_s=0.5, write_s=0.5)


class Watch:
    """What the process dials and looks up while it is watched: Python's own audit events, so that nothing escapes."""

    def __init__(self) -> None:
        self.on = False
        self.addresses: set[tuple[Any, ...]] = set()
        self.names: set[str] = set()
        sys.addaudithook(self._hear)

    def _hear(self, event: str, args: tuple[Any, ...]) -> None:
        if self.on and event in ("socket.connect", "socket.sendto") and isinstance(args[1], tuple):
            self.addresses.add(args[1][:2])
        if self.on and event in ("socket.getaddrinfo", "socket.gethostbyname"):
            self.names.add(str(args[0]))

    @contextmanager
    def __call__(self) -> Iterator["Watch"]:
        self.on, self.addresses, self.names = True, set(), set()
        try:
            yield self
        finally:
            self.on = False


WATCH = Watch()


async def resolver(name: str) -> Sequence[str]:
    """What the system's would say; names of attacks that are no names never get here."""
    assert not set(name) & set("\0\n\t\x1b$`;|' \\/\u202e")
    known = {
        "inside.example": "127.0.0.1",
        "2130706433": "127.0.0.1",
        "0x7f000001": "127.0.0.1",
        "0177.0.0.1": "127.0.0.1",
    }
    if name not in known:
        raise OSError(-2, "Name or service not known")
    return [known[name]]


async def put(server: ServerHandle, path: str, body: dict[str, Any]) -> dict[str, Any]:
    kind = "container" if path.endswith("/") else "object"
    headers = {"X-CDMI-Specification-Version": "1.1.1", "Content-Type": f"application/cdmi-{kind}"}
    async with (
        aiohttp.ClientSession(headers=headers) as session,
        session.put(server.url + path, data=json.dumps(body)) as made,
    ):
        found: dict[str, Any] = json.loads(await made.text())
        return found


@asynccontextmanager
async def scene(state: Path, name: str) -> AsyncIterator[tuple[ServerHandle, str]]:
    """A hostile server with a LUN and an image; the source of the victim."""
    async with running_server(state, hostile=name, portals=("10.1.0.1",)) as server:
        body = {"metadata": {"cdmi_assignedsize": str(SIZE)}, "exports": {"Network/iSCSI": {"permissions": []}}}
        made = {"vol1/": await put(server, "vol1/", body)}
        for folder in ("pool/", "other/"):
            await put(server, folder, {"metadata": {"x_nfs_path": "10.1.0.1:/srv"}})
            for file in ("disk.img", "other.img"):
                made[folder + file] = await put(server, folder + file, {"value": "x"})
        victim = made["pool/disk.img" if ATTACKS[name].on == IMAGE else "vol1/"]
        yield server, f"{server.url}cdmi_objectid/{victim['objectID']}"


@asynccontextmanager
async def daemon(disk: Path, url: str, attack: Attack) -> AsyncIterator[tuple[Engine, list[Any]]]:
    """An engine on a simulated host, and the steps that its host takes."""
    networks = tuple(ipaddress.ip_network(network) for network in attack.networks)
    server = Server(url, allow_http=True, storage_networks=networks)
    limits = QUICK if attack.slow else Limits()
    client = CdmiClient([server], protocols=PROTOCOLS, resolver=resolver, limits=limits)
    steps: list[Any] = []

    async def note(_moment: object, what: object) -> None:
        if isinstance(what, STEPS):
            steps.append(what)

    store = open_store(disk / "ledger.sqlite", MIGRATIONS)
    host = GuardedHost(SimulatedHost(hook=note), open_created(MEMORY))
    await host.recover()
    desk = Desk(host, client, Ledger(store), {iscsi.protocol: iscsi}, Settings(PROTOCOLS))
    engine = Engine(desk)
    await engine.start()
    try:
        yield engine, steps
    finally:
        await engine.stop()
        await client.close()
        await host.close()
        store.close()


async def refusal(engine: Engine, source: str, attack: Attack) -> Problem:
    """What resolving says in its explanation, and what an attach comes to."""
    request = Request("one", source, protocols=("nfs",) if attack.on == IMAGE else ("iscsi", "fc"), timeout_s=20)
    with pytest.raises(Problem) as caught:
        await engine.attach(request, wait_s=None)
    return caught.value


async def explanation(engine: Engine, source: str) -> str:
    """What `cdmi-attach resolve` shows of it."""
    try:
        answer = await engine.resolve(source)
    except Problem as problem:
        return problem.detail
    validator("Resolved").validate(json.loads(json.dumps(answer)))
    return explain.text(answer)


@pytest.mark.parametrize("name", ATTACKS)
async def test_an_attack_is_refused_by_its_rule_and_reaches_nothing(tmp_path: Path, name: str) -> None:
    attack = ATTACKS[name]
    async with (
        scene(tmp_path / "server", name) as (server, source),
        daemon(tmp_path, server.url, attack) as (engine, steps),
    ):
        with WATCH() as seen:
            problem = await refusal(engine, source, attack)
            said = await explanation(engine, source)
        assert all(line.isprintable() for line in said.splitlines())
        assert problem.code in REFUSALS
        assert attack.rule in problem.detail
        assert problem.detail.isprintable() and problem.hint
        assert len(problem.detail) < 3000
        own, allowed = ("127.0.0.1", int(server.origin.rpartition(":")[2])), {(host, 3260) for host in attack.dials}
        assert own in seen.addresses and seen.addresses - {own} <= allowed
        assert seen.names <= {"127.0.0.1", *attack.dials}
        assert all(isinstance(step, NOTES) or step.portal in problem.detail for step in steps)
        if attack.dials:
            return
        lun = server.store.find("/vol1/")
        assert lun and lun.volume and lun.volume.export and lun.volume.export.permissions == ()


def test_each_kind_of_string_is_tried_in_each_place() -> None:
    for place in ("portals[0]", "target_identifier", "logical_unit_name", "exportpath", "objectName", "parentURI"):
        assert {f"{place}-{nasty}" for nasty in NASTY} <= set(ATTACKS)


async def test_a_gibibyte_is_not_kept(tmp_path: Path) -> None:
    attack = ATTACKS["gibibyte"]
    async with scene(tmp_path / "server", "gibibyte") as (server, source), daemon(tmp_path, server.url, attack) as made:
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        await refusal(made[0], source, attack)
        grown_kib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    assert grown_kib < 64 << 10
