"""The contract as an OpenAPI 3.1 document, built from the table of routes and the schemas."""

import re
from typing import Any

from agent.api import parse
from agent.api.routes import NOW, ROUTES, Op, Route
from agent.api.schema_parts import NAME_TEXT, SOURCE
from agent.api.schemas import SCHEMAS
from agent.model import Phase
from attachers.problems import STATUS

VERSION = "1.0.0"
"""Of the contract, not of the program."""

BODIES = {
    Op.ATTACH: "AttachRequest",
    Op.RESOLVE: "ResolveRequest",
    Op.DOMAIN_ATTACH: "DomainBody",
    Op.OBJECT_CHANGE: "ObjectChange",
    Op.OBJECT_CLONE: "CloneRequest",
    Op.OBJECT_SNAPSHOT: "SnapshotRequest",
    Op.OBJECT_CREATE: "CreateRequest",
    Op.OBJECT_MOVE: "MoveRequest",
    Op.OBJECT_RESTORE: "RestoreRequest",
    Op.OBJECT_RESIZE: "ResizeRequest",
    Op.OBJECT_FENCE: "FenceRequest",
    Op.LEFTOVERS_CLEAN: "CleanRequest",
}

OPERATION_ANSWERS: dict[int, tuple[str, str | None]] = {
    201: ("done", "Operation"),
    202: ("under way; Location says where to look", "Operation"),
}

ANSWERS: dict[Op, dict[int, tuple[str, str | None]]] = {
    Op.LIST: {200: ("all attachments, by name", "Attachments")},
    Op.ATTACH: {
        200: ("it was so already", "Attachment"),
        201: ("attached", "Attachment"),
        202: ("still under way; Location says where to look", "Attachment"),
    },
    Op.VIEW: {200: ("the attachment", "Attachment")},
    Op.DETACH: {204: ("it is gone, or never was", None)},
    Op.DOMAIN_ATTACH: {200: ("the domain has the disk", "Attachment")},
    Op.DOMAIN_DETACH: {204: ("the domain has it no more, or never had it", None)},
    Op.CONFIRM: {200: ("it stays until it is detached", "Attachment")},
    Op.RESIZE: {200: ("its size was read again, and the domains that have it know", "Attachment")},
    Op.RESOLVE: {200: ("what it is", "Resolved")},
    Op.HOST: {200: ("this host", "Host")},
    Op.OBJECT_STAT: {200: ("what it is", "Object")},
    Op.OBJECT_CHANGE: {200: ("what it is now", "Object")},
    Op.OBJECT_DELETE: {204: ("it is gone, or never was", None)},
    Op.OBJECT_READ: {
        200: ("all of its bytes; the connection is cut before their end where they cannot be proved", None),
        206: ("the part that Range asks for", None),
        416: ("nothing of that part is there", "Problem"),
    },
    Op.OBJECT_WRITE: {200: ("it has these bytes now", "Object"), 201: ("it was made", "Object")},
    Op.OBJECT_CLONE: OPERATION_ANSWERS,
    Op.OBJECT_SNAPSHOT: OPERATION_ANSWERS,
    Op.OBJECT_CREATE: OPERATION_ANSWERS,
    Op.OBJECT_MOVE: OPERATION_ANSWERS,
    Op.OBJECT_RESTORE: OPERATION_ANSWERS,
    Op.OBJECT_RESIZE: {200: ("what it is now", "Object")},
    Op.OBJECT_FENCE: {200: ("no export lets that host in any more", "Fenced")},
    Op.CAPACITY: {200: ("how much room there is", "Capacity")},
    Op.OPERATION: {200: ("how far it is", "Operation")},
    Op.LEFTOVERS: {200: ("all of it; nothing is changed", "Leftovers")},
    Op.LEFTOVERS_CLEAN: {200: ("what went, and what stays and why", "Cleaned")},
    Op.EVENTS: {200: ("events, one JSON object a line (application/x-ndjson)", None)},
    Op.ATTACHMENT_EVENTS: {200: ("events of this attachment, one JSON object a line", None)},
    Op.METRICS: {200: ("the text format of Prometheus", None)},
    Op.HEALTH: {200: ("alive", "Health"), 503: ("not well; reasons say why", "Health")},
    Op.OPENAPI: {200: ("this document", None)},
}

EVENT_QUERIES: tuple[dict[str, Any], ...] = (
    {
        "name": "since",
        "in": "query",
        "description": "only events after this number: where a reader left off",
        "schema": {"type": "integer", "minimum": 0, "default": 0},
    },
    {
        "name": "follow",
        "in": "query",
        "description": "0: end after what there is; else the stream stays open (an empty line now and then)",
        "schema": {"enum": ["0", "1"], "default": "1"},
    },
)

OBJECT_QUERY: tuple[dict[str, Any], ...] = (
    {"name": "uri", "in": "query", "required": True, "description": "as the source of an attachment", "schema": SOURCE},
)


def _flag(name: str, description: str) -> dict[str, Any]:
    return {"name": name, "in": "query", "description": description, "schema": {"enum": ["0", "1"], "default": "0"}}


EVEN_IF = _flag(parse.EVEN_IF, "1: although other hosts are permitted to use it")

WITH_SNAPSHOTS = _flag(parse.WITH_SNAPSHOTS, "1: its snapshots go with it")
OBJECT_ID: dict[str, Any] = {
    "name": parse.OBJECT_ID,
    "in": "query",
    "description": "refuse (conflict) where it is another object by now",
    "schema": {"type": "string", "maxLength": 128},
}

RANGE_HEADERS: tuple[dict[str, Any], ...] = (
    {
        "name": "Range",
        "in": "header",
        "description": "one part: bytes=0-99, bytes=100- or bytes=-100",
        "schema": {"type": "string", "pattern": "^bytes=(?:[0-9]{1,18}-[0-9]{0,18}|-[0-9]{1,18})$"},
    },
    {
        "name": "If-Range",
        "in": "header",
        "description": "the ETag of an earlier answer: all of it where it is another object by now",
        "schema": {"type": "string"},
    },
)

MUST_EXIST: dict[str, Any] = {
    "name": "must_exist",
    "in": "query",
    "description": "1: 404 where there is none; else 204 with the header X-Nothing-To-Do, and nothing is changed",
    "schema": {"enum": ["0", "1"], "default": "0"},
}
GENERATION: dict[str, Any] = {
    "name": "generation",
    "in": "query",
    "description": "lower than the last one seen for this name: refused (stale)",
    "schema": {"type": "integer", "minimum": 0, "maximum": parse.MAX_GENERATION},
}
PREFIX: dict[str, Any] = {
    "name": "prefix",
    "in": "query",
    "description": "only those whose names begin so: one-42- for all disks of a VM",
    "schema": NAME_TEXT,
}
QUERIES: dict[Op, tuple[dict[str, Any], ...]] = {
    Op.LIST: (PREFIX,),
    Op.CONFIRM: (GENERATION,),
    Op.OBJECT_STAT: (*OBJECT_QUERY, _flag(parse.USERS, "1: also who may use it on other hosts, and its snapshots")),
    Op.OBJECT_CHANGE: OBJECT_QUERY,
    Op.OBJECT_DELETE: (*OBJECT_QUERY, EVEN_IF, WITH_SNAPSHOTS, OBJECT_ID, MUST_EXIST),
    Op.CAPACITY: OBJECT_QUERY,
    Op.OBJECT_READ: (*OBJECT_QUERY, *RANGE_HEADERS),
    Op.OBJECT_WRITE: (
        *OBJECT_QUERY,
        EVEN_IF,
        {
            "name": "If-None-Match",
            "in": "header",
            "description": "*: only where there is nothing yet; else what is there is replaced",
            "schema": {"enum": ["*"]},
        },
    ),
    Op.EVENTS: EVENT_QUERIES,
    Op.ATTACHMENT_EVENTS: EVENT_QUERIES,
    Op.ATTACH: (
        {
            "name": "wait",
            "in": "query",
            "description": "answer 202 after so many seconds; without it, wait until the deadline",
            "schema": {"type": "number", "minimum": 0},
        },
    ),
    Op.DETACH: (
        {
            "name": "force",
            "in": "query",
            "description": "the loss of what cannot be written out is known; logged with the caller, kept as `tainted`",
            "schema": {"enum": ["0", "1"], "default": "0"},
        },
        GENERATION,
        MUST_EXIST,
    ),
}


def document() -> dict[str, Any]:
    """The whole document, as JSON values."""
    paths: dict[str, dict[str, Any]] = {}
    for route in ROUTES:
        paths.setdefault(route.path, {})[route.method.lower()] = _operation(route)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "cdmi-attachd",
            "version": VERSION,
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
            "description": "HTTP/1.1 on the Unix socket /run/cdmi-attach/control.sock. Root, the daemon's own user and "
            "the members of the group of [socket] may call. Routes with `x-available: false` answer 501.",
        },
        "servers": [{"url": "http://localhost"}],
        "paths": paths,
        "components": {"schemas": SCHEMAS, "responses": {"Problem": _problem()}},
        "x-phases": list(Phase),
        "x-problems": {str(code): status for code, status in STATUS.items()},
    }


def _operation(route: Route) -> dict[str, Any]:
    operation: dict[str, Any] = {
        "operationId": str(route.op),
        "summary": route.summary,
        "x-available": route.op in NOW,
        "responses": {str(status): _answer(*answer) for status, answer in ANSWERS.get(route.op, {}).items()},
    }
    operation["responses"]["default"] = {"$ref": "#/components/responses/Problem"}
    if parameters := [*_path_parameters(route.path), *QUERIES.get(route.op, ())]:
        operation["parameters"] = parameters
    if body := BODIES.get(route.op):
        operation["requestBody"] = {"required": True, "content": _json(body)}
    if route.op is Op.OBJECT_WRITE:
        operation["requestBody"] = {"required": True, "content": {"application/octet-stream": {}}}
    return operation


def _path_parameters(path: str) -> list[dict[str, Any]]:
    return [
        {"name": name, "in": "path", "required": True, "schema": NAME_TEXT if name == "name" else {"type": "string"}}
        for name in re.findall(r"\{(\w+)\}", path)
    ]


def _answer(description: str, schema: str | None) -> dict[str, Any]:
    if schema == "Problem":
        return {"$ref": "#/components/responses/Problem"}
    return {"description": description} | ({"content": _json(schema)} if schema else {})


def _json(schema: str) -> dict[str, Any]:
    return {"application/json": {"schema": {"$ref": f"#/components/schemas/{schema}"}}}


def _problem() -> dict[str, Any]:
    content = {"application/problem+json": {"schema": {"$ref": "#/components/schemas/Problem"}}}
    return {"description": "what is wrong, and the remedy; `code` is stable", "content": content}
