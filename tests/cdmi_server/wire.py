"""The HTTP side of CDMI: what a request asks for, and how refusals and plain values are sent."""

import base64
import hmac
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import unquote

from aiohttp import web

from tests.cdmi_server.dialects import Dialect
from tests.cdmi_server.records import Kind

VERSION_HEADER = "X-CDMI-Specification-Version"

NOT_SAID = "-"
_CDMI_TYPE = re.compile(r"application/(vnd\.org\.snia\.)?cdmi-")
_RANGE = re.compile(r"bytes=(\d*)-(\d*)$")
_CONTENT_RANGE = re.compile(r"bytes (\d+)-(\d+)/(\d+|\*)$")


class CdmiError(Exception):
    """A refusal: HTTP status, and the reason in words."""

    def __init__(self, status: int, reason: str, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(reason)
        self.status = status
        self.reason = reason
        self.headers = dict(headers or {})


@dataclass(frozen=True)
class Field:
    """One wanted field, as in metadata:prefix or value:0-10."""

    name: str
    argument: str = ""


@dataclass(frozen=True)
class Asked:
    """A request's target and dialect; version is empty for plain HTTP, and what is not said in 2.0 ("-")."""

    names: tuple[str, ...]
    slash: bool
    query: str
    fields: tuple[Field, ...]
    version: str
    content_type: str
    dialect: Dialect
    cut: bool = False
    """A fault wants a streamed value to end half-way."""

    @property
    def cdmi(self) -> bool:
        return bool(self.version)

    def wants(self, name: str) -> bool:
        """Say whether the field shall be in the answer: all are, where none is named."""
        return not self.fields or any(field.name == name for field in self.fields)

    def arguments(self, name: str) -> list[str]:
        """Return what follows the colon, for every mention of the field that has something there."""
        return [field.argument for field in self.fields if field.name == name and field.argument]


def read_request(request: web.Request, root: str, dialect: Dialect) -> Asked:
    """Return what the request asks for; root is the path of the root URI, as in /cdmi/."""
    path, _, query = request.raw_path.partition("?")
    if f"{path}/" == root:
        path = root
    if not path.startswith(root):
        raise CdmiError(404, f"The root of this server is {root}")
    inner = path[len(root) :]
    names = tuple(unquote(name) for name in inner.split("/") if name)
    if "//" in inner:
        raise CdmiError(400, "The path has an empty name in it")
    if names[:1] == ("cdmi_objectid",) and len(names) > 1:
        names = (names[0], dialect.id_in(names[1]), *names[2:])
    slash = inner == "" or inner.endswith("/")
    fields = read_fields(query, dialect)
    return Asked(names, slash, query, fields, _version(request, dialect), request.content_type, dialect)


def read_fields(query: str, dialect: Dialect) -> tuple[Field, ...]:
    """Return the fields that a query names, in the spelling of 1.x (f1;f2:arg) or of 2.0 (f1&f2=arg)."""
    pieces = [unquote(piece) for piece in re.split(f"{dialect.separator}|%3[Bb]", query) if piece]
    split = [piece.partition(dialect.argument) for piece in pieces]
    return tuple(Field(name, argument) for name, _, argument in split)


def _version(request: web.Request, dialect: Dialect) -> str:
    """Return the highest common version, empty for plain HTTP; 400 without one where CDMI is meant."""
    offered = request.headers.get(VERSION_HEADER)
    types = (request.headers.get("Content-Type", ""), request.headers.get("Accept", ""))
    meant = any(_CDMI_TYPE.search(text) for text in types)
    if not dialect.versions:
        if offered is not None:
            raise CdmiError(400, f"CDMI {dialect.name} knows no {VERSION_HEADER}")
        return NOT_SAID if meant else ""
    if offered is None:
        if meant:
            raise CdmiError(400, f"CDMI media types need the header {VERSION_HEADER}")
        return ""
    versions = {version.strip() for version in offered.split(",")}
    for version in dialect.versions:
        if version in versions:
            return version
    raise CdmiError(400, f"Of {', '.join(dialect.versions)} none is in {offered!r}")


def version_headers(dialect: Dialect, version: str) -> dict[str, str]:
    """Return the header that says the version, where this one is said."""
    return {VERSION_HEADER: version} if dialect.versions and version else {}


def require_accept(request: web.Request, kind: Kind, dialect: Dialect) -> None:
    """Refuse (406) a request that would not accept a CDMI object of this kind."""
    accept = request.headers.get("Accept", "*/*")
    accepted = {part.partition(";")[0].strip().lower() for part in accept.split(",")}
    types = dialect.media_types(kind)
    if not accepted & {"*/*", "application/*", "application/json", *types}:
        raise CdmiError(406, f"Only {types[0]} can be had, not {accept}")


async def read_body(request: web.Request, kind: Kind, dialect: Dialect) -> dict[str, Any]:
    """Return the JSON object of a CDMI request, {} where there is no body; 400 when it is something else."""
    types = dialect.media_types(kind)
    if request.content_type not in types:
        raise CdmiError(400, f"Content-Type is {request.content_type}, {types[0]} is needed here")
    raw = await request.read()
    try:
        body = json.loads(raw) if raw else {}
    except ValueError as error:
        raise CdmiError(400, f"The body is not JSON: {error}") from error
    if not isinstance(body, dict):
        raise CdmiError(400, "The body is not a JSON object")
    if "exports" in body:
        body["exports"] = dialect.exports_in(body["exports"])
    return body


def cdmi_response(body: Mapping[str, Any], *, kind: Kind, asked: Asked, status: int = 200) -> web.Response:
    """Return a CDMI object as the answer."""
    dialect = asked.dialect
    headers = {**version_headers(dialect, asked.version), "Content-Type": dialect.media_types(kind)[0]}
    text = json.dumps(dialect.body_out(body, kind), indent=1)
    return web.Response(status=status, body=text.encode() + b"\n", headers=headers)


def done(asked: Asked, status: int | None = None) -> web.Response:
    """Return an answer without a body."""
    if status is None:
        status = asked.dialect.done if asked.cdmi else 204
    return web.Response(status=status, headers=version_headers(asked.dialect, asked.version))


def refusal(error: CdmiError) -> web.Response:
    """Return a refusal as the answer; CDMI defines no body for it, ours says why."""
    return web.json_response({"error": error.reason}, status=error.status, headers=error.headers)


def check_login(request: web.Request, user: str, password: str) -> None:
    """Refuse (401) a request without the right Basic credentials."""
    scheme, _, encoded = request.headers.get("Authorization", "").partition(" ")
    wanted = base64.b64encode(f"{user}:{password}".encode())
    if scheme.lower() != "basic" or not hmac.compare_digest(encoded.strip().encode(), wanted):
        raise CdmiError(401, "Who is asking?", {"WWW-Authenticate": 'Basic realm="cdmi"'})


def read_range(request: web.Request, size: int) -> tuple[int, int] | None:
    """Return (first, past the last) of a Range header, None without one that is understood; 416 outside."""
    match = _RANGE.match(request.headers.get("Range", ""))
    if not match or match[1] == match[2] == "":
        return None
    if match[1] == "":
        first, end = max(0, size - int(match[2])), size
    else:
        first, end = int(match[1]), min(size, int(match[2] or size) + 1) if match[2] else size
    if first >= end:
        raise CdmiError(416, f"There are {size} bytes", {"Content-Range": f"bytes */{size}"})
    return first, end


def read_content_range(request: web.Request) -> tuple[int, int] | None:
    """Return (first, past the last) of a Content-Range header, None without one; 400 when malformed."""
    text = request.headers.get("Content-Range")
    if text is None:
        return None
    match = _CONTENT_RANGE.match(text)
    if not match or int(match[2]) < int(match[1]):
        raise CdmiError(400, f"Content-Range {text!r} is not of the form bytes 0-99/*")
    return int(match[1]), int(match[2]) + 1


def span(text: str, size: int) -> tuple[int, int]:
    """Return (first, past the last) of a range such as 0-10 in a field selection, cut to the size."""
    first, dash, last = text.partition("-")
    if not (dash and first.isdecimal() and last.isdecimal()) or int(last) < int(first):
        raise CdmiError(400, f"{text!r} is not a range such as 0-10")
    return min(int(first), size), min(int(last) + 1, size)


def chunks(first: int, end: int, step: int) -> Iterator[tuple[int, int]]:
    """Yield (offset, length) pieces of a range."""
    return ((offset, min(step, end - offset)) for offset in range(first, end, step))


def strings(value: object) -> Sequence[str]:
    """Return a JSON array of strings; raises ValueError for anything else."""
    if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
        raise ValueError("not an array of strings")
    return value
