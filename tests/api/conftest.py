"""A daemon's API over a fake engine on a real Unix socket, and a caller with real HTTP."""

import io
import json
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from agent.api.app import create_app
from agent.api.serve import serve
from tests.api.engine import FakeEngine


@dataclass(frozen=True)
class Answer:
    """What came back."""

    status: int
    headers: dict[str, str]
    text: str

    @property
    def json(self) -> Any:
        """The body."""
        return json.loads(self.text)

    @property
    def code(self) -> str:
        """The problem's code, after checking that it is a well-formed problem."""
        assert self.headers["Content-Type"].startswith("application/problem+json"), self.text
        assert set(self.json) == {"type", "title", "status", "code", "detail", "hint", "attachment", "step"}
        assert self.json["status"] == self.status
        return str(self.json["code"])


@dataclass(frozen=True)
class Caller:
    """Somebody at the socket."""

    path: Path
    session: aiohttp.ClientSession

    async def call(self, method: str, path: str, body: Any = None, *, raw: bytes | None = None) -> Answer:
        """One request."""
        data = io.BytesIO(raw) if raw is not None else None if body is None else json.dumps(body).encode()
        async with self.session.request(method, f"http://localhost{path}", data=data) as response:
            return Answer(response.status, dict(response.headers), await response.text())

    async def attach(self, name: str = "one-42-0", query: str = "", **fields: Any) -> Answer:
        """PUT of an attachment."""
        body = {"source": "cdmi://my.cdmi-server.tld/cdmi_objectid/45234"} | fields
        return await self.call("PUT", f"/v1/attachments/{name}{query}", body)


@pytest.fixture
async def engine() -> AsyncIterator[FakeEngine]:
    engine = FakeEngine()
    yield engine
    await engine.settle()


@pytest.fixture
async def caller(engine: FakeEngine, tmp_path: Path) -> AsyncIterator[Caller]:
    path = tmp_path / "control.sock"
    runner = await serve(create_app(engine, group_gid=None), path, group_gid=None, environ={})
    async with aiohttp.ClientSession(connector=aiohttp.UnixConnector(str(path))) as session:
        yield Caller(path, session)
    await runner.cleanup()
    assert not path.exists()
