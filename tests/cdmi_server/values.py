"""The bytes of data objects and LUNs over plain HTTP, whole or by range."""

import asyncio
import os
from pathlib import Path

from aiohttp import web

from tests.cdmi_server.wire import CdmiError, chunks, read_range

_STEP = 1 << 20


async def send(request: web.Request, file: Path, mimetype: str, *, cut: bool) -> web.StreamResponse:
    """Answer with the file's bytes, or with the range of them that is asked for; cut: with half, and no more."""
    handle = os.open(file, os.O_RDONLY)
    try:
        size = os.fstat(handle).st_size
        part = read_range(request, size)
        first, end = part or (0, size)
        response = web.StreamResponse(status=206 if part else 200)
        response.headers.update({"Content-Type": mimetype, "Accept-Ranges": "bytes"})
        if part:
            response.headers["Content-Range"] = f"bytes {first}-{end - 1}/{size}"
        response.content_length = end - first
        await response.prepare(request)
        if request.method == "HEAD":
            return response
        if cut:
            end = first + (end - first) // 2
        for offset, length in chunks(first, end, _STEP):
            await response.write(await asyncio.to_thread(os.pread, handle, length, offset))
        return response
    finally:
        os.close(handle)


async def receive(request: web.Request, file: Path, *, first: int = 0, limit: int | None = None) -> None:
    """Write the request's body into the file from this offset on, up to (not beyond) the limit; else 400.

    The file is written through the page cache, as LIO does: initiators see it as soon as it is answered.
    """
    announced = request.content_length
    if limit is not None and announced is not None and first + announced > limit:
        raise CdmiError(400, f"There is room for {limit - first} bytes at offset {first}, not for {announced}")
    handle = os.open(file, os.O_WRONLY)
    try:
        async for chunk in request.content.iter_chunked(_STEP):
            if limit is not None and first + len(chunk) > limit:
                raise CdmiError(400, f"More bytes than there is room for: {limit}")
            await asyncio.to_thread(_write, handle, chunk, first)
            first += len(chunk)
    finally:
        os.close(handle)


def _write(handle: int, data: bytes, offset: int) -> None:
    view = memoryview(data)
    while view:
        written = os.pwrite(handle, view, offset)
        view, offset = view[written:], offset + written
