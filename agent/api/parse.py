"""What callers say, checked field by field, and what this version cannot do yet, said clearly."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any
from urllib.parse import urlsplit

from agent.api.fields import Fields, number
from agent.cdmi import sources
from agent.cdmi.initiators import normal
from agent.config import Attach
from agent.model import READING, Access, DomainRequest, Present, Request
from agent.uses import Despite
from attachers import checks
from attachers.problems import Code, Problem

PROTOCOLS = ("iscsi", "fc", "nfs")
FILES = "nfs"
FORMATS = ("raw", "qcow2")
BUSES = ("scsi", "virtio", "sata")
SCHEMES = ("cdmi", "https", "http")
MAX_SOURCE = 2048
MAX_TIMEOUT_S = 3600.0
MAX_LEASE_S = 7 * 86400.0
MAX_ITEMS = 64
MAX_NAMES = 32
KINDS = ("container", "dataobject")
HOST_NAME = re.compile(r"(?:iqn|eui|naa)\.[A-Za-z0-9.:_-]{1,219}", re.ASCII)
WAIT_S = 60.0
MAX_VALUE = 4096
ITEM = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}", re.ASCII)
MAX_GENERATION = 2**63 - 1
EVEN_IF, WITH_SNAPSHOTS, USERS = "even_if_permitted_to_others", "with_snapshots", "users"
OBJECT_ID = "object_id"


def callers_name(text: str) -> str:
    """The checked name of an attachment that a caller makes, or hands to a domain. Raises `Problem` invalid-request."""
    if READING.fullmatch(text):
        raise Problem(
            Code.INVALID_REQUEST, f"name: {text} is one that the daemon gives itself", hint="choose another name"
        )
    return checks.name(text)


def attach_request(name: str, fields: Fields, defaults: Attach) -> Request:
    """The checked request. Raises `Problem`: invalid-request with the field's path, unsupported-on-host."""
    request = Request(
        name=callers_name(name),
        source=source(fields),
        access=Access(fields.choice("access", tuple(Access), "rw")),
        protocols=fields.choices("protocols", PROTOCOLS, defaults.protocols),
        present=Present(fields.choice("present", tuple(Present), "block")),
        format=fields.choice("format", FORMATS, "raw"),
        share=fields.flag("share", default=False),
        generation=fields.whole("generation", low=0, high=MAX_GENERATION, default=None),
        min_paths=fields.whole("min_paths", low=1, high=64, default=1) or 1,
        domain=domain_request(fields.inner("domain")),
        lease_s=fields.seconds("lease_s", low=1, high=MAX_LEASE_S, default=None),
        timeout_s=fields.seconds("timeout_s", low=1, high=MAX_TIMEOUT_S, default=defaults.timeout_s) or 0.0,
    )
    fields.finish()
    _refuse_later_features(request)
    return _with_files_only(request, fields) if request.present is Present.FILE else request


def _with_files_only(request: Request, fields: Fields) -> Request:
    """Only NFS has files to hand out: of the protocols only it is left. Raises `Problem` where it is not among them."""
    if FILES not in request.protocols:
        given = ", ".join(request.protocols)
        detail = f"{fields.path('present')}: file is for {FILES} only, and protocols are {given}"
        hint = f"add {FILES} to protocols (here, or in [attach]), or ask for present=block"
        raise Problem(Code.INVALID_REQUEST, detail, hint=hint)
    return replace(request, protocols=(FILES,))


def source(fields: Fields) -> str:
    """The `source`: an URI of a CDMI object, without a password and without control characters."""
    return _uri_of(fields, "source")


def _uri_of(fields: Fields, key: str) -> str:
    return _uri(fields.text(key, limit=MAX_SOURCE), fields.path(key))


def _uri(text: str, field: str) -> str:
    if not (text.isascii() and text.isprintable()) or " " in text:
        raise checks.refuse(field, text, "an URI (percent-encode what is not plain ASCII)")
    try:
        parts = urlsplit(text)
    except ValueError:
        raise checks.refuse(field, text, "an URI") from None
    if "@" in parts.netloc:
        detail = f"{field}: an URI with a user or a password in it is not accepted"
        raise Problem(Code.INVALID_REQUEST, detail, hint="put user and password_credential into [[server]]")
    if parts.scheme not in SCHEMES or not parts.netloc:
        raise checks.refuse(field, text, "cdmi://HOST/PATH or the https:// URL of a configured server")
    return text


def object_uri(query: Mapping[str, str], *more: str) -> str:
    """`?uri=`, the object that is meant: as the source of an attachment. `more`: what else the query may have."""
    known_query(query, "uri", *more)
    text = query.get("uri", "")
    if not 1 <= len(text) <= MAX_SOURCE:
        raise checks.refuse("uri", text, f"an URI of 1 to {MAX_SOURCE} characters")
    return _uri(text, "uri")


def despite(query: Mapping[str, str]) -> Despite:
    """What the caller says to know, in the query: `?even_if_permitted_to_others=1&with_snapshots=1&object_id=ID`."""
    known = _object_id(query[OBJECT_ID]) if OBJECT_ID in query else ""
    return Despite(flag(query, EVEN_IF), flag(query, WITH_SNAPSHOTS), known)


def _despite(fields: Fields) -> Despite:
    """The same in a body."""
    known = fields.text(OBJECT_ID, "", limit=128) if fields.has(OBJECT_ID) else ""
    return Despite(permitted=fields.flag(EVEN_IF, default=False), object_id=_object_id(known) if known else "")


def _object_id(text: str) -> str:
    if not sources.OBJECT_ID.fullmatch(text):
        raise checks.refuse(OBJECT_ID, text, "the ID of an object")
    return text


@dataclass(frozen=True, slots=True)
class CloneRequest:
    """The body of POST /v1/objects/clone, checked. `size` is in bytes, None: the source's."""

    source: str
    destination: str
    size: int | None
    metadata: dict[str, str]
    wait_s: float


def clone_request(body: dict[str, Any]) -> CloneRequest:
    """The checked request. Raises `Problem` invalid-request with the field's path."""
    fields = Fields(body)
    request = CloneRequest(
        source=_uri_of(fields, "source"),
        destination=_uri_of(fields, "destination"),
        size=fields.whole("size", low=1, high=MAX_GENERATION, default=None),
        metadata=_own_items(body, fields),
        wait_s=_wait(fields),
    )
    fields.finish()
    return request


def snapshot_request(body: dict[str, Any]) -> tuple[str, str, float]:
    """The container, the snapshot's name, and how long to wait (seconds)."""
    fields = Fields(body)
    uri, name, wait_s = _uri_of(fields, "uri"), fields.text("name", limit=128), _wait(fields)
    if not ITEM.fullmatch(name):
        raise checks.refuse("name", name, "a name of A-Z a-z 0-9 . _ -, starting with a letter or digit")
    fields.finish()
    return uri, name, wait_s


@dataclass(frozen=True, slots=True)
class CreateRequest:
    """The body of POST /v1/objects, checked. `size` is in bytes, None: a container that is no LUN."""

    uri: str
    kind: str
    size: int | None
    metadata: dict[str, str]
    wait_s: float


def create_request(body: dict[str, Any]) -> CreateRequest:
    """The checked request. Raises `Problem` invalid-request with the field's path."""
    fields = Fields(body)
    kind = fields.choice("kind", KINDS, "container")
    low = 0 if kind == "dataobject" else 512
    request = CreateRequest(
        uri=_uri_of(fields, "uri"),
        kind=kind,
        size=fields.whole("size", low=low, high=MAX_GENERATION, default=0 if kind == "dataobject" else None),
        metadata=_own_items(body, fields),
        wait_s=_wait(fields),
    )
    fields.finish()
    return request


def restore_request(body: dict[str, Any]) -> tuple[tuple[str, str, float], Despite]:
    """As `snapshot_request`, and what the caller says to know."""
    known = (EVEN_IF, OBJECT_ID)
    rest = {name: value for name, value in body.items() if name not in known}
    return snapshot_request(rest), _despite(Fields(body))


def move_request(body: dict[str, Any]) -> tuple[str, str, float, Despite]:
    """The source, the destination, how long to wait (seconds), and what the caller says to know."""
    fields = Fields(body)
    found = _uri_of(fields, "source"), _uri_of(fields, "destination"), _wait(fields), _despite(fields)
    fields.finish()
    return found


def resize_request(body: dict[str, Any]) -> tuple[str, int, bool, Despite]:
    """The object, its new size (bytes), whether it may be smaller than before, and what the caller says to know."""
    fields = Fields(body)
    uri, size = _uri_of(fields, "uri"), fields.whole("size", low=1, high=MAX_GENERATION, default=None)
    shrink, known = fields.flag("shrink", default=False), _despite(fields)
    fields.finish()
    if size is None:
        raise Problem(Code.INVALID_REQUEST, "size: missing", hint="give size, in bytes")
    return uri, size, shrink, known


@dataclass(frozen=True, slots=True)
class FenceRequest:
    """The body of POST /v1/objects/fence, checked: `names` of one host (or of the ports of its HBA).

    `must_exist`: one of them has to be let in.
    """

    uri: str
    names: tuple[str, ...]
    must_exist: bool
    despite: Despite


def fence_request(body: dict[str, Any]) -> FenceRequest:
    """The checked request. Raises `Problem` invalid-request with the field's path."""
    known = Despite(object_id=_despite(Fields(body)).object_id)
    fields = Fields({name: value for name, value in body.items() if name != OBJECT_ID})
    uri, given = _uri_of(fields, "uri"), body.get("host")
    insists = fields.flag("must_exist", default=False)
    fields.known.add("host")
    fields.finish()
    names = [given] if isinstance(given, str) else given
    wanted = "an initiator name (iqn., eui., naa.) or the name of an FC port, or a list of 1 to 32 of them"
    if not isinstance(names, list) or not 1 <= len(names) <= MAX_NAMES:
        raise checks.refuse("host", given, wanted)
    for place, name in enumerate(names):
        if not isinstance(name, str) or not (HOST_NAME.fullmatch(name) or checks.is_wwpn(normal(name))):
            raise checks.refuse(f"host[{place}]" if isinstance(given, list) else "host", name, wanted)
    return FenceRequest(uri, tuple(names), insists, known)


def _wait(fields: Fields) -> float:
    wait_s = fields.seconds("wait_s", low=0, high=MAX_TIMEOUT_S, default=WAIT_S)
    return WAIT_S if wait_s is None else wait_s


def metadata(body: dict[str, Any]) -> dict[str, str | None]:
    """The body of PATCH /v1/objects: {"metadata": {name: text, or null to take it away}}."""
    fields = Fields(body)
    given = body.get("metadata")
    if not isinstance(given, dict) or not 1 <= len(given) <= MAX_ITEMS:
        raise checks.refuse("metadata", given, f"an object of 1 to {MAX_ITEMS} items")
    fields.known.add("metadata")
    fields.finish()
    return _items(body, fields, null=True)


def _own_items(body: dict[str, Any], fields: Fields) -> dict[str, str]:
    """The metadata that something new is to have: none is said as nothing, or as null."""
    fields.known.add("metadata")
    return _items(body, fields, null=False) if body.get("metadata") is not None else {}


def _items(body: dict[str, Any], fields: Fields, *, null: bool) -> dict[str, Any]:
    """The items of `metadata`; with `null` a value may be that."""
    given = body.get("metadata")
    fields.known.add("metadata")
    if not isinstance(given, dict) or len(given) > MAX_ITEMS:
        raise checks.refuse("metadata", given, f"an object of at most {MAX_ITEMS} items")
    for name, value in given.items():
        if not ITEM.fullmatch(name) or name.lower().startswith("cdmi_"):
            raise checks.refuse("metadata", name, "a name of A-Z a-z 0-9 . _ -, not beginning with cdmi_")
        if not (null and value is None) and (not isinstance(value, str) or len(value) > MAX_VALUE):
            wanted = f"a text of at most {MAX_VALUE} characters{', or null' if null else ''}"
            raise checks.refuse(f"metadata.{name}", value, wanted)
    return given


def domain_request(fields: Fields | None) -> DomainRequest | None:
    """The `domain` of an attachment."""
    if fields is None:
        return None
    request = DomainRequest(
        name=checks.domain(fields.text("name"), field=fields.path("name")),
        target=checks.disk_target(fields.text("target"), field=fields.path("target")),
        bus=fields.choice("bus", BUSES, "scsi"),
    )
    fields.finish()
    return request


def domain_body(domain: str, body: dict[str, Any]) -> DomainRequest:
    """The body of PUT .../domains/{domain}: {"target", "bus"}; `persistent` and `serial` come with a later version."""
    fields = Fields(body)
    request = DomainRequest(
        name=checks.domain(domain),
        target=checks.disk_target(fields.text("target"), field="target"),
        bus=fields.choice("bus", BUSES, "scsi"),
    )
    if fields.flag("persistent", default=False):
        raise not_yet("persistent", "leave it out: the disk is given to the running domain")
    if "serial" in body:
        raise not_yet("serial", "leave it out")
    fields.finish()
    return request


def _refuse_later_features(request: Request) -> None:
    later = {
        f"format={request.format}": (request.format != "raw", "ask for raw"),
    }
    for what, (asked, hint) in later.items():
        if asked:
            raise not_yet(what, hint)


def not_yet(what: str, hint: str) -> Problem:
    """The answer to what the contract has and this version has not."""
    return Problem(Code.UNSUPPORTED_ON_HOST, f"{what}: this version of cdmi-attachd cannot do that yet", hint=hint)


def wait_s(query: Mapping[str, str]) -> float | None:
    """`?wait=SECONDS`; None means until the deadline."""
    return number(query["wait"], field="wait", high=MAX_TIMEOUT_S) if "wait" in query else None


def force(query: Mapping[str, str]) -> bool:
    """`?force=1`."""
    return flag(query, "force")


def must_exist(query: Mapping[str, str]) -> bool:
    """`?must_exist=1`: what is to go has to be there."""
    return flag(query, "must_exist")


def deleted(query: Mapping[str, str]) -> str:
    """`?uri=` of what is to be deleted; `must_exist` and `despite` read the rest."""
    return object_uri(query, EVEN_IF, WITH_SNAPSHOTS, OBJECT_ID, "must_exist")


def flag(query: Mapping[str, str], name: str) -> bool:
    """A parameter that is 0 (which is as without it) or 1."""
    if query.get(name, "0") not in ("0", "1"):
        raise checks.refuse(name, query[name], "0 or 1")
    return query.get(name) == "1"


def events_query(query: Mapping[str, str]) -> tuple[int, bool]:
    """`?since=SEQ&follow=0|1` of the event streams: the number, and whether the stream stays open."""
    since, follow = query.get("since", "0"), query.get("follow", "1")
    if not (since.isascii() and since.isdigit() and len(since) <= 18):
        raise checks.refuse("since", since, "the number of an event, or 0")
    if follow not in ("0", "1"):
        raise checks.refuse("follow", follow, "0 or 1")
    return int(since), follow == "1"


def known_query(query: Mapping[str, str], *known: str) -> None:
    """Refuse a parameter that the route does not have."""
    for key in query:
        if key not in known:
            hint = f"known are {', '.join(known)}" if known else "this route takes none"
            raise Problem(Code.INVALID_REQUEST, f"?{ascii(key)[1:-1][:120]}: unknown parameter", hint=hint)


def resolve_request(body: dict[str, Any]) -> str:
    """The source that POST /v1/resolve asks for."""
    fields = Fields(body)
    text = source(fields)
    fields.finish()
    return text
