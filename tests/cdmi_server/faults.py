"""Faults on demand: make the next requests of one kind slow, fail, or break off."""

import asyncio
import socket
import struct
from collections.abc import Awaitable, Callable
from dataclasses import asdict, dataclass, replace
from enum import StrEnum
from typing import Any

from aiohttp import web

from tests.cdmi_server.records import Kind
from tests.cdmi_server.wire import Asked, CdmiError, version_headers


class RequestKind(StrEnum):
    """What a request does, as faults tell requests apart."""

    GET_EXPORTS = "get-exports"
    PUT_EXPORTS = "put-exports"
    GET_OBJECT = "get-object"
    PUT_OBJECT = "put-object"
    DELETE = "delete"
    GET_VALUE = "get-value"
    PUT_VALUE = "put-value"
    CAPABILITIES = "capabilities"


class Action(StrEnum):
    """What happens instead of, or around, the right answer."""

    DELAY = "delay"
    STATUS = "status"
    CUT = "cut"
    GARBAGE = "garbage"
    RESET = "reset"


@dataclass(frozen=True)
class Fault:
    """One fault: seconds belong to delay, status to status; times None means until cleared.

    after: let the request take effect first, so that only its answer is lost (delay, status, garbage, reset).
    """

    action: Action
    seconds: float = 0.0
    status: int = 503
    times: int | None = None
    after: bool = False


class Faults:
    """The faults that are set, at most one for each kind of request."""

    def __init__(self) -> None:
        self._set: dict[RequestKind, Fault] = {}
        self._left: dict[RequestKind, int] = {}
        self._cleared = asyncio.Event()

    def set(self, kind: RequestKind | str, fault: Fault) -> None:
        """Set the fault for requests of this kind, in place of another."""
        kind = RequestKind(kind)
        self._set[kind] = fault
        self._left[kind] = -1 if fault.times is None else fault.times

    def clear(self) -> None:
        """Remove all faults, and end the delays that are being waited for."""
        self._set.clear()
        self._cleared.set()
        self._cleared = asyncio.Event()

    def take(self, kind: RequestKind) -> Fault | None:
        """Return the fault that this request shall meet, and count it."""
        if kind not in self._set or self._left[kind] == 0:
            return None
        self._left[kind] -= 1
        return self._set[kind]

    async def delay(self, seconds: float) -> None:
        """Wait for so long, or until the faults are cleared."""
        try:
            await asyncio.wait_for(self._cleared.wait(), seconds)
        except TimeoutError:
            return

    def describe(self) -> dict[str, Any]:
        """Return the faults that are set, and how often each will yet happen."""
        return {kind: {**asdict(fault), "left": self._left[kind]} for kind, fault in self._set.items()}


def read_fault(body: Any) -> tuple[RequestKind, Fault]:
    """Return what a JSON object sets; 400 when it makes no sense."""
    try:
        rest = dict(body)
        kind = RequestKind(rest.pop("kind"))
        fault = Fault(**{**rest, "action": Action(rest["action"])})
    except (KeyError, TypeError, ValueError) as error:
        raise CdmiError(400, f"No such fault: {error!r}") from error
    return kind, fault


def kind_of(method: str, asked: Asked) -> RequestKind:
    """Return what kind of request this is."""
    reading = method in ("GET", "HEAD")
    if method == "DELETE":
        return RequestKind.DELETE
    if asked.names[:1] == ("cdmi_capabilities",):
        return RequestKind.CAPABILITIES
    if not asked.cdmi:
        return RequestKind.GET_VALUE if reading else RequestKind.PUT_VALUE
    if asked.fields and asked.wants("exports"):
        return RequestKind.GET_EXPORTS if reading else RequestKind.PUT_EXPORTS
    return RequestKind.GET_OBJECT if reading else RequestKind.PUT_OBJECT


Answer = Callable[[Asked], Awaitable[web.StreamResponse]]


async def with_fault(
    request: web.Request, asked: Asked, fault: Fault, *, faults: Faults, answer: Answer
) -> web.StreamResponse:
    """Return what the client gets when the request meets the fault."""
    if fault.action is Action.CUT:
        return await _cut(request, await answer(replace(asked, cut=True)))
    response = await answer(asked) if fault.after else None
    match fault.action:
        case Action.DELAY:
            await faults.delay(fault.seconds)
            return response if response is not None else await answer(asked)
        case Action.STATUS:
            raise CdmiError(fault.status, "Injected fault")
        case Action.GARBAGE:
            types = asked.dialect.media_types(Kind.CONTAINER)
            headers = {**version_headers(asked.dialect, asked.version), "Content-Type": types[0]}
            return web.Response(body=b"<html>\x00\xff not JSON", headers=headers)
        case Action.RESET:
            _reset(request)
            return web.Response(status=fault.status)


async def _cut(request: web.Request, response: web.StreamResponse) -> web.StreamResponse:
    """Announce the whole body, send half of it, and close; without a body: close without an answer."""
    body = response.body if isinstance(response, web.Response) else None
    if isinstance(body, bytes) and body:
        half = web.StreamResponse(status=response.status, headers=response.headers)
        half.content_length = len(body)
        await half.prepare(request)
        await half.write(body[: len(body) // 2])
        response = half
    hang_up(request)
    return response


def hang_up(request: web.Request) -> None:
    """Close the connection after what has been written."""
    if request.transport is not None:
        request.transport.close()


def _reset(request: web.Request) -> None:
    """Close the connection with a TCP reset."""
    transport = request.transport
    if transport is None:
        return
    if sock := transport.get_extra_info("socket"):
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    transport.abort()
