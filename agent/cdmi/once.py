"""A body that is sent once: what changes something on a server is not repeated behind our back.

aiohttp repeats an idempotent request (PUT and DELETE among them) by itself when its connection breaks, since 3.10 on a
new connection as well (`ClientSession._request`, RFC 9112 clause 9.3.1). Of a body that comes piece by piece it then
sends what is left, which may be nothing: the object is emptied, and the server says yes. And what makes or deletes an
object, or replaces its exports, may the second time meet what somebody else has put there meanwhile.
"""

from collections.abc import AsyncIterator

from aiohttp import ClientConnectionError


class Once:
    """An async iterable that can be begun once. aiohttp begins it for each request that it makes of it.

    `__aiter__` raises `ClientConnectionError` the second time: before there is a second request.
    """

    def __init__(self, pieces: AsyncIterator[bytes]) -> None:
        self._pieces: AsyncIterator[bytes] | None = pieces

    def __aiter__(self) -> AsyncIterator[bytes]:
        pieces, self._pieces = self._pieces, None
        if pieces is None:
            raise ClientConnectionError("the connection broke, and the request is not sent a second time")
        return pieces


async def one_piece(body: bytes) -> AsyncIterator[bytes]:
    """A body that is there already; none where it is empty."""
    if body:
        yield body
