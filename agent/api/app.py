"""The application: the table of routes, joined to what handles them, behind one gate."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from aiohttp import web

from agent.api import content, parse, selecting
from agent.api.audit import ABSENT, Asked, asked, audited
from agent.api.errors import Handler, problems, too_large
from agent.api.fields import Fields, load_object
from agent.api.openapi import document
from agent.api.peer import Gate, PeerOf, gate_of, peer_of_request
from agent.api.routes import ROUTES, Op
from agent.api.streams import stream
from agent.config import Attach
from agent.engine.interface import Engine
from agent.log import caller
from agent.model import Outcome
from attachers import checks
from attachers.problems import Code, Problem

MAX_BODY = 64 * 1024
BODY_TIMEOUT_S = 5.0
"""A caller sends its few hundred bytes at once; one that does not holds nothing but its own connection."""

Scrape = Callable[[], Awaitable[bytes]]
STATUS = {Outcome.CREATED: 201, Outcome.ALREADY: 200, Outcome.PENDING: 202}


async def nothing_to_scrape() -> bytes:
    """No metrics."""
    return b""


def create_app(
    engine: Engine,
    *,
    group_gid: int | None,
    admins_gid: int | None = None,
    allow_uids: frozenset[int] = frozenset({0}),
    settings: Callable[[], Attach] = Attach,
    scrape: Scrape = nothing_to_scrape,
    peer_of: PeerOf = peer_of_request,
) -> web.Application:
    """The API over this engine, for these users, the daemon's own, and the members of this group (and of the admins').

    `settings` gives the `[attach]` table of the moment (it changes on SIGHUP), `scrape` the metrics.
    """
    gate = gate_of(allow_uids, group_gid, admins_gid)
    app = web.Application(client_max_size=MAX_BODY + 1, middlewares=[problems, _gate(gate, peer_of)])
    app.on_shutdown.append(_end_streams(engine))
    handlers = Handlers(engine, settings, scrape).table()
    for route in ROUTES:
        handler = handlers.get(route.op) or _later(route.summary)
        app.router.add_route(route.method, route.path, audited(route, handler, engine.events))
    return app


def _gate(gate: Gate, peer_of: PeerOf) -> Any:
    @web.middleware
    async def allowed(request: web.Request, handler: Handler) -> web.StreamResponse:
        by = gate.caller(peer_of(request))
        asked.set(Asked(by))
        caller.set(f"user {by.uid} (pid {by.pid})")
        return await handler(request)

    return allowed


def _end_streams(engine: Engine) -> Callable[[web.Application], Awaitable[None]]:
    """Readers of events would stay for ever, and keep the daemon from stopping."""

    async def end(_app: web.Application) -> None:
        engine.events.close()

    return end


def _later(summary: str) -> Handler:
    async def answer(request: web.Request) -> web.StreamResponse:
        raise parse.not_yet(summary, "GET /v1/openapi.json says what works: see x-available")

    return answer


class Handlers:
    """What the routes do: read the request, ask the engine, write the answer."""

    def __init__(self, engine: Engine, settings: Callable[[], Attach], scrape: Scrape) -> None:
        self._engine = engine
        self._settings = settings
        self._scrape = scrape
        self._document = document()

    def table(self) -> Mapping[Op, Handler]:
        """The operations that this version has."""
        return {
            Op.LIST: self.list,
            Op.ATTACH: self.attach,
            Op.VIEW: self.view,
            Op.DETACH: self.detach,
            Op.RESOLVE: self.resolve,
            Op.HOST: self.host,
            Op.DOMAIN_ATTACH: self.give,
            Op.DOMAIN_DETACH: self.take,
            Op.CONFIRM: self.confirm,
            Op.RESIZE: self.resize,
            Op.EVENTS: self.events,
            Op.ATTACHMENT_EVENTS: self.events,
            Op.METRICS: self.metrics,
            Op.HEALTH: self.health,
            Op.OPENAPI: self.openapi,
            Op.OBJECT_READ: self.read,
            Op.OBJECT_WRITE: self.write,
            Op.OBJECT_STAT: self.stat,
            Op.OBJECT_CHANGE: self.change,
            Op.OBJECT_DELETE: self.delete,
            Op.OBJECT_CLONE: self.clone,
            Op.OBJECT_SNAPSHOT: self.snapshot,
            Op.OBJECT_CREATE: self.create,
            Op.OBJECT_MOVE: self.move,
            Op.OBJECT_RESTORE: self.restore,
            Op.OBJECT_RESIZE: self.resize_object,
            Op.OBJECT_FENCE: self.fence,
            Op.CAPACITY: self.capacity,
            Op.OPERATION: self.operation,
            Op.LEFTOVERS: self.leftovers,
            Op.LEFTOVERS_CLEAN: self.clean,
        }

    async def list(self, request: web.Request) -> web.Response:
        """All attachments."""
        listing = self._engine.listing(prefix=selecting.prefix(request.query))
        return web.Response(body=listing, content_type="application/json", charset="utf-8")

    async def attach(self, request: web.Request) -> web.Response:
        """PUT of an attachment."""
        parse.known_query(request.query, "wait")
        wait_s = parse.wait_s(request.query)
        name = request.match_info["name"]
        wanted = parse.attach_request(name, Fields(await _body(request)), self._settings())
        outcome, view = await self._engine.attach(wanted, wait_s=wait_s, by=asked.get().by)
        location = {} if outcome is Outcome.ALREADY else {"Location": f"/v1/attachments/{name}"}
        return web.json_response(view, status=STATUS[outcome], headers=location)

    async def view(self, request: web.Request) -> web.Response:
        """One attachment."""
        parse.known_query(request.query)
        return web.json_response(self._engine.view(checks.name(request.match_info["name"])))

    async def detach(self, request: web.Request) -> web.Response:
        """DELETE of an attachment."""
        parse.known_query(request.query, "force", "must_exist", "generation")
        name = checks.name(request.match_info["name"])
        must_exist, force = parse.must_exist(request.query), parse.force(request.query)
        generation = selecting.generation(request.query)
        there = await self._engine.detach(name, force=force, generation=generation, by=asked.get().by)
        return _gone(f"name: there is no attachment {name}", there=there, must_exist=must_exist)

    async def give(self, request: web.Request) -> web.Response:
        """PUT of a domain: the disk becomes its."""
        parse.known_query(request.query)
        wanted = parse.domain_body(request.match_info["domain"], await _body(request))
        name = parse.callers_name(request.match_info["name"])
        return web.json_response(await self._engine.give(name, wanted, by=asked.get().by))

    async def take(self, request: web.Request) -> web.Response:
        """DELETE of a domain: the disk is its no more."""
        parse.known_query(request.query)
        name, domain = checks.name(request.match_info["name"]), checks.domain(request.match_info["domain"])
        await self._engine.take(name, domain, by=asked.get().by)
        return web.Response(status=204)

    async def confirm(self, request: web.Request) -> web.Response:
        """POST of confirm: what was attached for a while stays."""
        parse.known_query(request.query, "generation")
        await _no_body(request)
        name, generation = checks.name(request.match_info["name"]), selecting.generation(request.query)
        return web.json_response(await self._engine.confirm(name, generation=generation, by=asked.get().by))

    async def resize(self, request: web.Request) -> web.Response:
        """POST of resize: the disk has grown."""
        parse.known_query(request.query)
        await _no_body(request)
        name = checks.name(request.match_info["name"])
        return web.json_response(await self._engine.resize(name, by=asked.get().by))

    async def leftovers(self, request: web.Request) -> web.Response:
        """What nobody asks for any more."""
        parse.known_query(request.query)
        return web.json_response(await self._engine.leftovers.found())

    async def clean(self, request: web.Request) -> web.Response:
        """POST of clean: one of them, or all that may go."""
        parse.known_query(request.query)
        item = selecting.leftover(await _body(request))
        return web.json_response(await self._engine.leftovers.clean(item, asked.get().by))

    async def resolve(self, request: web.Request) -> web.Response:
        """What a source is."""
        parse.known_query(request.query)
        return web.json_response(await self._engine.resolve(parse.resolve_request(await _body(request))))

    async def host(self, request: web.Request) -> web.Response:
        """What this host is."""
        parse.known_query(request.query)
        return web.json_response(await self._engine.host())

    async def health(self, request: web.Request) -> web.Response:
        """Whether it works: 200 when it does, 503 with the same object when it does not."""
        health = await self._engine.health()
        return web.json_response(health, status=200 if health.get("ok") else 503)

    async def events(self, request: web.Request) -> web.StreamResponse:
        """Events of one attachment or of all, as lines of JSON."""
        parse.known_query(request.query, "since", "follow")
        name = request.match_info.get("name")
        since, follow = parse.events_query(request.query)
        attachment = None if name is None else checks.name(name)
        return await stream(request, self._engine.events, since=since, attachment=attachment, follow=follow)

    async def metrics(self, request: web.Request) -> web.Response:
        """Metrics in the text format of Prometheus."""
        headers = {"Content-Type": "text/plain; version=0.0.4; charset=utf-8"}
        return web.Response(body=await self._scrape(), headers=headers)

    async def read(self, request: web.Request) -> web.StreamResponse:
        """GET of an object's bytes."""
        uri = parse.object_uri(request.query)
        part, tag = content.part_of(request.headers), content.tag_of(request.headers)
        async with self._engine.objects.read(uri, part=part, tag=tag) as reading:
            return await content.send(request, reading)

    async def write(self, request: web.Request) -> web.StreamResponse:
        """PUT of an object's bytes."""
        uri, replace = parse.object_uri(request.query, parse.EVEN_IF), content.may_replace(request.headers)
        pieces, length, despite = content.pieces_of(request), request.content_length, parse.despite(request.query)
        write = self._engine.objects.write
        fresh, view = await write(uri, pieces, length=length, replace=replace, despite=despite)
        return web.json_response(view, status=201 if fresh else 200)

    async def stat(self, request: web.Request) -> web.Response:
        """What an object is."""
        uri, objects = parse.object_uri(request.query, parse.USERS), self._engine.objects
        look = objects.users if parse.flag(request.query, parse.USERS) else objects.stat
        return web.json_response(await look(uri))

    async def change(self, request: web.Request) -> web.Response:
        """PATCH of an object's metadata."""
        uri = parse.object_uri(request.query)
        return web.json_response(await self._engine.objects.change(uri, parse.metadata(await _body(request))))

    async def delete(self, request: web.Request) -> web.Response:
        """DELETE of an object."""
        uri, must_exist = parse.deleted(request.query), parse.must_exist(request.query)
        there = await self._engine.objects.delete(uri, despite=parse.despite(request.query))
        return _gone("uri: there is no such object", there=there, must_exist=must_exist)

    async def clone(self, request: web.Request) -> web.Response:
        """POST of a copy."""
        parse.known_query(request.query)
        wanted, clone = parse.clone_request(await _body(request)), self._engine.operations.clone
        more: dict[str, Any] = {"size": wanted.size, "metadata": wanted.metadata, "wait_s": wanted.wait_s}
        done, view = await clone(wanted.source, wanted.destination, **more)
        return _operation(view, done=done)

    async def snapshot(self, request: web.Request) -> web.Response:
        """POST of a snapshot."""
        parse.known_query(request.query)
        source, name, wait_s = parse.snapshot_request(await _body(request))
        done, view = await self._engine.operations.snapshot(source, name, wait_s=wait_s)
        return _operation(view, done=done)

    async def create(self, request: web.Request) -> web.Response:
        """POST of a new object."""
        parse.known_query(request.query)
        wanted = parse.create_request(await _body(request))
        done, view = await self._engine.operations.create(
            wanted.uri, kind=wanted.kind, size=wanted.size, metadata=wanted.metadata, wait_s=wanted.wait_s
        )
        return _operation(view, done=done)

    async def move(self, request: web.Request) -> web.Response:
        """POST of a move."""
        parse.known_query(request.query)
        source, destination, wait_s, despite = parse.move_request(await _body(request))
        done, view = await self._engine.operations.move(source, destination, wait_s=wait_s, despite=despite)
        return _operation(view, done=done)

    async def restore(self, request: web.Request) -> web.Response:
        """POST of the way back to a snapshot."""
        parse.known_query(request.query)
        (source, name, wait_s), despite = parse.restore_request(await _body(request))
        done, view = await self._engine.operations.restore(source, name, wait_s=wait_s, despite=despite)
        return _operation(view, done=done)

    async def resize_object(self, request: web.Request) -> web.Response:
        """POST of another size on the server."""
        parse.known_query(request.query)
        uri, size, shrink, despite = parse.resize_request(await _body(request))
        return web.json_response(await self._engine.objects.resize(uri, size, shrink=shrink, despite=despite))

    async def fence(self, request: web.Request) -> web.Response:
        """POST of another host's end."""
        parse.known_query(request.query)
        wanted = parse.fence_request(await _body(request))
        view = await self._engine.objects.fence(wanted.uri, wanted.names, despite=wanted.despite)
        if wanted.must_exist and not any(export["withdrawn"] for export in view["exports"]):
            detail = "host: no export lets it in, by any of these names"
            raise Problem(Code.NOT_FOUND, detail, hint="nothing was changed; see who is let in: cdmi-attach resolve")
        return web.json_response(view)

    async def capacity(self, request: web.Request) -> web.Response:
        """How much room there is."""
        return web.json_response(await self._engine.objects.capacity(parse.object_uri(request.query)))

    async def operation(self, request: web.Request) -> web.Response:
        """One operation."""
        parse.known_query(request.query)
        return web.json_response(self._engine.operations.view(request.match_info["id"]))

    async def openapi(self, request: web.Request) -> web.Response:
        """The contract."""
        return web.json_response(self._document)


async def _no_body(request: web.Request) -> None:
    """Raises `Problem` where there is one, unless it is an empty object."""
    if request.can_read_body:
        Fields(await _body(request)).finish()


def _gone(absent: str, *, there: bool, must_exist: bool) -> web.Response:
    """What is gone: the answer says where it was not there before, and is a problem for who insists that it was."""
    if must_exist and not there:
        raise Problem(Code.NOT_FOUND, absent, hint="nothing was changed; see that the name is the right one")
    return web.Response(status=204, headers={} if there else {ABSENT: "1"})


def _operation(view: dict[str, Any], *, done: bool) -> web.Response:
    headers = {"Location": f"/v1/operations/{view['id']}"}
    return web.json_response(view, status=201 if done else 202, headers=headers)


async def _body(request: web.Request) -> dict[str, Any]:
    if request.headers.get("Content-Encoding", "identity") != "identity":
        raise Problem(Code.BAD_REQUEST, "the body is encoded", hint="send it without Content-Encoding")
    try:
        async with asyncio.timeout(BODY_TIMEOUT_S):
            body = await request.read()
    except TimeoutError:
        raise Problem(Code.BAD_REQUEST, "the body did not arrive in time", hint="send it at once", status=408) from None
    if len(body) > MAX_BODY:  # aiohttp's own limit differs by one between its versions
        raise too_large()
    asked.get().body = found = load_object(body)
    return found
