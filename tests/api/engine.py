"""An engine that behaves: it keeps attachments in memory, joins repeated requests, and finishes when it is told to."""

import asyncio
import hashlib
import json
import socket
from collections.abc import AsyncGenerator, AsyncIterator, Mapping, Sequence
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass, field, replace
from typing import Any

from agent.caller import DAEMON, Caller
from agent.events import Events
from agent.model import Access, DomainRequest, Moved, Outcome, Part, Phase, Reading, Request
from agent.uses import CAREFUL, Despite
from attachers.problems import Code, Problem
from tests.api.leftovers import FakeLeftovers

SIZE = 100 * 1024 * 1024
WWID = "naa.6001405000000001"


def link(name: str) -> str:
    """Where it is handed out."""
    return f"/run/cdmi-attach/disk/{name}"


def device(request: Request) -> dict[str, Any]:
    """The device as the real engine shows it."""
    path = {"node": "/dev/sda", "hctl": "2:0:0:3", "via": "10.0.0.1:3260", "state": "running"}
    return {
        "kind": "block",
        "path": f"/dev/cdmi-attach/{WWID}",
        "node": "/dev/sda",
        "wwid": WWID,
        "size": SIZE,
        "read_only": request.access is Access.RO,
        "paths": [path],
    }


class Given:
    """Pieces that nobody can pour. Implements `agent.model.Pieces`."""

    def __init__(self, pieces: AsyncGenerator[bytes, None]) -> None:
        self._pieces = pieces

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self._pieces

    async def __anext__(self) -> bytes:
        return await anext(self._pieces)

    def pour_into(self, sink: socket.socket, moved: Moved) -> None:
        """They all come one by one."""

    async def aclose(self) -> None:
        """As the contract says."""
        await self._pieces.aclose()


@dataclass
class FakeEngine:
    """Attaches at once, unless `hold()` was called: then when `release()` is. `callers` are those seen."""

    requests: dict[str, Request] = field(default_factory=dict)
    in_use: set[str] = field(default_factory=set)
    reasons: list[str] = field(default_factory=list)
    callers: list[Caller] = field(default_factory=list)
    forced: list[Caller] = field(default_factory=list)
    numbers: list[int] = field(default_factory=list)
    crash: str = ""
    given: dict[str, dict[str, str]] = field(default_factory=dict)
    events: Events = field(default_factory=Events)
    objects: "FakeObjects" = field(default_factory=lambda: FakeObjects())
    leftovers: FakeLeftovers = field(default_factory=FakeLeftovers)
    operations: "FakeOperations" = field(default_factory=lambda: FakeOperations())
    _done: dict[str, asyncio.Task[None]] = field(default_factory=dict)
    _open: asyncio.Event = field(default_factory=asyncio.Event)

    def __post_init__(self) -> None:
        self.release()

    def hold(self) -> None:
        """Let attaches take until `release`."""
        self._open.clear()

    def release(self) -> None:
        """Let them finish."""
        self._open.set()

    async def attach(
        self, request: Request, *, wait_s: float | None, by: Caller = DAEMON
    ) -> tuple[Outcome, dict[str, Any]]:
        """As the contract says."""
        self.callers.append(by)
        if self.crash:
            raise RuntimeError(self.crash)
        if self.requests.get(request.name, request).source != request.source:
            raise Problem(Code.CONFLICT, f"{request.name} stands for something else", hint="choose another name")
        known = self._done.get(request.name)
        if known is not None and known.done():
            return Outcome.ALREADY, self.view(request.name)
        self.requests[request.name] = request
        task = known or asyncio.create_task(self._attach())
        self._done[request.name] = task
        await asyncio.wait([task], timeout=request.timeout_s if wait_s is None else wait_s)
        return (Outcome.CREATED if task.done() else Outcome.PENDING), self.view(request.name)

    async def _attach(self) -> None:
        await self._open.wait()

    async def detach(self, name: str, *, force: bool, generation: int | None = None, by: Caller = DAEMON) -> bool:
        """As the contract says."""
        self.callers.append(by)
        if generation is not None:
            self.numbers.append(generation)
        if force:
            self.forced.append(by)
        if name in self.in_use:
            raise Problem(Code.IN_USE, f"{name} is held by qemu-system-x86 (pid 42)", hint="stop it first")
        self._done.pop(name, None)
        return self.requests.pop(name, None) is not None

    async def give(self, name: str, wanted: DomainRequest, *, by: Caller = DAEMON) -> dict[str, Any]:
        """As the contract says."""
        self.callers.append(by)
        self.view(name)
        self.given.setdefault(name, {})[wanted.name] = wanted.target
        return self.view(name)

    async def take(self, name: str, domain: str, *, by: Caller = DAEMON) -> None:
        """As the contract says."""
        self.callers.append(by)
        self.given.get(name, {}).pop(domain, None)

    async def confirm(self, name: str, *, generation: int | None = None, by: Caller = DAEMON) -> dict[str, Any]:
        """As the contract says."""
        self.callers.append(by)
        self.numbers += [] if generation is None else [generation]
        self.view(name)
        self.requests[name] = replace(self.requests[name], lease_s=None)
        return self.view(name)

    async def resize(self, name: str, *, by: Caller = DAEMON) -> dict[str, Any]:
        """As the contract says."""
        self.callers.append(by)
        return self.view(name)

    def view(self, name: str) -> dict[str, Any]:
        """As the contract says."""
        if name not in self.requests:
            raise Problem(Code.NOT_FOUND, f"there is no attachment {name}", hint="cdmi-attach status lists them")
        request, done = self.requests[name], self._done[name].done()
        return {
            "name": name,
            "source": request.source,
            "phase": Phase.ATTACHED if done else Phase.ATTACHING,
            "protocol": "iscsi",
            "verified": done,
            "link": link(name) if done else None,
            "device": device(request) if done else None,
            "disk_xml": None,
            "lease": {"seconds": request.lease_s, "ends": None} if request.lease_s else None,
            "domains": [
                {"name": one, "target": target, "state": "given"} for one, target in self.given.get(name, {}).items()
            ],
            "steps": [{"at": "2026-01-01T00:00:00.000Z", "took_ms": 41, "what": "log in to iqn... at 10.0.0.1:3260"}],
            "problem": None,
        }

    def listing(self, *, prefix: str = "") -> bytes:
        """As the contract says."""
        names = [name for name in sorted(self.requests) if name.startswith(prefix)]
        return json.dumps({"attachments": [self.view(name) for name in names]}).encode()

    async def resolve(self, source: str) -> dict[str, Any]:
        """As the contract says."""
        if "missing" in source:
            raise Problem(Code.NOT_FOUND, f"{source}: the server has no such object", hint="look at the ID")
        exports = [
            {"key": "iSCSI", "protocol": "iscsi", "usable": True, "used": True, "reason": ""},
            {
                "key": "Network/NFSv4",
                "protocol": "nfs",
                "usable": False,
                "used": False,
                "reason": "not in this version",
            },
        ]
        return {"source": source, "uri": source, "kind": "container", "size": SIZE, "exports": exports, "problem": None}

    async def host(self) -> dict[str, Any]:
        """As the contract says."""
        protocols = {"iscsi": {"available": True, "reason": ""}, "fc": {"available": False, "reason": "no HBA"}}
        return {
            "hostname": "host1",
            "initiator_name": "iqn.1993-08.org.debian:01:abc",
            "wwpns": [],
            "protocols": protocols,
        }

    async def health(self) -> dict[str, Any]:
        """As the contract says."""
        return {"ok": not self.reasons, "reasons": list(self.reasons)}

    async def settle(self) -> None:
        """Finish every task."""
        self.release()
        await asyncio.gather(*self._done.values())


@dataclass
class FakeObjects:
    """One object that is there, by any source without `missing` in it; `attached` while it must not go."""

    metadata: dict[str, str] = field(default_factory=dict)
    deleted: list[str] = field(default_factory=list)
    attached: bool = False
    value: bytes = b"0123456789" * 20_000
    tag: str = "0" * 31 + "1"
    digest: str = ""
    breaks: list[int] = field(default_factory=list)
    """Where, in bytes, the next readings end in a problem."""
    asked: list[tuple[Any, ...]] = field(default_factory=list)
    despite: list[Despite] = field(default_factory=list)
    reading: int = 0
    length: int | None = None

    @asynccontextmanager
    async def read(self, source: str, *, part: Part | None, tag: str) -> AsyncIterator[Reading]:
        """As the contract says."""
        await self.stat(source)
        self.asked.append((part, tag))
        whole = part is None or (tag and tag != self.tag)
        first, end = _span(None if whole else part, len(self.value))
        digest = self.digest or hashlib.sha256(self.value).hexdigest()
        pieces = self._pieces(first, end, self.breaks.pop(0) if self.breaks else end)
        self.reading += 1
        try:
            async with aclosing(pieces):
                yield Reading(first, end, len(self.value), self.tag, ("sha256", digest), Given(pieces))
        finally:
            self.reading -= 1

    async def write(
        self,
        destination: str,
        pieces: AsyncIterator[bytes],
        *,
        length: int | None,
        replace: bool,
        despite: Despite = CAREFUL,
    ) -> tuple[bool, dict[str, Any]]:
        """As the contract says."""
        self.despite.append(despite)
        if "taken" in destination and not replace:
            raise Problem(Code.CONFLICT, "uri: there is already something", hint="choose another place")
        if "refusing" in destination:
            raise Problem(Code.CDMI_REFUSED, "no more room", hint="make some")
        value = b"".join([piece async for piece in pieces])
        self.value, self.length = value, length
        return "taken" not in destination, await self.stat(destination)

    async def resize(self, source: str, size: int, *, shrink: bool, despite: Despite = CAREFUL) -> dict[str, Any]:
        """As the contract says."""
        self.despite.append(despite)
        self.asked.append((source, size, shrink))
        return await self.stat(source) | {"size": size}

    async def fence(self, source: str, names: Sequence[str], *, despite: Despite = CAREFUL) -> dict[str, Any]:
        """As the contract says."""
        self.despite.append(despite)
        self.asked.append((source, tuple(names)))
        let_in = [name for name in names if not name.endswith(":nobody")]
        left = {"key": "iSCSI", "protocol": "iscsi", "withdrawn": let_in, "permissions": []}
        return {"uri": source, "host": list(names), "exports": [left]}

    async def capacity(self, source: str) -> dict[str, Any]:
        """As the contract says."""
        return {"source": source, "used": 10 << 30, "free": None, "total": None, "by": "the sum of 3 objects"}

    async def _pieces(self, first: int, end: int, at: int) -> AsyncGenerator[bytes, None]:
        for place in range(first, min(end, at), 4096):
            yield self.value[place : min(place + 4096, end, at)]
        if at < end:
            raise Problem(Code.CDMI_UNREACHABLE, "it broke", hint="")

    async def stat(self, source: str) -> dict[str, Any]:
        """As the contract says."""
        if "missing" in source:
            raise Problem(Code.NOT_FOUND, f"{source}: the server has no such object", hint="look at the ID")
        return {
            "source": source,
            "uri": source,
            "object_id": "45234",
            "places": ["https://s/cdmi/disk.img"],
            "name": "disk.img",
            "kind": "dataobject",
            "size": SIZE,
            "format": "qcow2",
            "hash": {"algorithm": "SHA256", "value": "00" * 32},
            "times": {"created": "2026-01-01T00:00:00Z", "modified": None, "accessed": None},
            "metadata": dict(self.metadata),
            "attachments": ["one"] if self.attached else [],
        }

    async def users(self, source: str) -> dict[str, Any]:
        """As the contract says."""
        told = {"others": ["iqn.2026-01.org.example:host-2"], "anybody": [], "snapshots": ["monday", "tuesday"]}
        return await self.stat(source) | told

    async def change(self, source: str, metadata: Mapping[str, str | None]) -> dict[str, Any]:
        """As the contract says."""
        now = self.metadata | dict(metadata)
        self.metadata = {name: value for name, value in now.items() if value is not None}
        return await self.stat(source)

    async def delete(self, source: str, *, despite: Despite = CAREFUL) -> bool:
        """As the contract says."""
        self.despite.append(despite)
        if self.attached:
            raise Problem(Code.IN_USE, "source: the object is attached here as one", hint="detach first")
        self.deleted.append(source)
        return self.deleted.count(source) == 1


def _span(part: Part | None, total: int) -> tuple[int, int]:
    if part is None:
        return 0, total
    first = total - (part.last or 0) if part.first is None else part.first
    end = total if part.first is None or part.last is None else min(part.last + 1, total)
    if first >= end:
        raise Problem(Code.INVALID_REQUEST, "Range: nothing of it is there", hint="ask for less", status=416)
    return first, end


@dataclass
class FakeOperations:
    """Copies and snapshots that are done at once, unless the caller does not wait."""

    asked: list[tuple[Any, ...]] = field(default_factory=list)
    known: dict[str, dict[str, Any]] = field(default_factory=dict)
    despite: list[Despite] = field(default_factory=list)

    async def clone(
        self, source: str, destination: str, *, size: int | None, metadata: Mapping[str, str], wait_s: float
    ) -> tuple[bool, dict[str, Any]]:
        """As the contract says."""
        if "taken" in destination:
            raise Problem(Code.CONFLICT, "destination: there is already something", hint="choose another place")
        self.asked.append((source, destination, size, dict(metadata), wait_s))
        return self._made("clone", source, destination, wait_s)

    async def snapshot(self, source: str, name: str, *, wait_s: float) -> tuple[bool, dict[str, Any]]:
        """As the contract says."""
        self.asked.append((source, name, wait_s))
        return self._made("snapshot", source, f"{source}/cdmi_snapshots/{name}/", wait_s)

    async def create(
        self, destination: str, *, kind: str, size: int | None, metadata: Mapping[str, str], wait_s: float
    ) -> tuple[bool, dict[str, Any]]:
        """As the contract says."""
        self.asked.append((destination, kind, size, dict(metadata), wait_s))
        return self._made("create", None, destination, wait_s)

    async def move(
        self, source: str, destination: str, *, wait_s: float, despite: Despite = CAREFUL
    ) -> tuple[bool, dict[str, Any]]:
        """As the contract says."""
        self.despite.append(despite)
        self.asked.append((source, destination, wait_s))
        return self._made("move", source, destination, wait_s)

    async def restore(
        self, source: str, name: str, *, wait_s: float, despite: Despite = CAREFUL
    ) -> tuple[bool, dict[str, Any]]:
        """As the contract says."""
        self.despite.append(despite)
        self.asked.append((source, name, wait_s))
        done, view = self._made("restore", source, source, wait_s)
        view["note"] = "nothing tells of it" if name == "untold" else None
        return done, view

    def view(self, operation_id: str) -> dict[str, Any]:
        """As the contract says."""
        if operation_id not in self.known:
            raise Problem(Code.NOT_FOUND, f"id: there is no operation {operation_id}", hint="it is long ago")
        return self.known[operation_id]

    def _made(self, kind: str, source: str | None, destination: str, wait_s: float) -> tuple[bool, dict[str, Any]]:
        done = wait_s > 0
        view: dict[str, Any] = {"id": f"op{len(self.known)}", "kind": kind}
        view |= {"source": source, "destination": destination}
        view |= {"state": "done" if done else "running", "percent": 100 if done else 40}
        view |= {"uri": destination if done else None, "object_id": "45235" if done else None}
        view |= {"note": None, "problem": None}
        self.known[view["id"]] = view
        return done, view
