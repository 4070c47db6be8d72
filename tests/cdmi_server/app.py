"""The web application: log in, administer, meet a fault, or be answered."""

from aiohttp import web

from tests.cdmi_server import operations
from tests.cdmi_server.dialects import DIALECTS
from tests.cdmi_server.faults import Faults, kind_of, read_fault, with_fault
from tests.cdmi_server.hostile import Hostile
from tests.cdmi_server.service import Service
from tests.cdmi_server.wire import (
    VERSION_HEADER,
    Asked,
    CdmiError,
    check_login,
    read_request,
    refusal,
    version_headers,
)

_LARGEST_JSON = 256 << 20
FAULTS_PATH = "/.faults"
SWAP_PATH = "/.admin/swap"
RESIZE_PATH = "/.admin/resize"


def make_app(service: Service, faults: Faults) -> web.Application:
    """Return the application; the service must have been started."""
    dialect = DIALECTS[service.settings.dialect]
    hostile = Hostile(service.settings.hostile) if service.settings.hostile else None

    async def handle(request: web.Request) -> web.StreamResponse:
        try:
            response = await _answer(service, faults, request)
            return response if hostile is None else await hostile.spoil(request, response)
        except CdmiError as error:
            response = refusal(error)
            if VERSION_HEADER in request.headers:
                response.headers.update(version_headers(dialect, dialect.version))
            if request.can_read_body:  # what the client is still sending would be taken for its next request
                response.force_close()
            return response

    app = web.Application(client_max_size=_LARGEST_JSON)
    app.router.add_route("*", "/{path:.*}", handle)
    return app


async def _answer(service: Service, faults: Faults, request: web.Request) -> web.StreamResponse:
    settings = service.settings
    if settings.user is not None:
        check_login(request, settings.user, settings.password)
    if request.path == FAULTS_PATH:
        return await _administer_faults(faults, request)
    if request.path == SWAP_PATH:
        return await _swap(service, request)
    if request.path == RESIZE_PATH:
        return await _resize(service, request)
    asked = read_request(request, settings.root, DIALECTS[settings.dialect])
    fault = faults.take(kind_of(request.method, asked))
    if fault is None:
        return await operations.answer(service, request, asked)

    async def answer(asked: Asked) -> web.StreamResponse:
        return await operations.answer(service, request, asked)

    return await with_fault(request, asked, fault, faults=faults, answer=answer)


async def _administer_faults(faults: Faults, request: web.Request) -> web.Response:
    match request.method:
        case "GET":
            return web.json_response(faults.describe())
        case "POST":
            faults.set(*read_fault(await _json(request)))
        case "DELETE":
            faults.clear()
        case _:
            raise CdmiError(501, f"{request.method} is not implemented")
    return web.Response(status=204)


async def _swap(service: Service, request: web.Request) -> web.Response:
    body = await _json(request)
    if request.method != "POST" or not isinstance(body, dict) or not {"uri_a", "uri_b"} <= set(body):
        raise CdmiError(400, "POST an object with uri_a and uri_b")
    async with service.lock:
        await service.swap(service.at(str(body["uri_a"])), service.at(str(body["uri_b"])))
    return web.Response(status=204)


async def _resize(service: Service, request: web.Request) -> web.Response:
    body = await _json(request)
    if request.method != "POST" or not isinstance(body, dict) or type(body.get("size")) is not int:
        raise CdmiError(400, "POST an object with uri and size (bytes)")
    async with service.lock:
        await service.resize(service.at(str(body.get("uri"))), body["size"])
    return web.Response(status=204)


async def _json(request: web.Request) -> object:
    try:
        body: object = await request.json()
    except ValueError as error:
        raise CdmiError(400, f"The body is not JSON: {error}") from error
    return body
