"""The JSON objects of the contract, as JSON Schema (2020-12)."""

from typing import Any

from agent.api import parse
from agent.model import Access, OperationState, Phase, Present
from attachers.checks import DISK_TARGET, DOMAIN, NAME
from attachers.problems import Code

Schema = dict[str, Any]


def _object(properties: Schema, *, required: tuple[str, ...] = (), closed: bool = False, about: str = "") -> Schema:
    schema: Schema = {"type": "object", "properties": properties}
    if required:
        schema["required"] = list(required)
    if closed:
        schema["additionalProperties"] = False
    return schema | ({"description": about} if about else {})


def _list(items: Schema) -> Schema:
    return {"type": "array", "items": items}


def _ref(name: str) -> Schema:
    return {"$ref": f"#/components/schemas/{name}"}


def _or_null(schema: Schema) -> Schema:
    return {"anyOf": [schema, {"type": "null"}]}


def _text(about: str = "", **more: Any) -> Schema:
    return {"type": "string", **({"description": about} if about else {}), **more}


MAYBE_TEXT: Schema = {"type": ["string", "null"]}
FLAG: Schema = {"type": "boolean"}
SIZE: Schema = {"type": "integer", "minimum": 0, "description": "bytes"}
NAME_TEXT: Schema = {"type": "string", "pattern": f"^(?:{NAME.pattern})$"}

SOURCE: Schema = _text(
    "cdmi://host[:port]/path, or the https:// URL of a configured server, by ID (.../cdmi_objectid/ID) or by path",
    minLength=1,
    maxLength=parse.MAX_SOURCE,
)

DOMAIN_REQUEST = _object(
    {
        "name": _text(pattern=f"^(?:{DOMAIN.pattern})$"),
        "target": _text(pattern=f"^(?:{DISK_TARGET.pattern})$"),
        "bus": _text(enum=list(parse.BUSES), default="scsi"),
    },
    required=("name", "target"),
    closed=True,
)

DOMAIN_BODY = _object(
    {
        "target": _text(pattern=f"^(?:{DISK_TARGET.pattern})$"),
        "bus": _text(enum=list(parse.BUSES), default="scsi"),
        "persistent": FLAG | {"default": False, "description": "not in this version"},
        "serial": _text(description="not in this version"),
    },
    required=("target",),
    closed=True,
)

ATTACH_REQUEST = _object(
    {
        "source": SOURCE,
        "access": _text(enum=list(Access), default="rw"),
        "protocols": _list(_text(enum=list(parse.PROTOCOLS)))
        | {"minItems": 1, "uniqueItems": True, "description": "order of preference; default from the configuration"},
        "present": _text("file: NFS only", enum=list(Present), default="block"),
        "format": _text("qcow2: not in this version", enum=list(parse.FORMATS), default="raw"),
        "share": FLAG | {"default": False, "description": "another read-write attachment may exist on this host"},
        "generation": {
            "type": ["integer", "null"],
            "minimum": 0,
            "maximum": parse.MAX_GENERATION,
            "description": "lower than the last one seen for this object: refused (stale)",
        },
        "min_paths": {"type": ["integer", "null"], "minimum": 1, "maximum": 64, "default": 1},
        "domain": _or_null(_ref("DomainRequest")),
        "lease_s": {
            "type": ["number", "null"],
            "minimum": 1,
            "maximum": parse.MAX_LEASE_S,
            "description": "detach by itself unless confirmed; not in this version",
        },
        "timeout_s": {
            "type": ["number", "null"],
            "minimum": 1,
            "maximum": parse.MAX_TIMEOUT_S,
            "description": "the deadline; default from the configuration",
        },
    },
    required=("source",),
    closed=True,
)

RESOLVE_REQUEST = _object({"source": SOURCE}, required=("source",), closed=True)

PATH = _object({"node": _text(), "hctl": _text(), "via": _text(), "state": _text()}, required=("node", "state"))

DEVICE = _object(
    {
        "kind": _text(enum=list(Present)),
        "path": _text("stable, kept by udev"),
        "node": _text("the kernel's name of the moment"),
        "wwid": MAYBE_TEXT,
        "size": SIZE,
        "read_only": FLAG,
        "paths": _list(PATH),
    },
    required=("kind", "path", "node", "wwid", "size", "read_only", "paths"),
)

STEP = _object({"at": _text(format="date-time"), "took_ms": {"type": "number"}, "what": _text()}, required=("what",))

ATTACHMENT = _object(
    {
        "name": NAME_TEXT,
        "source": _text(),
        "access": _text(enum=list(Access)),
        "object_id": MAYBE_TEXT,
        "phase": _text(enum=list(Phase)),
        "protocol": MAYBE_TEXT,
        "verified": FLAG,
        "link": MAYBE_TEXT | {"description": "the same path on every host; null until the device is verified"},
        "device": _or_null(_ref("Device")),
        "disk_xml": MAYBE_TEXT,
        "domains": _list(_object({"name": _text(), "target": _text()}, required=("name", "target"))),
        "steps": _list(STEP),
        "tainted": _list(_text()) | {"description": "what a forced detach left behind"},
        "problem": _or_null(_ref("Problem")),
        "note": MAYBE_TEXT
        | {"description": "what to know of how it was attached: one path of several, an export passed over, and why"},
    },
    required=("name", "source", "phase", "link", "device", "problem"),
)

PROBLEM = _object(
    {
        "type": _text(),
        "title": _text(),
        "status": {"type": "integer"},
        "code": _text(enum=list(Code)),
        "detail": _text("what happened, in one sentence"),
        "hint": _text("the remedy"),
        "attachment": _text(),
        "step": _text("the step that failed"),
    },
    required=("type", "title", "status", "code", "detail"),
    about="RFC 9457",
)

EXPORT = _object(
    {
        "key": _text("its name in the object's exports"),
        "at": MAYBE_TEXT | {"description": "the container above the object that has it; null: the object itself"},
        "protocol": _text("iscsi, fc, nfs, occi, ... or unknown"),
        "usable": FLAG,
        "used": FLAG | {"description": "an attachment with the configured protocols would use this one"},
        "pending": FLAG | {"description": "not usable yet: an attach waits for it until its deadline"},
        "reason": _text("why it is not usable; empty when it is"),
        "hint": _text("what would make it usable; empty when it is"),
        "notes": _list(_text()) | {"description": "how its values were read, and what of it is left out"},
        "permissions": {"type": ["array", "null"], "items": {"type": "string"}, "description": "null: anybody may"},
        "plan": {"type": ["object", "null"]},
    },
    required=("key", "protocol", "usable", "reason"),
)

RESOLVED = _object(
    {
        "source": _text(),
        "server": _text("the configured server's URL"),
        "uri": _text("the object's own, by ID where it has one"),
        "object_id": MAYBE_TEXT,
        "name": MAYBE_TEXT,
        "kind": _text("container or dataobject"),
        "size": {"type": ["integer", "null"], "description": "bytes; null when not told"},
        "version": MAYBE_TEXT | {"description": "the CDMI version that the server was spoken to in"},
        "pending": MAYBE_TEXT | {"description": "the server is not done with making it; null when it is"},
        "exports": _list(EXPORT),
        "above": _list(_object({"uri": _text(), "says": _text()}, required=("uri", "says")))
        | {"description": "the containers above a data object, looked at for an NFS export; the nearest first"},
        "problem": _or_null(_ref("Problem")) | {"description": "why none of them can be used"},
    },
    required=("uri", "kind", "exports"),
)

HOST = _object(
    {
        "hostname": _text(),
        "initiator_name": MAYBE_TEXT | {"description": "the iSCSI name (IQN) of this host"},
        "wwpns": _list(_text()) | {"description": "the names of this host's Fibre Channel ports, 16 hex digits each"},
        "protocols": {
            "type": "object",
            "additionalProperties": _object({"available": FLAG, "reason": _text()}, required=("available",)),
        },
    },
    required=("hostname", "protocols"),
)

OBJECT = _object(
    {
        "source": _text(),
        "server": _text("the configured server's URL"),
        "uri": _text("the object's own, by ID where it has one"),
        "object_id": MAYBE_TEXT,
        "name": _text(),
        "kind": _text("container or dataobject"),
        "size": {"type": ["integer", "null"], "description": "bytes; a LUN's as it is assigned; null when not told"},
        "format": MAYBE_TEXT | {"description": "what its first bytes look like; null where they cannot be read"},
        "hash": _or_null(_object({"algorithm": _text(), "value": _text()}, required=("algorithm", "value"))),
        "times": _object(dict.fromkeys(("created", "modified", "accessed"), MAYBE_TEXT)),
        "metadata": {"type": "object", "additionalProperties": {"type": "string"}},
        "reference": MAYBE_TEXT
        | {"description": "where the source is a reference to the object: the reference's own URL"},
        "attachments": _list(_text()) | {"description": "its attachments on this host"},
    },
    required=("uri", "kind", "size", "attachments"),
)

OBJECT_CHANGE = _object(
    {
        "metadata": {
            "type": "object",
            "minProperties": 1,
            "maxProperties": parse.MAX_ITEMS,
            "propertyNames": {"pattern": f"^(?:(?![cC][dD][mM][iI]_){parse.ITEM.pattern})$"},
            "additionalProperties": {"type": ["string", "null"], "maxLength": parse.MAX_VALUE},
            "description": "items to set, or (null) to take away; all others stay",
        }
    },
    required=("metadata",),
    closed=True,
)

WAIT: Schema = {
    "type": ["number", "null"],
    "minimum": 0,
    "maximum": parse.MAX_TIMEOUT_S,
    "default": parse.WAIT_S,
    "description": "answer 202 after so many seconds",
}

CLONE_REQUEST = _object(
    {
        "source": SOURCE,
        "destination": SOURCE | {"description": "where the copy is to be: a path on the same server"},
        "size": {
            "type": ["integer", "null"],
            "minimum": 1,
            "maximum": parse.MAX_GENERATION,
            "description": "bytes, of a LUN: not less than the source's",
        },
        "wait_s": WAIT,
    },
    required=("source", "destination"),
    closed=True,
)

SNAPSHOT_REQUEST = _object(
    {"uri": SOURCE, "name": _text(pattern=f"^(?:{parse.ITEM.pattern})$"), "wait_s": WAIT},
    required=("uri", "name"),
    closed=True,
)

ITEMS: Schema = {
    "type": "object",
    "maxProperties": parse.MAX_ITEMS,
    "propertyNames": {"pattern": f"^(?:(?![cC][dD][mM][iI]_){parse.ITEM.pattern})$"},
    "additionalProperties": {"type": "string", "maxLength": parse.MAX_VALUE},
}

CREATE_REQUEST = _object(
    {
        "uri": SOURCE | {"description": "where it is to be: a path"},
        "kind": _text(enum=list(parse.KINDS), default="container"),
        "size": {
            "type": ["integer", "null"],
            "minimum": 0,
            "maximum": parse.MAX_GENERATION,
            "description": "bytes; of a container (from 512 on): it is a LUN; of a data object: it is full of zeros",
        },
        "metadata": {"anyOf": [ITEMS, {"type": "null"}]},
        "wait_s": WAIT,
    },
    required=("uri",),
    closed=True,
)

MOVE_REQUEST = _object(
    {"source": SOURCE, "destination": SOURCE, "wait_s": WAIT}, required=("source", "destination"), closed=True
)

RESIZE_REQUEST = _object(
    {
        "uri": SOURCE,
        "size": {"type": "integer", "minimum": 1, "maximum": parse.MAX_GENERATION, "description": "bytes"},
        "shrink": FLAG | {"default": False, "description": "a LUN may lose what is beyond its new size"},
    },
    required=("uri", "size"),
    closed=True,
)

HOST_TEXT = _text("an iSCSI initiator name, or the name of a Fibre Channel port", maxLength=223)

FENCE_REQUEST = _object(
    {
        "uri": SOURCE,
        "host": {"anyOf": [HOST_TEXT, _list(HOST_TEXT) | {"minItems": 1, "maxItems": parse.MAX_NAMES}]},
        "must_exist": FLAG | {"default": False},
    },
    required=("uri", "host"),
    closed=True,
)

FENCED = _object(
    {
        "uri": _text(),
        "host": _list(_text()),
        "exports": _list(
            _object(
                {
                    "key": _text(),
                    "protocol": _text(),
                    "withdrawn": _list(_text()) | {"description": "whose permission was there"},
                    "permissions": _list(_text()) | {"description": "who is left"},
                },
                required=("key", "withdrawn", "permissions"),
            )
        ),
    },
    required=("uri", "host", "exports"),
)

MAYBE_BYTES: Schema = {"type": ["integer", "null"], "description": "bytes; null where nothing tells it"}
CAPACITY = _object(
    {
        "source": _text(),
        "used": MAYBE_BYTES,
        "free": MAYBE_BYTES,
        "total": MAYBE_BYTES,
        "by": _text("what told it"),
    },
    required=("used", "free", "total", "by"),
)

OPERATION = _object(
    {
        "id": _text(),
        "kind": _text(enum=["clone", "snapshot", "create", "move", "restore"]),
        "source": MAYBE_TEXT | {"description": "null for create"},
        "destination": _text("the URL of what is made"),
        "state": _text(enum=list(OperationState)),
        "percent": {"type": ["integer", "null"], "description": "as the server tells it"},
        "uri": MAYBE_TEXT | {"description": "of what was made; null until it is done"},
        "object_id": MAYBE_TEXT,
        "problem": _or_null(_ref("Problem")),
    },
    required=("id", "kind", "source", "destination", "state", "percent", "uri", "problem"),
)

SCHEMAS: dict[str, Schema] = {
    "AttachRequest": ATTACH_REQUEST,
    "DomainRequest": DOMAIN_REQUEST,
    "DomainBody": DOMAIN_BODY,
    "ResolveRequest": RESOLVE_REQUEST,
    "Attachment": ATTACHMENT,
    "Attachments": _object({"attachments": _list(_ref("Attachment"))}, required=("attachments",)),
    "Device": DEVICE,
    "Problem": PROBLEM,
    "Resolved": RESOLVED,
    "Host": HOST,
    "Object": OBJECT,
    "ObjectChange": OBJECT_CHANGE,
    "CloneRequest": CLONE_REQUEST,
    "SnapshotRequest": SNAPSHOT_REQUEST,
    "CreateRequest": CREATE_REQUEST,
    "MoveRequest": MOVE_REQUEST,
    "ResizeRequest": RESIZE_REQUEST,
    "FenceRequest": FENCE_REQUEST,
    "Fenced": FENCED,
    "Capacity": CAPACITY,
    "Operation": OPERATION,
    "Health": _object({"ok": FLAG, "reasons": _list(_text())}, required=("ok", "reasons")),
}
