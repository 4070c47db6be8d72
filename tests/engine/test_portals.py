"""Which portal is tried first: over real sockets, of which some answer and some do not."""

import asyncio
import socket
from collections.abc import Iterator

import pytest

from agent.engine.portals import reachable_first

REFUSED = "127.0.0.1:1"


@pytest.fixture
def silent() -> Iterator[str]:
    """A portal that neither accepts nor refuses: its queue of connections is full."""
    with socket.socket() as listener, socket.socket() as first, socket.socket() as second:
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        address = listener.getsockname()
        for one in (first, second):
            one.setblocking(False)
            one.connect_ex(address)
        yield f"127.0.0.1:{address[1]}"


async def test_the_one_that_answers_comes_first(silent: str) -> None:
    server = await asyncio.start_server(lambda _r, w: w.close(), "127.0.0.1", 0)
    alive = f"127.0.0.1:{server.sockets[0].getsockname()[1]}"
    assert await reachable_first([REFUSED, silent, alive], limit_s=30) == [alive, REFUSED, silent]
    assert await reachable_first([alive, silent], limit_s=30) == [alive, silent]
    server.close()
    await server.wait_closed()


async def test_where_none_answers_the_order_stays(silent: str) -> None:
    assert await reachable_first([silent, REFUSED], limit_s=0.05) == [silent, REFUSED]
    assert await reachable_first([REFUSED, REFUSED], limit_s=30) == [REFUSED, REFUSED]
    assert await reachable_first([silent], limit_s=30) == [silent], "a single one is not asked"
