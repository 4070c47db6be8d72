"""What is kept for one server while the client lives: its turns, its TLS context, and how it wants to be spoken to."""

import asyncio
import ssl
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum, auto
from typing import Any

from agent.cdmi.answers import Answer, unreachable
from agent.cdmi.breaker import Breaker
from agent.cdmi.dialects import AUTO, Dialect, dialects_of
from agent.cdmi.server import Server


class Kind(Enum):
    """A read; a change, which may take a server longer; a value that is sent, which may take for ever and no turn."""

    READ = auto()
    CHANGE = auto()
    VALUE = auto()


@dataclass(slots=True)
class Peer:
    """One server. `turns` are those of each kind, so that no read waits for a change.

    `known` is the dialect that works for containers and for objects, by their media types' kind.
    `announced`: it says its version in its answers, as 1.x has to; a server of 2.0 that reads on over our 1.x does not.
    """

    server: Server
    turns: Mapping[Kind, asyncio.Semaphore]
    options: Mapping[str, Any]
    dialects: tuple[Dialect, ...]
    breaker: Breaker
    known: dict[bool, Dialect] = field(default_factory=dict)
    announced: bool = False

    def candidates(self, url: str) -> tuple[Dialect, ...]:
        """The dialects to try, the likeliest first."""
        mine, others = self.known.get(_is_container(url)), self.known.values()
        likely = [mine, *others] if mine else list(others)
        return tuple(dict.fromkeys([*likely, *self.dialects]))

    def knows(self, url: str, dialect: Dialect) -> bool:
        """Whether this dialect has worked for this kind of object."""
        return self.known.get(_is_container(url)) == dialect

    def is_spoken(self, dialect: Dialect) -> bool:
        """Whether this dialect has worked for any kind of object."""
        return dialect in self.known.values()

    def learn(self, url: str, dialect: Dialect, answer: Answer) -> None:
        """This dialect works for this kind of object."""
        self.known[_is_container(url)] = dialect
        self.announced = answer.version != ""

    @property
    def may_be_later(self) -> bool:
        """Whether it may be of 2.0 although it answers to 1.x: it never said that it is not, and was not configured."""
        return self.server.spec_version == AUTO and not self.announced


def make_peer(server: Server, *, concurrency: int) -> Peer:
    """Raises `Problem` cdmi-unreachable where the TLS files cannot be used."""
    options = {"ssl": _context(server)} if server.scheme == "https" else {}
    dialects = dialects_of(server.spec_version, server.root)
    turns = {kind: asyncio.Semaphore(concurrency) for kind in (Kind.READ, Kind.CHANGE)}
    return Peer(server, turns, options, dialects, Breaker(server))


def _context(server: Server) -> ssl.SSLContext:
    try:
        context = ssl.create_default_context(cafile=server.ca_file)
    except OSError as error:
        raise unreachable(server, f"ca_file {server.ca_file} cannot be used: {error}", status=502) from None
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    if server.client_cert is None:
        return context
    try:
        context.load_cert_chain(server.client_cert, server.client_key, password=_no_passphrase)
    except (OSError, ValueError) as error:
        what = f"client_cert_file {server.client_cert} cannot be used with its key: {error}"
        raise unreachable(server, what, status=502) from None
    return context


def _no_passphrase() -> str:
    """OpenSSL would ask on the terminal for the passphrase of an encrypted key, and wait for ever."""
    return ""


def _is_container(url: str) -> bool:
    return url.partition("?")[0].endswith("/")
