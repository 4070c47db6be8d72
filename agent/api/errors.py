"""Every answer that is not a success becomes problem+json here, and nothing else leaks out."""

import asyncio
import logging
from collections.abc import Awaitable, Callable

from aiohttp import web

from attachers.problems import Code, Problem

log = logging.getLogger(__name__)

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


@web.middleware
async def problems(request: web.Request, handler: Handler) -> web.StreamResponse:
    """The ladder at the border: cancelled, known problem, HTTP error, and everything else, which is ours."""
    try:
        return await handler(request)
    except asyncio.CancelledError:
        raise
    except Problem as problem:
        return answer(request, problem)
    except web.HTTPException as error:
        return _http_error(request, error)
    except ConnectionError:
        raise
    except Exception:
        log.exception("%s %s failed", request.method, request.path)
        hint = "journalctl -u cdmi-attachd has the cause"
        return answer(request, Problem(Code.INTERNAL, "something went wrong inside cdmi-attachd", hint=hint))


def answer(request: web.Request, problem: Problem, headers: dict[str, str] | None = None) -> web.Response:
    """The problem as a response."""
    body = problem.as_dict() | {"attachment": request.match_info.get("name", "")}
    return web.json_response(body, status=problem.status, content_type="application/problem+json", headers=headers)


def too_large() -> Problem:
    """The body is above the limit."""
    return Problem(Code.TOO_LARGE, "the body is too large", hint="send at most 64 KiB")


def _http_error(request: web.Request, error: web.HTTPException) -> web.StreamResponse:
    path = ascii(request.path)[1:-1][:200]
    hint = "GET /v1/openapi.json lists the routes"
    match error:
        case web.HTTPMethodNotAllowed():
            detail = f"{request.method} is not a method of {path}"
            problem = Problem(Code.BAD_REQUEST, detail, hint=hint, status=405)
            return answer(request, problem, {"Allow": ", ".join(sorted(error.allowed_methods))})
        case web.HTTPNotFound():
            return answer(request, Problem(Code.NOT_FOUND, f"there is no {path}", hint=hint))
        case web.HTTPRequestEntityTooLarge():
            return answer(request, too_large())
        case _ if error.status >= 400:
            return answer(
                request, Problem(Code.BAD_REQUEST, f"HTTP {error.status}: {error.reason}", status=error.status)
            )
        case _:
            raise error
