"""A site for each test; at its end every host and the server are as they should be."""

from collections.abc import AsyncIterator
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
import pytest_asyncio

from agent.engine import making, operations
from tests.opennebula.site import Site, running_site


@pytest.fixture(autouse=True)
def hurried(monkeypatch: pytest.MonkeyPatch) -> None:
    """What a real server is given minutes for."""
    monkeypatch.setattr(operations, "FIRST_PAUSE_S", 0.01)
    monkeypatch.setattr(operations, "LONGEST_PAUSE_S", 0.02)
    monkeypatch.setattr(making, "UNHEARD_S", 0.05)
    monkeypatch.setattr(making, "INVISIBLE_S", 0.5)


@pytest_asyncio.fixture
async def site() -> AsyncIterator[Site]:
    """Two hosts, a server, a front-end. Its folder has a short name: a socket's path has 108 bytes at most."""
    with TemporaryDirectory(prefix="one-") as folder:
        async with running_site(Path(folder)) as site:
            yield site
