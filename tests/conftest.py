"""What holds for every test: warnings are errors, but for those that only old releases of a library cause."""

import aiohttp
import pytest


def pytest_configure(config: pytest.Config) -> None:
    """aiohttp before 3.9 (Debian 12) drops TLS connections without awaiting their end: it shows in later tests."""
    if tuple(int(part) for part in aiohttp.__version__.split(".")[:2]) < (3, 9):
        config.addinivalue_line("filterwarnings", "ignore::pytest.PytestUnraisableExceptionWarning")
