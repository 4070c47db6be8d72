"""HTTP with CDMI servers: one way to ask, with every bound that an untrusted peer needs."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from dataclasses import dataclass, replace
from urllib.parse import urljoin, urlsplit, urlunsplit

import aiohttp
from aiohttp.http_exceptions import HttpProcessingError
from yarl import URL

from agent.cdmi.answers import DONE, Answer, TooLargeError, read, refused, unreachable
from agent.cdmi.dialects import V2_0, VERSION_HEADER, Dialect
from agent.cdmi.once import Once, one_piece
from agent.cdmi.peer import Kind, Peer, make_peer
from agent.cdmi.server import PORTS, Server, TokenScheme
from agent.cdmi.sources import leads_elsewhere
from agent.cdmi.text import basic
from attachers.problems import Code, Problem

MAX_REDIRECTS = 3
REDIRECTS = (301, 302)
NOT_SPOKEN = (400, 406)
"""What servers answer in a dialect that they do not speak."""
NO_METHOD = (405, 501)
UNREACHABLE = "unreachable"
STALLED_S = 120.0
"""How long nothing may move while a value is written: servers may need a while to store what they have got."""
OURS = {"Accept-Encoding": "identity", "User-Agent": "cdmi-attach"}
KEEP_ALIVE_S = 30.0
"""Servers may close earlier: a read that meets the end of a kept connection is made once more on a new one."""
MAX_ERROR_BODY = 4096
STREAM_BUFFER = 512 << 10
"""Bytes of a value that are read ahead; twice as many, and the server has to wait."""


@dataclass(frozen=True, slots=True)
class Limits:
    """What one exchange, with its redirects and its wait for a turn, may take: seconds, bytes, requests at a time.

    `read_s` is how long nothing may come of an answer, `total_s` all of a read, `write_s` all of a change, and its
    answer: a server may have LUNs to map, one after the other, for all who ask at the same time. Reads and changes have
    `concurrency` turns each. `settle_s` is how long another's write of permissions is awaited that may be based on what
    was there before ours.
    """

    connect_s: float = 5.0
    read_s: float = 10.0
    total_s: float = 30.0
    write_s: float = 50.0
    names_s: float = 5.0
    body_bytes: int = 1 << 20
    concurrency: int = 8
    settle_s: float = 0.1


Clock = Callable[[], float]
Told = Callable[[str, str], None]
"""Told of every request: the server's URL, and the HTTP status or `unreachable`."""


def nobody(_server: str, _code: str) -> None:
    """Tell nobody."""


class Wire:
    """Connections to the configured servers; made when first needed, in the running loop."""

    def __init__(self, limits: Limits, *, told: Told = nobody, clock: Clock | None = None) -> None:
        self.limits = limits
        self._told = told
        self._clock = clock or (lambda: asyncio.get_running_loop().time())
        self._session: aiohttp.ClientSession | None = None
        self._peers: dict[Server, Peer] = {}

    async def close(self) -> None:
        """Close the connections; asking again opens new ones."""
        session, self._session = self._session, None
        if session is not None:
            await session.close()

    async def get(self, server: Server, url: str, *, fields: tuple[str, ...] = ()) -> Answer:
        """Read an object, or some of its fields; any status. Raises `Problem` cdmi-unreachable, cdmi-refused."""
        return await self._ask(server, lambda peer: self._read_object(peer, url, fields))

    async def update(self, server: Server, url: str, body: bytes, *, fields: tuple[str, ...]) -> Answer:
        """Change some fields of an object: PUT in 1.x, PATCH from 2.0 on; any status. Raises as `get`."""
        return await self._ask(server, lambda peer: self._update(peer, url, body, fields), Kind.CHANGE)

    async def create(self, server: Server, url: str, body: bytes) -> Answer:
        """Make an object with PUT, at a place where nothing is; any status. Raises as `get`."""
        return await self._ask(server, lambda peer: self._create(peer, url, body), Kind.CHANGE)

    async def delete(self, server: Server, url: str) -> Answer:
        """Delete what is at this URL itself: a reference is not followed; any status. Raises as `get`."""
        return await self._ask(server, lambda peer: self._delete(peer, url), Kind.CHANGE)

    async def head(self, server: Server, url: str, count: int) -> bytes | None:
        """The first bytes of a value, by plain HTTP; None where the server does not give them. Raises as `get`."""
        first: list[bytes] = []
        await self._ask(server, lambda peer: self._head(peer, url, count, first))
        return first[0] if first else None

    async def begin(self, server: Server, url: str, headers: Mapping[str, str]) -> aiohttp.ClientResponse:
        """Begin to read a value by plain HTTP: the answer's head, any status. Its body, of any length, is the caller's
        to read in time, and the answer the caller's to close. Raises as `get`.
        """
        begun: list[aiohttp.ClientResponse] = []
        await self._ask(server, lambda peer: self._begin(peer, url, headers, begun))
        return begun[0]

    async def _begin(
        self, peer: Peer, url: str, headers: Mapping[str, str], begun: list[aiohttp.ClientResponse]
    ) -> Answer:
        sent = {**OURS, **login(peer.server), **headers}
        for _ in range(MAX_REDIRECTS + 1):
            response = await self._open().get(
                URL(url, encoded=True), headers=sent, allow_redirects=False, read_bufsize=STREAM_BUFFER, **peer.options
            )
            if response.status not in REDIRECTS:
                begun.append(response)
                return Answer(peer.server, f"GET {url}", url, response.status, b"")
            response.close()
            url = redirected(peer.server, url, response.headers.get("Location"))
        raise refused(peer.server, f"more than {MAX_REDIRECTS} redirects, at last to {url}", hint="check url")

    async def send(self, server: Server, url: str, pieces: AsyncIterator[bytes], headers: Mapping[str, str]) -> Answer:
        """Write a value by plain HTTP with PUT; any status. It may take for ever, as long as something moves.

        Whatever `pieces` raises ends the connection before the value's end. Raises as `get`.
        """
        return await self._ask(server, lambda peer: self._send(peer, url, pieces, headers), Kind.VALUE)

    async def _send(self, peer: Peer, url: str, pieces: AsyncIterator[bytes], headers: Mapping[str, str]) -> Answer:
        async with asyncio.timeout(STALLED_S) as limit:

            async def watched() -> AsyncIterator[bytes]:
                async for piece in pieces:
                    yield piece
                    limit.reschedule(asyncio.get_running_loop().time() + STALLED_S)

            timeout = aiohttp.ClientTimeout(total=None, connect=self.limits.connect_s)
            sent = {**OURS, **login(peer.server), **headers}
            async with self._open().put(
                URL(url, encoded=True),
                data=Once(watched()),
                headers=sent,
                allow_redirects=False,
                timeout=timeout,
                **peer.options,
            ) as response:
                raw = await self._read(peer.server, response)
                return Answer(peer.server, f"PUT {url}", url, response.status, raw)

    async def _ask(self, server: Server, talk: Callable[[Peer], Awaitable[Answer]], kind: Kind = Kind.READ) -> Answer:
        """One conversation, told of; not begun with a server that has just proved to be away."""
        if server not in self._peers:
            self._peers[server] = make_peer(server, concurrency=self.limits.concurrency)
        peer, code = self._peers[server], UNREACHABLE
        peer.breaker.enter(self._clock())
        try:
            answer = await self._bounded(peer, talk, kind)
            code = str(answer.status)
            peer.breaker.answered()
            return answer
        except Problem as problem:
            if problem.code is Code.CDMI_UNREACHABLE:
                peer.breaker.not_answered(problem, self._clock())
            else:
                peer.breaker.answered()
            raise
        finally:
            peer.breaker.leave()
            self._told(server.url, code)

    async def _bounded(self, peer: Peer, talk: Callable[[Peer], Awaitable[Answer]], kind: Kind) -> Answer:
        server = peer.server
        limit_s = {Kind.READ: self.limits.total_s, Kind.CHANGE: self.limits.write_s}.get(kind, STALLED_S)
        try:
            if kind is Kind.VALUE:
                return await talk(peer)
            async with asyncio.timeout(limit_s), peer.turns[kind]:
                return await talk(peer)
        except TimeoutError as error:
            raise unreachable(server, str(error) or f"no complete answer within {limit_s:g} s", status=504) from None
        except (aiohttp.ClientError, HttpProcessingError, OSError) as error:
            raise unreachable(server, str(error) or type(error).__name__, status=502) from None

    async def _read_object(self, peer: Peer, url: str, fields: tuple[str, ...]) -> Answer:
        """Ask in the dialect that works; until one is known, and whenever it works no more, in one after the other."""
        best: Answer | TooLargeError | None = None
        for dialect in peer.candidates(url):
            known = peer.knows(url, dialect)
            try:
                answer = await self._follow(peer, "GET", dialect.select(url, fields), None, dialect)
            except TooLargeError as error:
                best = best or error
                continue
            if answer.status in DONE and answer.is_object():
                peer.learn(url, dialect, answer)
                return answer
            if answer.status not in (*DONE, *NOT_SPOKEN) or (known and fields):
                return answer
            if best is None or answer.status in DONE:
                best = answer
        if isinstance(best, TooLargeError):
            raise best
        assert best is not None
        return best

    async def _update(self, peer: Peer, url: str, body: bytes, fields: tuple[str, ...]) -> Answer:
        """Update in the dialect that reads; where that may be one of 2.0 after all, in that of 2.0 first.

        A server of 1.x does not know PATCH, and changes nothing; one of 2.0 could take a PUT for a new object.
        """
        dialect = peer.candidates(url)[0]
        if not dialect.in_root and peer.may_be_later:
            answer = await self._follow(peer, V2_0.update, V2_0.select(url, fields), body, V2_0)
            if answer.status not in NO_METHOD and not (answer.status == 400 and answer.version):
                return answer
        return await self._follow(peer, dialect.update, dialect.select(url, fields), body, dialect)

    async def _create(self, peer: Peer, url: str, body: bytes) -> Answer:
        answer, location = await self._exchange(peer, "PUT", url, body, peer.candidates(url)[0])
        return replace(answer, onward=location or "")

    async def _delete(self, peer: Peer, url: str) -> Answer:
        answer, _ = await self._exchange(peer, "DELETE", url, None, peer.candidates(url)[0])
        return answer

    async def _head(self, peer: Peer, url: str, count: int, first: list[bytes]) -> Answer:
        """A server that knows no ranges sends all of it: what is more than was asked for is not waited for."""
        headers = {**OURS, **login(peer.server), "Range": f"bytes=0-{count - 1}"}
        async with self._open().request(
            "GET", URL(url, encoded=True), headers=headers, allow_redirects=False, **peer.options
        ) as response:
            plain = response.headers.get("Content-Encoding", "identity").strip().lower() == "identity"
            if response.status in (200, 206) and plain:
                first.append(await _first_bytes(response, count))
            response.close()
            return Answer(peer.server, f"GET {url}", url, response.status, b"")

    async def _follow(self, peer: Peer, method: str, url: str, body: bytes | None, dialect: Dialect) -> Answer:
        """To where redirects lead; a change only to another spelling of what was named."""
        named = url
        for _ in range(MAX_REDIRECTS + 1):
            try:
                answer, location = await self._exchange(peer, method, url, body, dialect)
            except aiohttp.ServerDisconnectedError:  # a kept connection has come to its end
                if method != "GET":
                    raise
                answer, location = await self._exchange(peer, method, url, body, dialect)
            if answer.status not in REDIRECTS:
                return replace(answer, named=named) if url != named else answer
            url = redirected(peer.server, url, location)
            if method != "GET" and leads_elsewhere(peer.server, named, url):
                what = f"a change of {named} is redirected to {url}, which may be another object"
                raise refused(peer.server, what, hint="give the address of the object that is meant")
        raise refused(peer.server, f"more than {MAX_REDIRECTS} redirects, at last to {url}", hint="check url")

    async def _exchange(
        self, peer: Peer, method: str, url: str, body: bytes | None, dialect: Dialect
    ) -> tuple[Answer, str | None]:
        """One request and its answer, and where that leads. A change is not sent again by aiohttp: see `Once`."""
        headers = {**OURS, **dialect.headers(url, writing=body is not None), **login(peer.server)}
        data = None if method == "GET" else Once(one_piece(body or b""))
        headers |= {} if data is None else {"Content-Length": str(len(body or b""))}
        limits, how = self.limits, {"allow_redirects": False, **peer.options}
        silent_s = limits.read_s if method == "GET" else limits.write_s
        timeout = aiohttp.ClientTimeout(total=None, connect=limits.connect_s, sock_read=silent_s)
        async with self._open().request(
            method, URL(url, encoded=True), headers=headers, data=data, timeout=timeout, **how
        ) as response:
            raw = await self._read(peer.server, response)
            version = response.headers.get(VERSION_HEADER, "")
            asked = f"{method} {url}"
            found = read(response.status, raw)
            answer = Answer(peer.server, asked, url, response.status, raw, version, dialect.version, found)
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
                raise TooLargeError(server, limit)
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


async def _first_bytes(response: aiohttp.ClientResponse, count: int) -> bytes:
    raw = bytearray()
    async for chunk in response.content.iter_any():
        raw += chunk
        if len(raw) >= count:
            break
    return bytes(raw[:count])


def login(server: Server) -> dict[str, str]:
    """The header that says who we are, where the configuration does."""
    if server.user is not None:
        return {"Authorization": f"Basic {basic(server)}"}
    if server.token is not None and server.token_scheme is TokenScheme.BEARER:
        return {"Authorization": f"Bearer {server.token.reveal()}"}
    return {"X-Auth-Token": server.token.reveal()} if server.token is not None else {}


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
