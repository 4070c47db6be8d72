"""The JSON objects of the contract that are about objects on servers, as JSON Schema (2020-12)."""

from agent.api import parse
from agent.api.schema_parts import (
    FLAG,
    MAYBE_TEXT,
    SOURCE,
    Schema,
    make_list,
    make_object,
    make_ref,
    make_text,
    or_null,
)
from agent.model import OperationState

OBJECT = make_object(
    {
        "source": make_text(),
        "server": make_text("the configured server's URL"),
        "uri": make_text("the object's own, by ID where it has one"),
        "object_id": MAYBE_TEXT,
        "places": make_list(make_text()) | {"description": "its addresses by path, as far as they are known"},
        "name": make_text(),
        "kind": make_text("container or dataobject"),
        "size": {"type": ["integer", "null"], "description": "bytes; a LUN's as it is assigned; null when not told"},
        "format": MAYBE_TEXT | {"description": "what its first bytes look like; null where they cannot be read"},
        "hash": or_null(make_object({"algorithm": make_text(), "value": make_text()}, required=("algorithm", "value"))),
        "times": make_object(dict.fromkeys(("created", "modified", "accessed"), MAYBE_TEXT)),
        "metadata": {"type": "object", "additionalProperties": {"type": "string"}},
        "reference": MAYBE_TEXT
        | {"description": "where the source is a reference to the object: the reference's own URL"},
        "pending": MAYBE_TEXT | {"description": "that the server is still making it; null where it is whole"},
        "attachments": make_list(make_text()) | {"description": "its attachments on this host"},
        "others": make_list(make_text()) | {"description": "with users=1: other hosts that its exports name"},
        "anybody": make_list(make_text())
        | {"description": "with users=1: the keys of its exports that are open to any host"},
        "snapshots": make_list(make_text()) | {"description": "with users=1: the names of its snapshots"},
    },
    required=("uri", "kind", "size", "attachments"),
)

OBJECT_CHANGE = make_object(
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

ITEMS: Schema = {
    "type": "object",
    "maxProperties": parse.MAX_ITEMS,
    "propertyNames": {"pattern": f"^(?:(?![cC][dD][mM][iI]_){parse.ITEM.pattern})$"},
    "additionalProperties": {"type": "string", "maxLength": parse.MAX_VALUE},
}

CLONE_REQUEST = make_object(
    {
        "source": SOURCE,
        "destination": SOURCE | {"description": "where the copy is to be: a path on the same server"},
        "size": {
            "type": ["integer", "null"],
            "minimum": 1,
            "maximum": parse.MAX_GENERATION,
            "description": "bytes: not less than the source's",
        },
        "metadata": {"anyOf": [ITEMS, {"type": "null"}]},
        "wait_s": WAIT,
    },
    required=("source", "destination"),
    closed=True,
)

SNAPSHOT_REQUEST = make_object(
    {"uri": SOURCE, "name": make_text(pattern=f"^(?:{parse.ITEM.pattern})$"), "wait_s": WAIT},
    required=("uri", "name"),
    closed=True,
)

OBJECT_ID = make_text("refuse (conflict) where it is another object by now", maxLength=128)
EVEN_IF = FLAG | {"default": False, "description": "although other hosts are permitted to use it"}

RESTORE_REQUEST = make_object(
    {
        "uri": SOURCE,
        "name": make_text(pattern=f"^(?:{parse.ITEM.pattern})$"),
        "wait_s": WAIT,
        parse.EVEN_IF: EVEN_IF,
        parse.OBJECT_ID: OBJECT_ID,
    },
    required=("uri", "name"),
    closed=True,
)

CREATE_REQUEST = make_object(
    {
        "uri": SOURCE | {"description": "where it is to be: a path"},
        "kind": make_text(enum=list(parse.KINDS), default="container"),
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

MOVE_REQUEST = make_object(
    {"source": SOURCE, "destination": SOURCE, "wait_s": WAIT, parse.EVEN_IF: EVEN_IF, parse.OBJECT_ID: OBJECT_ID},
    required=("source", "destination"),
    closed=True,
)

RESIZE_REQUEST = make_object(
    {
        "uri": SOURCE,
        "size": {"type": "integer", "minimum": 1, "maximum": parse.MAX_GENERATION, "description": "bytes"},
        "shrink": FLAG | {"default": False, "description": "a LUN may lose what is beyond its new size"},
        parse.EVEN_IF: EVEN_IF,
        parse.OBJECT_ID: OBJECT_ID,
    },
    required=("uri", "size"),
    closed=True,
)

HOST_TEXT = make_text("an iSCSI initiator name, or the name of a Fibre Channel port", maxLength=223)

FENCE_REQUEST = make_object(
    {
        "uri": SOURCE,
        "host": {"anyOf": [HOST_TEXT, make_list(HOST_TEXT) | {"minItems": 1, "maxItems": parse.MAX_NAMES}]},
        parse.OBJECT_ID: OBJECT_ID,
        "must_exist": FLAG | {"default": False},
    },
    required=("uri", "host"),
    closed=True,
)

FENCED = make_object(
    {
        "uri": make_text(),
        "host": make_list(make_text()),
        "exports": make_list(
            make_object(
                {
                    "key": make_text(),
                    "protocol": make_text(),
                    "withdrawn": make_list(make_text()) | {"description": "whose permission was there"},
                    "permissions": make_list(make_text()) | {"description": "who is left"},
                },
                required=("key", "withdrawn", "permissions"),
            )
        ),
    },
    required=("uri", "host", "exports"),
)

MAYBE_BYTES: Schema = {"type": ["integer", "null"], "description": "bytes; null where nothing tells it"}
CAPACITY = make_object(
    {
        "source": make_text(),
        "used": MAYBE_BYTES,
        "free": MAYBE_BYTES,
        "total": MAYBE_BYTES,
        "by": make_text("what told it"),
    },
    required=("used", "free", "total", "by"),
)

OPERATION = make_object(
    {
        "id": make_text(),
        "kind": make_text(enum=["clone", "snapshot", "create", "move", "restore"]),
        "source": MAYBE_TEXT | {"description": "null for create"},
        "destination": make_text("the URL of what is made"),
        "state": make_text(enum=list(OperationState)),
        "percent": {"type": ["integer", "null"], "description": "as the server tells it"},
        "uri": MAYBE_TEXT | {"description": "of what was made; null until it is done"},
        "object_id": MAYBE_TEXT,
        "note": MAYBE_TEXT | {"description": "what to know of what is done: that nothing could prove it, for one"},
        "problem": or_null(make_ref("Problem")),
    },
    required=("id", "kind", "source", "destination", "state", "percent", "uri", "problem"),
)
