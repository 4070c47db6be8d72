"""HTTP with CDMI servers: one way to ask, with every bound that an untrusted peer needs."""

import asyncio
import ssl
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urljoin, urlsplit, urlunsplit

import aiohttp
from aiohttp.http_exceptions import HttpProcessingError
from yarl import URL

from agent.cdmi.answers import Answer, refused, unreachable
from agent.cdmi.server import AUTO, PORTS, Server, TokenScheme
from agent.cdmi.text import basic

AUTO_VERSIONS = ("1.1.1", "1.1", "1.0.2", "1.0.1")
"""One at a time: several servers refuse a list (cdmi.md 6)."""
VERSION_HEADER = "X-CDMI-Specification-Version"
MAX_REDIRECTS = 3
REDIRECTS = (301, 302)
KEEP_ALIVE_S = 4.0
MAX_ERROR_BODY = 4096


@dataclass(frozen=True, slots=True)
class Limits:
    """What one exchange, with its redirects and its wait for a turn, may take: seconds, bytes, requests at a time."""

    connect_s: float = 5.0
    read_s: float = 10.0
    total_s: float = 30.0
    names_s: float = 5.0
    body_bytes: int = 1 << 20
    concurrency: int = 8


Told = Callable[[str, str], None]
"""Told of every request: the server's URL, and the HTTP status or `unreachable`."""


def nobody(_server: str, _code: str) -> None:
    """Tell nobody."""


@dataclass(slots=True)
class _Peer:
    """What is kept for one server: its turns, its TLS context, and the versions that may still be tried."""

    server: Server
    turns: asyncio.Semaphore
    options: Mapping[str, Any]
    versions: tuple[str, ...]


class Wire:
    """Connections to the configured servers; made when first needed, in the running loop."""

    def __init__(self, limits: Limits, *, told: Told = nobody) -> None:
        self.limits = limits
        self._told = told
        self._session: aiohttp.ClientSession | None = None
        self._peers: dict[Server, _Peer] = {}

    async def close(self) -> None:
        """Close the connections; asking again opens new ones."""
        session, self._session = self._session, None
        if session is not None:
            await session.close()

    async def get(self, server: Server, url: str, *, fields: tuple[str, ...] = ()) -> Answer:
        """Read an object, or some of its fields; any status. Raises `Problem` cdmi-unreachable, cdmi-refused."""
        return await self._ask(server, "GET", with_fields(server, url, fields), None)

    async def update(self, server: Server, url: str, body: bytes, *, fields: tuple[str, ...]) -> Answer:
        """Change some fields of an object: PUT in 1.x, PATCH in 2.x; any status. Raises as `get`."""
        method = "PATCH" if server.spec_version.startswith("2.") else "PUT"
        return await self._ask(server, method, with_fields(server, url, fields), body)

    async def _ask(self, server: Server, method: str, url: str, body: bytes | None) -> Answer:
        code = "unreachable"
        try:
            answer = await self._bounded(server, method, url, body)
            code = str(answer.status)
            return answer
        finally:
            self._told(server.url, code)

    async def _bounded(self, server: Server, method: str, url: str, body: bytes | None) -> Answer:
        limits = self.limits
        try:
            async with asyncio.timeout(limits.total_s):
                peer = self._peer(server)
                async with peer.turns:
                    return await self._in_some_version(peer, method, url, body)
        except TimeoutError as error:
            reason = str(error) or f"no complete answer within {limits.total_s:g} s"
            raise unreachable(server, reason, status=504) from None
        except (aiohttp.ClientError, HttpProcessingError, OSError) as error:
            raise unreachable(server, str(error) or type(error).__name__, status=502) from None

    async def _in_some_version(self, peer: _Peer, method: str, url: str, body: bytes | None) -> Answer:
        """Ask in the version that works; until one is known, a read that is refused with 400 is tried in the next."""
        for version in peer.versions:
            answer = await self._follow(peer, method, url, body, version=version)
            if answer.status < 400:
                peer.versions = (version,)
            if answer.status != 400 or method != "GET":
                break
        return answer

    async def _follow(self, peer: _Peer, method: str, url: str, body: bytes | None, *, version: str) -> Answer:
        for _ in range(MAX_REDIRECTS + 1):
            answer, location = await self._once(peer, method, url, body, version=version)
            if answer.status not in REDIRECTS:
                return answer
            url = redirected(peer.server, url, location)
        raise refused(peer.server, f"more than {MAX_REDIRECTS} redirects, at last to {url}", hint="check url")

    async def _once(
        self, peer: _Peer, method: str, url: str, body: bytes | None, *, version: str
    ) -> tuple[Answer, str | None]:
        headers = headers_for(peer.server, url, version=version, writing=body is not None)
        session = self._open()
        async with session.request(
            method, URL(url, encoded=True), headers=headers, data=body, allow_redirects=False, **peer.options
        ) as response:
            raw = await self._read(peer.server, response)
            answer = Answer(peer.server, f"{method} {url}", url, response.status, raw)
            return answer, response.headers.get("Location")

    async def _read(self, server: Server, response: aiohttp.ClientResponse) -> bytes:
        """The body as it is sent, up to the limit; of a failure only the beginning, since only that is ever shown."""
        failed = response.status >= 300
        encoding = response.headers.get("Content-Encoding", "identity")
        if encoding.strip().lower() != "identity":
            raise refused(server, f"the answer is {encoding}-encoded, which was not asked for", hint="switch it off")
        raw = bytearray()
        limit = MAX_ERROR_BODY if failed else self.limits.body_bytes
        async for chunk in response.content.iter_any():
            raw += chunk
            if len(raw) > limit:
                response.close()
                if failed:
                    break
                raise refused(server, f"the answer has more than {limit} bytes", hint="is it a CDMI object at all?")
        return bytes(raw[:limit])

    def _open(self) -> aiohttp.ClientSession:
        if self._session is None:
            limits = self.limits
            self._session = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(limit=0, keepalive_timeout=KEEP_ALIVE_S),
                timeout=aiohttp.ClientTimeout(total=None, connect=limits.connect_s, sock_read=limits.read_s),
                cookie_jar=aiohttp.DummyCookieJar(),
                auto_decompress=False,
                trust_env=False,
            )
        return self._session

    def _peer(self, server: Server) -> _Peer:
        if server not in self._peers:
            versions = AUTO_VERSIONS if server.spec_version == AUTO else (server.spec_version,)
            options = {"ssl": _context(server)} if server.scheme == "https" else {}
            self._peers[server] = _Peer(server, asyncio.Semaphore(self.limits.concurrency), options, versions)
        return self._peers[server]


def with_fields(server: Server, url: str, fields: tuple[str, ...]) -> str:
    """The URL with a field selection, spelt as the server's version has it."""
    if not fields:
        return url
    separator = "&" if server.spec_version.startswith("2.") else ";"
    return f"{url.partition('?')[0]}?{separator.join(fields)}"


def headers_for(server: Server, url: str, *, version: str, writing: bool) -> dict[str, str]:
    """The headers of one request. A slash at the path's end says which kind of object is meant; 2.x has no version."""
    kind = "container" if urlsplit(url).path.endswith("/") else "object"
    headers = {"Accept": f"application/cdmi-{kind}", "Accept-Encoding": "identity", "User-Agent": "cdmi-attach"}
    if writing:
        headers["Content-Type"] = f"application/cdmi-{kind}"
    if not version.startswith("2."):
        headers[VERSION_HEADER] = version
    if server.user is not None:
        headers["Authorization"] = f"Basic {basic(server)}"
    elif server.token is not None and server.token_scheme is TokenScheme.BEARER:
        headers["Authorization"] = f"Bearer {server.token.reveal()}"
    elif server.token is not None:
        headers["X-Auth-Token"] = server.token.reveal()
    return headers


def redirected(server: Server, url: str, location: str | None) -> str:
    """Where a redirect leads. Raises `Problem` cdmi-refused unless it stays below the server's own URL.

    The field selection is kept where the new address has none: redirects for a missing slash often lose it.
    """
    hint = "set url of this [[server]] to where the objects really are"
    if not location or len(location) > 2048 or not (location.isascii() and location.isprintable()):
        raise refused(server, f"a redirect from {url} to nowhere", hint=hint)
    try:
        parts = urlsplit(urljoin(url, location))
        place = (parts.scheme, parts.hostname, parts.port or PORTS.get(parts.scheme))
    except ValueError:
        raise refused(server, f"a redirect from {url} to nowhere", hint=hint) from None
    same = place == (server.scheme, server.host, server.port) and "@" not in parts.netloc
    if not same or not parts.path.startswith(server.root) or " " in location:
        raise refused(server, f"a redirect to {location} leads away from this server", hint=hint)
    query = parts.query or urlsplit(url).query
    return urlunsplit((parts.scheme, parts.netloc, parts.path, query, ""))


def _context(server: Server) -> ssl.SSLContext:
    try:
        context = ssl.create_default_context(cafile=server.ca_file)
    except OSError as error:
        raise unreachable(server, f"ca_file {server.ca_file} cannot be used: {error}", status=502) from None
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    return context
