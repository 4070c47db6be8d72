"""Sources as callers write them: which configured server is meant, and which object there. Pure."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from urllib.parse import quote, unquote_to_bytes, urlsplit

from agent.cdmi.server import PORTS, Server, split_authority
from attachers.problems import Code, Problem

BY_ID = "cdmi_objectid"
OBJECT_ID = re.compile(r"[A-Za-z0-9+/=_-]{1,128}", re.ASCII)
MAX_SOURCE = 1024
_SOURCE = re.compile(r"(cdmi|https?)://([^/]*)(/.*)?", re.ASCII | re.IGNORECASE | re.DOTALL)
_BAD_PERCENT = re.compile(r"%(?![0-9A-Fa-f]{2})")
_HINT = "give cdmi://host[:port]/cdmi_objectid/ID or cdmi://host[:port]/path, without user, query and fragment"


@dataclass(frozen=True, slots=True)
class Location:
    """An object's place on a server: decoded names below the root. `slash`: written as a container's."""

    server: Server
    names: tuple[str, ...]
    slash: bool

    @property
    def object_id(self) -> str | None:
        """The ID that the object itself must have, where it is asked for by ID."""
        by_id = len(self.names) == 2 and self.names[0] == BY_ID
        return self.names[1] if by_id else None

    @property
    def url(self) -> str:
        """The absolute URL, percent-encoded."""
        path = "/".join(quote(name, safe="") for name in self.names)
        return self.server.url + path + ("/" if self.slash and self.names else "")


def by_id(server: Server, object_id: str, *, slash: bool) -> Location:
    """The place of an object by its ID, which stays when it is moved or renamed."""
    return Location(server, (BY_ID, object_id), slash)


def object_of(uri: str) -> str:
    """What an object is known by on whichever server: its ID, in lower case, where its URL is by that; else the URL."""
    parts = urlsplit(uri).path.rstrip("/").split("/")
    if len(parts) > 2 and parts[-2] == BY_ID:
        return unquote_to_bytes(parts[-1]).decode("ascii", "replace").casefold()
    return uri.rstrip("/")


def leads_elsewhere(server: Server, asked: str, answered: str) -> bool:
    """Whether a redirect from one URL to another may lead to another object: neither for a slash, nor from an ID."""
    one, other = (unquote_to_bytes(urlsplit(url).path.rstrip("/")) for url in (asked, answered))
    inner = one.removeprefix(server.root.encode()).split(b"/")
    by_id = len(inner) == 2 and inner[0] == BY_ID.encode()
    return one != other and not by_id


def parse(source: str, servers: Sequence[Server]) -> Location:
    """Find the server and the object that are meant.

    Raises `Problem`: invalid-request (the source is malformed), forbidden (its server or root is not configured).
    """
    scheme, authority, path = _split(source)
    host, port = _authority(source, authority)
    known = [server for server in servers if _is_at(server, scheme, host, port)]
    if not known:
        raise _unknown(scheme, authority)
    server, inner = _below_root(source, scheme, path, _at_one_port(source, known))
    return Location(server, _names(source, inner), inner.endswith("/") or inner == "")


def _split(source: str) -> tuple[str, str, str]:
    if len(source.encode("utf-8", "replace")) > MAX_SOURCE:
        raise _refuse(source, f"it is longer than {MAX_SOURCE} bytes")
    if any(ord(char) <= 0x20 or ord(char) == 0x7F or char == "\\" for char in source):
        raise _refuse(source, "it has a blank, a control character or a backslash in it")
    if "?" in source or "#" in source:
        raise _refuse(source, "it has a query or a fragment")
    match = _SOURCE.fullmatch(source)
    if not match:
        raise _refuse(source, "it is not a cdmi://, https:// or http:// address")
    return match[1].lower(), match[2], match[3] or "/"


def _authority(source: str, authority: str) -> tuple[str, int | None]:
    if "@" in authority:
        hidden = f"{source.partition('://')[0]}://...@{authority.rpartition('@')[2]}"
        raise _refuse(hidden, "it has a user name in it (the login belongs into the configuration)")
    try:
        return split_authority(authority, field="source")
    except ValueError:
        raise _refuse(source, "its host or port is malformed") from None


def _is_at(server: Server, scheme: str, host: str, port: int | None) -> bool:
    """Whether host and port (None: any with cdmi://, the scheme's with http) are this server's, or an alias of it."""
    if scheme in PORTS:
        if scheme != server.scheme:
            return False
        port = port or PORTS[scheme]
    places = [(server.host, server.port)]
    for alias in server.aliases:
        name, alias_port = split_authority(alias, field="aliases")
        places.append((name, alias_port or server.port))
    return any(host == name and port in (None, place) for name, place in places)


def _at_one_port(source: str, known: Sequence[Server]) -> Sequence[Server]:
    """Those of one port: where the source names none and several are possible, the scheme's own."""
    if len({server.port for server in known}) == 1:
        return known
    usual = [server for server in known if server.port == PORTS[server.scheme]]
    if len({server.port for server in usual}) != 1:
        raise _refuse(source, "several configured servers have this host: name the port")
    return usual


def _below_root(source: str, scheme: str, path: str, known: Sequence[Server]) -> tuple[Server, str]:
    """The server whose root the path begins with (the longest), or for cdmi:// the only one; and the path below it."""
    below = [server for server in known if f"{path}/".startswith(server.root)]
    if below:
        server = max(below, key=lambda one: len(one.root))
        return server, path[len(server.root) :]
    if scheme != "cdmi":
        roots = ", ".join(server.url for server in known)
        raise Problem(
            Code.FORBIDDEN,
            f"source: {ascii(source)[:200]} is outside the configured {roots}",
            hint="give a source below that URL, or add a [[server]] with this url to the configuration",
        )
    if len(known) > 1:
        raise _refuse(source, "several configured servers have this host: begin the path with the root of one")
    return known[0], path[1:]


def _names(source: str, inner: str) -> tuple[str, ...]:
    """The decoded names of the path; each checked before anything is normalised, and nothing ever is."""
    try:
        return names_of(inner)
    except ValueError as error:
        raise _refuse(source, str(error)) from None


def names_of(inner: str) -> tuple[str, ...]:
    """The decoded names of a path below the root. Raises `ValueError` that says which rule the path breaks."""
    if inner == "":
        return ()
    raw = inner.removesuffix("/").split("/")
    names = tuple(_decode(segment) for segment in raw)
    for place, name in enumerate(names):
        if place == 1 and names[0] == BY_ID:
            if not OBJECT_ID.fullmatch(name):
                raise ValueError("its object ID is not 1 to 128 of A-Z a-z 0-9 + / = _ -")
        elif name in ("", ".", "..") or "/" in name or "\\" in name or not name.isprintable():
            raise ValueError(f"its path has a name {ascii(name)[:80]} in it")
    if names == (BY_ID,):
        raise ValueError("the object ID is missing")
    return names


def _decode(segment: str) -> str:
    if _BAD_PERCENT.search(segment):
        raise ValueError("a % is not followed by two hexadecimal digits")
    try:
        return unquote_to_bytes(segment).decode("utf-8")
    except UnicodeError:
        raise ValueError("its percent-encoding is not UTF-8") from None


def _refuse(source: str, why: str) -> Problem:
    return Problem(Code.INVALID_REQUEST, f"source: {ascii(source)[:200]}: {why}", hint=_HINT)


def _unknown(scheme: str, authority: str) -> Problem:
    url = f"{'https' if scheme == 'cdmi' else scheme}://{authority}/"
    return Problem(
        Code.FORBIDDEN,
        f"source: {scheme}://{authority} is no configured CDMI server, and only those are contacted",
        hint=f'add a [[server]] with url = "{url}" to the configuration, or an alias to an existing one',
    )
