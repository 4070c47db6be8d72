"""Servers of the field, replayed: what each does differently, as exchanges in recorded/*.toml, written by us."""

import re
import tomllib
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from aiohttp import web

FOLDER = Path(__file__).parent / "recorded"


@dataclass(frozen=True)
class Exchange:
    """One answer, and to what: path and query by a regular expression, headers by one each ("": it is not there)."""

    path: str
    status: int = 200
    method: str = "GET"
    needs: Mapping[str, str] = field(default_factory=dict)
    headers: Mapping[str, str] = field(default_factory=dict)
    body: str = ""

    def fits(self, request: web.Request) -> bool:
        """Say whether this is what is answered to the request."""
        if request.method != self.method or not re.fullmatch(self.path, request.raw_path):
            return False
        return all(re.fullmatch(wanted, request.headers.get(name, "")) for name, wanted in self.needs.items())


@dataclass
class Replay:
    """One server: the first exchange that fits a request answers it; `asked` is what was asked, `missed` in vain."""

    about: str
    exchanges: tuple[Exchange, ...]
    asked: list[str] = field(default_factory=list)
    missed: list[str] = field(default_factory=list)

    async def answer(self, request: web.Request) -> web.Response:
        """Answer one request; 599 where nothing was recorded for it."""
        version = request.headers.get("X-CDMI-Specification-Version", "-")
        self.asked.append(f"{request.method} {request.raw_path} {version}")
        for exchange in self.exchanges:
            if exchange.fits(request):
                place = (
                    {"Location": exchange.headers["Location"].replace("HOST", request.host)}
                    if "Location" in exchange.headers
                    else {}
                )
                return web.Response(
                    status=exchange.status, body=exchange.body.encode(), headers={**exchange.headers, **place}
                )
        self.missed.append(self.asked[-1])
        return web.Response(status=599)


def load(name: str) -> Replay:
    """Return the server of this name."""
    data: dict[str, Any] = tomllib.loads((FOLDER / f"{name}.toml").read_text(encoding="utf-8"))
    return Replay(data["about"], tuple(Exchange(**one) for one in data["exchange"]))


def names() -> list[str]:
    """Return the names of all servers."""
    return sorted(path.stem for path in FOLDER.glob("*.toml"))


@asynccontextmanager
async def replaying(name: str) -> AsyncIterator[tuple[Replay, str]]:
    """Serve one of them while the block runs; yields it, and its origin with a slash."""
    replay = load(name)
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", replay.answer)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    try:
        yield replay, f"http://127.0.0.1:{runner.addresses[0][1]}/"
    finally:
        await runner.cleanup()
