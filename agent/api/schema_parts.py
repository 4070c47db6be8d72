"""What the JSON Schemas of the contract are made of."""

from typing import Any

from agent.api import parse
from attachers.checks import NAME

Schema = dict[str, Any]


def make_object(properties: Schema, *, required: tuple[str, ...] = (), closed: bool = False, about: str = "") -> Schema:
    """An object with these properties, and no others where it is `closed`."""
    schema: Schema = {"type": "object", "properties": properties}
    if required:
        schema["required"] = list(required)
    if closed:
        schema["additionalProperties"] = False
    return schema | ({"description": about} if about else {})


def make_list(items: Schema) -> Schema:
    """A list of these."""
    return {"type": "array", "items": items}


def make_ref(name: str) -> Schema:
    """Another schema of the contract, by its name."""
    return {"$ref": f"#/components/schemas/{name}"}


def or_null(schema: Schema) -> Schema:
    """Or null."""
    return {"anyOf": [schema, {"type": "null"}]}


def make_text(about: str = "", **more: Any) -> Schema:
    """A text; `more` are further rules."""
    return {"type": "string", **({"description": about} if about else {}), **more}


MAYBE_TEXT: Schema = {"type": ["string", "null"]}
FLAG: Schema = {"type": "boolean"}
SIZE: Schema = {"type": "integer", "minimum": 0, "description": "bytes"}
NAME_TEXT: Schema = {"type": "string", "pattern": f"^(?:{NAME.pattern})$"}

SOURCE: Schema = make_text(
    "cdmi://host[:port]/path, or the https:// URL of a configured server, by ID (.../cdmi_objectid/ID) or by path",
    minLength=1,
    maxLength=parse.MAX_SOURCE,
)
