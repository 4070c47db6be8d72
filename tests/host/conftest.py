"""The hosts that the contract tests run on: `pytest tests/host --host linux` in a lab guest, models elsewhere."""

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from importlib import import_module
from pathlib import Path

import pytest

from tests.host.world import World

HOSTS: Mapping[str, str] = {
    "simulated": "tests.host.simulated_world",
    "remote": "tests.host.simulated_world",
    "linux": "tests.host.linux_world",
}
HERE = ("simulated", "remote")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--host", action="append", dest="hosts", choices=list(HOSTS), help="run the contract tests on it")


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "host_name" in metafunc.fixturenames:
        metafunc.parametrize("host_name", metafunc.config.getoption("hosts", None) or HERE)


@pytest.fixture
async def world(host_name: str, tmp_path: Path) -> AsyncIterator[World]:
    """A host and its world; at the end nothing of the world is left."""
    make: Callable[[Path], Awaitable[World]] = getattr(import_module(HOSTS[host_name]), f"{host_name}_world")
    world = await make(tmp_path)
    try:
        yield world
    finally:
        await world.close()
