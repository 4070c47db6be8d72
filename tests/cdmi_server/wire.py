"""The HTTP side of CDMI 1.1.1: what a request asks for, and how refusals and plain values are sent."""

import base64
import hmac
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import unquote

from aiohttp import web

from tests.cdmi_server.records import Kind

VERSION_HEADER = "X-CDMI-Specification-Version"
VERSIONS = ("1.1.1", "1.1.0", "1.1")
"""What the server speaks, the highest first."""

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
    """A request's target and dialect; version is empty for plain HTTP."""

    names: tuple[str, ...]
    slash: bool
    query: str
    fields: tuple[Field, ...]
    version: str
    content_type: str
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


def read_request(request: web.Request, root: str) -> Asked:
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
    slash = inner == "" or inner.endswith("/")
    return Asked(names, slash, query, read_fields(query), _version(request), request.content_type)


def read_fields(query: str) -> tuple[Field, ...]:
    """Return the fields that a query names, in the spelling of 1.x (f1;f2:arg) or of 2.0 (f1&f2=arg)."""
    pieces = [unquote(piece) for piece in re.split(r"[;&]|%3[Bb]", query) if piece]
    split = [re.split(r"[:=]", piece, maxsplit=1) for piece in pieces]
    return tuple(Field(*parts) for parts in split)


def _version(request: web.Request) -> str:
    """Return the highest common version, empty for plain HTTP; 400 without one where CDMI is meant."""
    offered = request.headers.get(VERSION_HEADER)
    types = (request.headers.get("Content-Type", ""), request.headers.get("Accept", ""))
    if offered is None:
        if any(_CDMI_TYPE.search(text) for text in types):
            raise CdmiError(400, f"CDMI media types need the header {VERSION_HEADER}")
        return ""
    versions = {version.strip() for version in offered.split(",")}
    for version in VERSIONS:
        if version in versions:
            return version
    raise CdmiError(400, f"Of {', '.join(VERSIONS)} none is in {offered!r}")


def require_accept(request: web.Request, kind: Kind) -> None:
    """Refuse (406) a request that would not accept a CDMI object of this kind."""
    accept = request.headers.get("Accept", "*/*")
    accepted = {part.partition(";")[0].strip().lower() for part in accept.split(",")}
    if not accepted & {"*/*", "application/*", "application/json", kind.media_type, f"{kind.media_type}+json"}:
        raise CdmiError(406, f"Only {kind.media_type} can be had, not {accept}")


async def read_body(request: web.Request, kind: Kind) -> dict[str, Any]:
    """Return the JSON object of a CDMI request, {} where there is no body; 400 when it is something else."""
    if request.content_type not in (kind.media_type, f"{kind.media_type}+json"):
        raise CdmiError(400, f"Content-Type is {request.content_type}, {kind.media_type} is needed here")
    raw = await request.read()
    try:
        body = json.loads(raw) if raw else {}
    except ValueError as error:
        raise CdmiError(400, f"The body is not JSON: {error}") from error
    if not isinstance(body, dict):
        raise CdmiError(400, "The body is not a JSON object")
    return body


def cdmi_response(body: Mapping[str, Any], *, kind: Kind, version: str, status: int = 200) -> web.Response:
    """Return a CDMI object as the answer."""
    headers = {VERSION_HEADER: version, "Content-Type": kind.media_type}
    return web.Response(status=status, body=json.dumps(body, indent=1).encode() + b"\n", headers=headers)


def done(asked: Asked, status: int = 204) -> web.Response:
    """Return an answer without a body."""
    return web.Response(status=status, headers={VERSION_HEADER: asked.version} if asked.cdmi else {})


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
