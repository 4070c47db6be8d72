"""The bytes of objects over the socket: which part is wanted, how it is sent, or cut where it cannot be proved."""

import asyncio
import base64
import logging
import re
from collections.abc import AsyncIterator, Mapping

import aiohttp
from aiohttp import web
from aiohttp.http_exceptions import HttpProcessingError

from agent.model import Part, Reading
from attachers import checks
from attachers.problems import Code, Problem

STALLED_S = 600.0
"""How long a reader may not read."""
SILENT_S = 60.0
"""How long a writer may not write."""
DIGESTS = {"sha224": "sha-224", "sha256": "sha-256", "sha384": "sha-384", "sha512": "sha-512", "sha1": "sha"}
"""The names of RFC 9530, and what it would call the others."""
_RANGE = re.compile(r"bytes=(?:(\d{1,18})-(\d{0,18})|-(\d{1,18}))", re.ASCII)
_TAG = re.compile(r'"([0-9a-f]{32})"', re.ASCII)
log = logging.getLogger(__name__)


def part_of(headers: Mapping[str, str]) -> Part | None:
    """What Range asks for, None: all. Raises `Problem` invalid-request."""
    text = headers.get("Range")
    if text is None:
        return None
    match = _RANGE.fullmatch(text.strip())
    wrong = checks.refuse("Range", text, "one part: bytes=0-99, bytes=100- or bytes=-100")
    if not match:
        raise wrong
    if match[3] is not None:
        return Part(None, int(match[3]))
    part = Part(int(match[1]), int(match[2]) if match[2] else None)
    if part.last is not None and part.first is not None and part.last < part.first:
        raise wrong
    return part


def tag_of(headers: Mapping[str, str]) -> str:
    """The ETag in If-Range, empty without one; a form that was never ours stands for another object."""
    text = headers.get("If-Range")
    if text is None:
        return ""
    match = _TAG.fullmatch(text.strip())
    return match[1] if match else "another"


def may_replace(headers: Mapping[str, str]) -> bool:
    """Whether what is there already may be replaced: not with `If-None-Match: *`. Raises `Problem` invalid-request."""
    text = headers.get("If-None-Match", "")
    if text not in ("", "*"):
        raise checks.refuse("If-None-Match", text, "*, or to be left out")
    return text == ""


async def pieces_of(request: web.Request) -> AsyncIterator[bytes]:
    """The body as it comes, to its very end. Raises `Problem` where it does not come, or breaks off."""
    if request.headers.get("Content-Encoding", "identity") != "identity":
        raise Problem(Code.BAD_REQUEST, "the body is encoded", hint="send it without Content-Encoding")
    got, length = 0, request.content_length
    try:
        while True:
            async with asyncio.timeout(SILENT_S):
                piece = await request.content.readany()
            if not piece:
                break
            got += len(piece)
            yield piece
    except TimeoutError:
        what = f"the body stopped after {got} bytes, for {SILENT_S:g} s"
        raise Problem(Code.BAD_REQUEST, what, hint="send it without a pause", status=408) from None
    except (ConnectionError, web.HTTPException, aiohttp.ClientError, HttpProcessingError) as error:
        raise Problem(Code.BAD_REQUEST, f"the body broke off after {got} bytes", hint="send it again") from error
    if length is not None and got != length:
        raise Problem(Code.BAD_REQUEST, f"the body has {got} bytes and not {length}", hint="send it again")


async def send(request: web.Request, reading: Reading) -> web.StreamResponse:
    """All pieces, as fast as they are taken. Where they end in a problem the connection is cut, short of its length."""
    whole = (reading.first, reading.end) == (0, reading.total)
    response = web.StreamResponse(status=200 if whole else 206, headers=_headers(reading, whole=whole))
    response.content_length = reading.end - reading.first
    await response.prepare(request)
    try:
        async with asyncio.timeout(STALLED_S) as limit:
            await _send(request, response, reading, limit)
        await response.write_eof()
    except Problem as problem:
        log.error("GET of content was cut: %s", problem.detail)
        if request.transport is not None:
            request.transport.close()  # what was proved so far still goes out
    except ConnectionError:
        log.info("GET of content: the reader went away")
        _abort(request)
    except TimeoutError:
        log.error("GET of content was cut: nothing was taken for %g s", STALLED_S)
        _abort(request)
    return response


def _abort(request: web.Request) -> None:
    if request.transport is not None:
        request.transport.abort()


async def _send(request: web.Request, response: web.StreamResponse, reading: Reading, limit: asyncio.Timeout) -> None:
    """The pieces, past the transport where it holds nothing back: it would copy what the socket takes only later."""
    transport, loop = request.transport, asyncio.get_running_loop()
    if transport is None:
        raise ConnectionResetError("the reader went away")
    transport.set_write_buffer_limits(0)
    with transport.get_extra_info("socket").dup() as sock:
        sock.setblocking(False)

        def moved(_count: int) -> None:
            limit.reschedule(loop.time() + STALLED_S)

        reading.pieces.pour_into(sock, moved)
        async for piece in reading.pieces:
            if transport.get_write_buffer_size():
                await response.write(piece)
            else:
                await loop.sock_sendall(sock, piece)
            moved(len(piece))


def _headers(reading: Reading, *, whole: bool) -> dict[str, str]:
    headers = {"Content-Type": "application/octet-stream", "Accept-Ranges": "bytes", "Cache-Control": "no-store"}
    if reading.tag:
        headers["ETag"] = f'"{reading.tag}"'
    if not whole:
        headers["Content-Range"] = f"bytes {reading.first}-{reading.end - 1}/{reading.total}"
    if reading.hash:
        name = DIGESTS.get(reading.hash[0], reading.hash[0])
        headers["Repr-Digest"] = f"{name}=:{base64.b64encode(bytes.fromhex(reading.hash[1])).decode()}:"
    return headers
