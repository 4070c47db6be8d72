"""What is fed with anything: each target takes bytes, and fails where something else than a typed problem comes."""

import ipaddress
import json
from collections.abc import Callable
from typing import Any
from urllib.parse import unquote, urlsplit

from agent import config, strictjson, wire
from agent.api import parse
from agent.api.content import part_of
from agent.api.fields import Fields, load_object
from agent.cdmi import exports, members, networks, sources
from agent.cdmi.answers import Answer
from agent.cdmi.choose import choose
from agent.cdmi.members import Found
from agent.cdmi.place import Place
from agent.cdmi.server import Server
from agent.cdmi.sources import Location
from agent.cdmi.wire import redirected
from agent.cli import explain
from agent.engine.view import explanation_of
from agent.host.scsi_generic import MalformedPage, designators
from agent.model import Resolved, SeenExport
from attachers import checks, fc, iscsi
from attachers.problems import Problem
from tests.fuzz.grow import OBJECT, Source

PROTOCOLS = ("iscsi", "fc", "nfs")
SERVER = Server(
    "http://127.0.0.1/cdmi/",
    allow_http=True,
    aliases=("store.example",),
    storage_networks=(ipaddress.ip_network("10.1.0.0/16"), ipaddress.ip_network("fd00::/8")),
)
NAMES = {"san.example": ["10.1.0.7", "127.0.0.1"], "nas.example": ["169.254.169.254", "fd00::7"]}
MOST = 4000
"""Characters in anything that is said of an answer."""


def read_exports(data: bytes) -> None:
    """An object's exports: read, pinned, chosen, explained."""
    source = Source(data)
    file = (None, "one/disk.img", source.text())[source.pick(3)]
    place = Place(
        size=source.pick(3), object_id="1", file=file, at="https://x/" if file else "", nfs_servers=("nas.example",)
    )
    try:
        seen = exports.read_exports(source.exports(), protocols=PROTOCOLS, place=place)
    except Problem as problem:
        _check_said(problem.detail, problem.hint)
        return
    pinned = tuple(networks.pin(entry, SERVER, NAMES) for entry in seen)
    for entry in pinned:
        _check_entry(entry)
    resolved = Resolved(SERVER.url, SERVER.url, "1", "x", "container", None, pinned)
    chosen, refused = None, None
    try:
        chosen = choose(resolved, PROTOCOLS)
    except Problem as problem:
        refused = problem
        _check_said(problem.detail, problem.hint)
    answer = json.loads(json.dumps(explanation_of("cdmi://x/", resolved, chosen, refused)))
    assert all(line.isprintable() for line in explain.text(answer).splitlines())


def _check_entry(entry: SeenExport) -> None:
    _check_said(entry.key, entry.reason, entry.hint, *entry.notes, *(entry.permissions or ()))
    assert entry.usable == (entry.plan is not None) == (not entry.reason)
    if entry.plan is None:
        return
    if entry.protocol == "iscsi":
        plan = iscsi.plan_of(entry.plan)
        assert entry.plan == plan.as_json()
        hosts = [checks.split_portal(portal)[0] for portal in plan.portals]
    elif entry.protocol == "fc":
        assert entry.plan == fc.plan_of(entry.plan).as_json()
        return
    else:
        assert entry.protocol == "nfs" and set(entry.plan) >= {"server", "export", "path", "version"}
        for path in (entry.plan["export"][1:], entry.plan["path"]):
            assert not {"", ".", ".."} & set(path.split("/")) or path == ""
            assert path.isascii() and path.isprintable() and not set(path) & set(" :\\'\"$`;|&<>()")
        hosts = [entry.plan["server"]]
    assert hosts and all(networks.allows(SERVER.storage_networks, ipaddress.ip_address(host)) for host in hosts)


def _check_said(*texts: str) -> None:
    for text in texts:
        assert text.isprintable() and len(text) < MOST, text[:200]


def read_object(data: bytes) -> None:
    """An object's members: kind, ID, name, size, and where the container above it is."""
    source = Source(data)
    body = source.changed(OBJECT)
    location = Location(SERVER, (("cdmi_objectid", OBJECT["objectID"]), ("pool", "x"), ())[source.pick(3)], False)
    found = Found(location, Answer(SERVER, "GET x", location.url, 200, b"", found=body), body)
    reads: tuple[Callable[[], object], ...] = (
        lambda: members.check_complete(found.answer, body),
        lambda: members.kind_of(found.answer, body),
        lambda: members.object_id_of(location, found.answer, body),
        lambda: members.size_of(body, "container"),
        lambda: members.size_of(body, "dataobject"),
    )
    for read in reads:
        try:
            read()
        except Problem as problem:
            _check_said(problem.detail, problem.hint)
    _check_said(members.name_of(body), members.pending_of(body))
    try:
        name = members.path_name(found)
        above = members.parents(found)
    except Problem as problem:
        _check_said(problem.detail, problem.hint)
        return
    assert "/" not in name and name not in (".", "..")
    for parent in above:
        _check_below_root(parent.url)


def _check_below_root(url: str) -> None:
    assert url.startswith(SERVER.url), url
    names = [unquote(name) for name in urlsplit(url).path.split("/")]
    assert not {".", ".."} & set(names)


def read_source(data: bytes) -> None:
    """A source as a caller writes it."""
    source = Source(data)
    text = source.rest().decode("latin-1") if source.pick(2) else f"cdmi://store.example/{source.text()}{source.text()}"
    try:
        location = sources.parse(text, [SERVER])
    except Problem as problem:
        _check_said(problem.detail, problem.hint)
        return
    _check_below_root(location.url)
    again = sources.parse(location.url, [SERVER])
    assert (again.url, again.names) == (location.url, location.names)


def read_redirect(data: bytes) -> None:
    """The header Location of an answer."""
    source = Source(data)
    place = source.rest().decode("latin-1") if source.pick(2) else source.text() + source.text()
    try:
        url = redirected(SERVER, f"{SERVER.url}pool/?exports", place)
    except Problem as problem:
        _check_said(problem.detail, problem.hint)
        return
    parts = urlsplit(url)
    assert (parts.scheme, parts.netloc) == ("http", "127.0.0.1") or parts.netloc.startswith("127.0.0.1:80")
    assert parts.path.startswith(SERVER.root) and url.isprintable()


def read_json(data: bytes) -> None:
    """The bytes of a body."""
    try:
        found = strictjson.loads(data)
    except ValueError:
        return
    assert json.dumps(found)


def read_page(data: bytes) -> None:
    """An INQUIRY's page 0x83."""
    source = Source(data)
    raw = source.rest()
    page = raw if not raw or raw[0] % 4 == 0 else b"\0\x83" + len(raw).to_bytes(2, "big") + raw
    try:
        names = designators(page)
    except MalformedPage:
        return
    assert all(checks.WWID.fullmatch(name) for name in names)


def read_request(data: bytes) -> None:
    """The body of a request to the daemon's socket."""
    source = Source(data)
    body = source.changed({"source": "cdmi://store.example/cdmi_objectid/1", "protocols": ["iscsi"]})
    try:
        raw = json.dumps(body).encode() if source.pick(8) else source.rest()
        parse.attach_request("one", Fields(load_object(raw)), config.Attach())
    except Problem as problem:
        _check_said(problem.detail, problem.hint)


def read_change(data: bytes) -> None:
    """The bodies and headers of requests about objects."""
    source = Source(data)
    shapes: tuple[tuple[Callable[[dict[str, Any]], object], dict[str, Any]], ...] = (
        (parse.create_request, {"uri": "cdmi://s/a", "kind": "container", "size": 4096, "metadata": {"a": "b"}}),
        (parse.move_request, {"source": "cdmi://s/a", "destination": "cdmi://s/b", "wait_s": 1}),
        (parse.resize_request, {"uri": "cdmi://s/a", "size": 4096, "shrink": False}),
        (parse.fence_request, {"uri": "cdmi://s/a", "host": ["iqn.2026-01.org.example:a", "2000000000000011"]}),
        (parse.clone_request, {"source": "cdmi://s/a", "destination": "cdmi://s/b", "size": 4096}),
        (parse.snapshot_request, {"uri": "cdmi://s/a", "name": "monday"}),
        (parse.metadata, {"metadata": {"a": "b", "c": None}}),
    )
    read, body = shapes[source.pick(len(shapes))]
    text = source.text()
    try:
        read(load_object(json.dumps(source.changed(body)).encode()))
        part = part_of({"Range": text if source.pick(2) else f"bytes={text}"})
        assert part and (part.first is not None or part.last is not None)
    except Problem as problem:
        _check_said(problem.detail, problem.hint)


def read_message(data: bytes) -> None:
    """What the helper is told, and what it answers: it trusts nobody."""
    source = Source(data)
    body = source.changed({"type": ("Login", "Scan", "IscsiQuery", "HostQuery", "Publish")[source.pick(5)]})
    for decode in (wire.decode_step, wire.decode_query, wire.decode_sight, wire.decode_problem):
        try:
            decode(body)
        except Problem as problem:
            _check_said(problem.detail)


TARGETS: dict[str, Callable[[bytes], None]] = {
    "exports": read_exports,
    "objects": read_object,
    "sources": read_source,
    "redirects": read_redirect,
    "json": read_json,
    "vpd83": read_page,
    "requests": read_request,
    "changes": read_change,
    "messages": read_message,
}
