"""The JSON objects of the contract, as JSON Schema (2020-12)."""

from agent.api import parse, schemas_objects, selecting
from agent.api.schema_parts import (
    FLAG,
    MAYBE_TEXT,
    NAME_TEXT,
    SIZE,
    SOURCE,
    Schema,
    make_list,
    make_object,
    make_ref,
    make_text,
    or_null,
)
from agent.model import Access, Phase, Present
from attachers.checks import DISK_TARGET, DOMAIN
from attachers.problems import Code

DOMAIN_REQUEST = make_object(
    {
        "name": make_text(pattern=f"^(?:{DOMAIN.pattern})$"),
        "target": make_text(pattern=f"^(?:{DISK_TARGET.pattern})$"),
        "bus": make_text(enum=list(parse.BUSES), default="scsi"),
    },
    required=("name", "target"),
    closed=True,
)

DOMAIN_BODY = make_object(
    {
        "target": make_text(pattern=f"^(?:{DISK_TARGET.pattern})$"),
        "bus": make_text(enum=list(parse.BUSES), default="scsi"),
        "persistent": FLAG | {"default": False, "description": "not in this version"},
        "serial": make_text(description="not in this version"),
    },
    required=("target",),
    closed=True,
)

ATTACH_REQUEST = make_object(
    {
        "source": SOURCE,
        "access": make_text(enum=list(Access), default="rw"),
        "protocols": make_list(make_text(enum=list(parse.PROTOCOLS)))
        | {"minItems": 1, "uniqueItems": True, "description": "order of preference; default from the configuration"},
        "present": make_text("file: NFS only", enum=list(Present), default="block"),
        "format": make_text("qcow2: not in this version", enum=list(parse.FORMATS), default="raw"),
        "share": FLAG | {"default": False, "description": "another read-write attachment may exist on this host"},
        "generation": {
            "type": ["integer", "null"],
            "minimum": 0,
            "maximum": parse.MAX_GENERATION,
            "description": "lower than the last one seen for this name or this object: refused (stale)",
        },
        "min_paths": {"type": ["integer", "null"], "minimum": 1, "maximum": 64, "default": 1},
        "domain": or_null(make_ref("DomainRequest")),
        "lease_s": {
            "type": ["number", "null"],
            "minimum": 1,
            "maximum": parse.MAX_LEASE_S,
            "description": "detach by itself after so long, unless it is confirmed, or in use",
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

RESOLVE_REQUEST = make_object({"source": SOURCE}, required=("source",), closed=True)

PATH = make_object(
    {"node": make_text(), "hctl": make_text(), "via": make_text(), "state": make_text()}, required=("node", "state")
)

DEVICE = make_object(
    {
        "kind": make_text(enum=list(Present)),
        "path": make_text("stable, kept by udev"),
        "node": make_text("the kernel's name of the moment"),
        "wwid": MAYBE_TEXT,
        "size": SIZE,
        "read_only": FLAG,
        "paths": make_list(PATH),
    },
    required=("kind", "path", "node", "wwid", "size", "read_only", "paths"),
)

STEP = make_object(
    {"at": make_text(format="date-time"), "took_ms": {"type": "number"}, "what": make_text()}, required=("what",)
)

DEAD = "dead: it has the disk open that was here before, which is gone; re-plug it"
GIVEN_TEXTS = {"name": make_text(), "target": make_text(), "state": make_text(DEAD, enum=["given", "dead"])}
GIVEN = make_object(GIVEN_TEXTS, required=tuple(GIVEN_TEXTS))

ATTACHMENT = make_object(
    {
        "name": NAME_TEXT,
        "source": make_text(),
        "access": make_text(enum=list(Access)),
        "object_id": MAYBE_TEXT,
        "uri": MAYBE_TEXT | {"description": "the object's own address; null until it was resolved"},
        "share": FLAG,
        "lease": or_null(make_ref("Lease")) | {"description": "null: it stays until it is detached"},
        "generation": {"type": ["integer", "null"], "description": "of the last request for it"},
        "phase": make_text(enum=list(Phase)),
        "protocol": MAYBE_TEXT,
        "verified": FLAG,
        "link": MAYBE_TEXT | {"description": "the same path on every host; null until the device is verified"},
        "device": or_null(make_ref("Device")),
        "disk_xml": MAYBE_TEXT,
        "domains": make_list(GIVEN),
        "steps": make_list(STEP),
        "tainted": make_list(make_text()) | {"description": "what a forced detach gave up, and when and by whom"},
        "problem": or_null(make_ref("Problem")),
        "note": MAYBE_TEXT
        | {"description": "what to know of how it was attached: one path of several, an export passed over, and why"},
    },
    required=("name", "source", "phase", "link", "device", "problem"),
)

PROBLEM = make_object(
    {
        "type": make_text(),
        "title": make_text(),
        "status": {"type": "integer"},
        "code": make_text(enum=list(Code)),
        "detail": make_text("what happened, in one sentence"),
        "hint": make_text("the remedy"),
        "attachment": make_text(),
        "step": make_text("the step that failed"),
    },
    required=("type", "title", "status", "code", "detail"),
    about="RFC 9457",
)

EXPORT = make_object(
    {
        "key": make_text("its name in the object's exports"),
        "at": MAYBE_TEXT | {"description": "the container above the object that has it; null: the object itself"},
        "protocol": make_text("iscsi, fc, nfs, occi, ... or unknown"),
        "usable": FLAG,
        "used": FLAG | {"description": "an attachment with the configured protocols would use this one"},
        "pending": FLAG | {"description": "not usable yet: an attach waits for it until its deadline"},
        "reason": make_text("why it is not usable; empty when it is"),
        "hint": make_text("what would make it usable; empty when it is"),
        "notes": make_list(make_text()) | {"description": "how its values were read, and what of it is left out"},
        "permissions": {"type": ["array", "null"], "items": {"type": "string"}, "description": "null: anybody may"},
        "plan": {"type": ["object", "null"]},
    },
    required=("key", "protocol", "usable", "reason"),
)

RESOLVED = make_object(
    {
        "source": make_text(),
        "server": make_text("the configured server's URL"),
        "uri": make_text("the object's own, by ID where it has one"),
        "object_id": MAYBE_TEXT,
        "name": MAYBE_TEXT,
        "kind": make_text("container or dataobject"),
        "size": {"type": ["integer", "null"], "description": "bytes; null when not told"},
        "version": MAYBE_TEXT | {"description": "the CDMI version that the server was spoken to in"},
        "pending": MAYBE_TEXT | {"description": "the server is not done with making it; null when it is"},
        "exports": make_list(EXPORT),
        "above": make_list(make_object({"uri": make_text(), "says": make_text()}, required=("uri", "says")))
        | {"description": "the containers above a data object, looked at for an NFS export; the nearest first"},
        "problem": or_null(make_ref("Problem")) | {"description": "why none of them can be used"},
    },
    required=("uri", "kind", "exports"),
)

HOST = make_object(
    {
        "hostname": make_text(),
        "initiator_name": MAYBE_TEXT | {"description": "the iSCSI name (IQN) that logins of this host say"},
        "wwpns": make_list(make_text())
        | {"description": "the names of this host's Fibre Channel ports, 16 hex digits each"},
        "protocols": {
            "type": "object",
            "additionalProperties": make_object({"available": FLAG, "reason": make_text()}, required=("available",)),
        },
    },
    required=("hostname", "protocols"),
)

_LEFT: dict[str, Schema] = {
    "id": make_text("for clean", pattern=f"^{selecting.LEFTOVER.pattern}$"),
    "kind": make_text("unit, session, link, mount, permission; disk, map, ...: told only"),
    "what": make_text(),
    "things": make_list(make_text()) | {"description": "as the record of what was made here has them"},
    "ours": FLAG | {"description": "false: others have left it, and it is never touched"},
    "users": make_list(make_text()),
    "cleanable": FLAG,
    "why": MAYBE_TEXT | {"description": "why it is not taken away"},
}
LEFTOVER = make_object(_LEFT, required=tuple(_LEFT))
CLEAN_REQUEST = make_object(
    {"item": {"type": ["string", "null"], "pattern": f"^{selecting.LEFTOVER.pattern}$", "description": "null: all"}},
    closed=True,
)
CLEANED = make_object(
    {
        "cleaned": make_list(make_ref("Leftover")),
        "left": make_list(make_object(_LEFT | {"problem": or_null(make_ref("Problem"))}, required=(*_LEFT, "problem"))),
    },
    required=("cleaned", "left"),
)

SCHEMAS: dict[str, Schema] = {
    "AttachRequest": ATTACH_REQUEST,
    "DomainRequest": DOMAIN_REQUEST,
    "DomainBody": DOMAIN_BODY,
    "ResolveRequest": RESOLVE_REQUEST,
    "Attachment": ATTACHMENT,
    "Lease": make_object(
        {"seconds": {"type": "number"}, "ends": MAYBE_TEXT | {"description": "null until it was handed out"}},
        required=("seconds", "ends"),
    ),
    "Attachments": make_object({"attachments": make_list(make_ref("Attachment"))}, required=("attachments",)),
    "Device": DEVICE,
    "Problem": PROBLEM,
    "Resolved": RESOLVED,
    "Host": HOST,
    "Object": schemas_objects.OBJECT,
    "ObjectChange": schemas_objects.OBJECT_CHANGE,
    "CloneRequest": schemas_objects.CLONE_REQUEST,
    "SnapshotRequest": schemas_objects.SNAPSHOT_REQUEST,
    "RestoreRequest": schemas_objects.RESTORE_REQUEST,
    "CreateRequest": schemas_objects.CREATE_REQUEST,
    "MoveRequest": schemas_objects.MOVE_REQUEST,
    "ResizeRequest": schemas_objects.RESIZE_REQUEST,
    "FenceRequest": schemas_objects.FENCE_REQUEST,
    "Fenced": schemas_objects.FENCED,
    "Capacity": schemas_objects.CAPACITY,
    "Operation": schemas_objects.OPERATION,
    "Leftover": LEFTOVER,
    "Leftovers": make_object(
        {"leftovers": make_list(make_ref("Leftover")), "more": {"type": "integer"}}, required=("leftovers", "more")
    ),
    "CleanRequest": CLEAN_REQUEST,
    "Cleaned": CLEANED,
    "Health": make_object({"ok": FLAG, "reasons": make_list(make_text())}, required=("ok", "reasons")),
}
