"""A site for each test; at its end every host and the server are as they should be."""

from collections.abc import AsyncIterator
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest_asyncio

from tests.opennebula.site import Site, running_site


@pytest_asyncio.fixture
async def site() -> AsyncIterator[Site]:
    """Two hosts, a server, a front-end. Its folder has a short name: a socket's path has 108 bytes at most."""
    with TemporaryDirectory(prefix="one-") as folder:
        async with running_site(Path(folder)) as site:
            yield site
