"""Events as a stream: one JSON object a line, for as long as the reader stays."""

import json
from contextlib import suppress

from aiohttp import web

from agent.events import Events

HEARTBEAT_S = 15.0
"""After so long without an event an empty line is sent: it finds readers who are gone, and readers skip it."""


async def stream(
    request: web.Request, events: Events, *, since: int, attachment: str | None, follow: bool
) -> web.StreamResponse:
    """All events after number `since`, then (with `follow`) each new one, until the reader hangs up."""
    response = web.StreamResponse(headers={"Content-Type": "application/x-ndjson", "Cache-Control": "no-store"})
    await response.prepare(request)
    with suppress(ConnectionError):
        while True:
            told = events.since(since, attachment=attachment)
            since = max(since, events.last)
            if told:
                await response.write("".join(f"{json.dumps(event)}\n" for event in told).encode())
            if not follow or events.closed:
                break
            if not await events.later_than(since, timeout_s=HEARTBEAT_S):
                await response.write(b"\n")
        await response.write_eof()
    return response
