"""The capabilities objects: what this server can do, said as CDMI 1.1 clause 12 says it."""

from typing import Any

from tests.cdmi_server import objectid
from tests.cdmi_server.records import Kind
from tests.cdmi_server.wire import CdmiError

_SYSTEM = (
    "cdmi_dataobjects",
    "cdmi_object_access_by_ID",
    "cdmi_security_access_control_basic",
    "cdmi_snapshots",
    "cdmi_object_copy_from_local",
)
_CONTAINER = (
    "cdmi_list_children",
    "cdmi_list_children_range",
    "cdmi_read_metadata",
    "cdmi_modify_metadata",
    "cdmi_create_dataobject",
    "cdmi_create_container",
    "cdmi_delete_container",
    "cdmi_copy_container",
    "cdmi_copy_dataobject",
    "cdmi_snapshot",
    "cdmi_size",
    "cdmi_ctime",
    "cdmi_mtime",
)
_DATAOBJECT = (
    "cdmi_read_value",
    "cdmi_read_value_range",
    "cdmi_modify_value",
    "cdmi_modify_value_range",
    "cdmi_read_metadata",
    "cdmi_modify_metadata",
    "cdmi_delete_dataobject",
    "cdmi_size",
    "cdmi_ctime",
    "cdmi_mtime",
)
_CHILDREN = ("container", "dataobject")


def uri(kind: Kind) -> str:
    """Return the capabilitiesURI of objects of this kind."""
    return "/cdmi_capabilities/container/" if kind is Kind.CONTAINER else "/cdmi_capabilities/dataobject/"


def body(names: tuple[str, ...], *, root_id: str, exports: tuple[str, ...]) -> dict[str, Any]:
    """Return the capabilities object at this path below cdmi_capabilities/; 404 where there is none."""
    top = objectid.fixed("cdmi_capabilities/")
    match names:
        case ():
            able = _SYSTEM + tuple(f"cdmi_export_{kind}" for kind in exports)
            return _object("cdmi_capabilities/", ("/", root_id), able=able, children=_CHILDREN)
        case ("container",):
            able = _CONTAINER + (("cdmi_assignedsize",) if exports else ())
            able += tuple(f"cdmi_export_{way}" for kind in exports for way in (kind, f"container_{kind}"))
            return _object("container/", ("/cdmi_capabilities/", top), able=able)
        case ("dataobject",):
            return _object("dataobject/", ("/cdmi_capabilities/", top), able=_DATAOBJECT)
    raise CdmiError(404, f"No capabilities object {'/'.join(names)}")


def _object(
    name: str, parent: tuple[str, str], *, able: tuple[str, ...], children: tuple[str, ...] = ()
) -> dict[str, Any]:
    return {
        "objectType": Kind.CAPABILITY.media_type,
        "objectID": objectid.fixed(name),
        "objectName": name,
        "parentURI": parent[0],
        "parentID": parent[1],
        "capabilities": dict.fromkeys(able, "true"),
        "childrenrange": f"0-{len(children) - 1}" if children else "",
        "children": [f"{child}/" for child in children],
    }
