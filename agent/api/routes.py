"""Every route of the contract, in one table: those of later versions are here too, and answer 501."""

from dataclasses import dataclass
from enum import StrEnum


class Op(StrEnum):
    """The operations, by their OpenAPI operationId."""

    LIST = "listAttachments"
    ATTACH = "attach"
    VIEW = "getAttachment"
    DETACH = "detach"
    DOMAIN_ATTACH = "attachToDomain"
    DOMAIN_DETACH = "detachFromDomain"
    CONFIRM = "confirmAttachment"
    RESIZE = "resizeAttachment"
    ATTACHMENT_EVENTS = "attachmentEvents"
    EVENTS = "events"
    RESOLVE = "resolve"
    HOST = "getHost"
    OBJECT_STAT = "statObject"
    OBJECT_CREATE = "createObject"
    OBJECT_CHANGE = "changeObject"
    OBJECT_DELETE = "deleteObject"
    OBJECT_READ = "readObject"
    OBJECT_WRITE = "writeObject"
    OBJECT_CLONE = "cloneObject"
    OBJECT_SNAPSHOT = "snapshotObject"
    OBJECT_RESTORE = "restoreObject"
    OBJECT_MOVE = "moveObject"
    OBJECT_RESIZE = "resizeObject"
    OBJECT_FENCE = "fenceObject"
    CAPACITY = "capacity"
    OPERATION = "getOperation"
    LEFTOVERS = "listLeftovers"
    LEFTOVERS_CLEAN = "cleanLeftovers"
    METRICS = "metrics"
    HEALTH = "health"
    OPENAPI = "openapi"


@dataclass(frozen=True, slots=True)
class Route:
    """One method of one path, and the one sentence that says what it does."""

    method: str
    path: str
    op: Op
    summary: str


ROUTES = (
    Route("GET", "/v1/attachments", Op.LIST, "List the attachments"),
    Route("PUT", "/v1/attachments/{name}", Op.ATTACH, "Attach: make it so (idempotent)"),
    Route("GET", "/v1/attachments/{name}", Op.VIEW, "Show one attachment"),
    Route("DELETE", "/v1/attachments/{name}", Op.DETACH, "Detach: make it gone (idempotent)"),
    Route("PUT", "/v1/attachments/{name}/domains/{domain}", Op.DOMAIN_ATTACH, "Hand it to a libvirt domain"),
    Route("DELETE", "/v1/attachments/{name}/domains/{domain}", Op.DOMAIN_DETACH, "Take it from a libvirt domain"),
    Route("POST", "/v1/attachments/{name}/confirm", Op.CONFIRM, "Keep what was attached for a while"),
    Route("POST", "/v1/attachments/{name}/resize", Op.RESIZE, "Read the size again on every path"),
    Route("GET", "/v1/attachments/{name}/events", Op.ATTACHMENT_EVENTS, "Steps of one attachment as they happen"),
    Route("GET", "/v1/events", Op.EVENTS, "Steps as they happen"),
    Route("POST", "/v1/resolve", Op.RESOLVE, "Explain a source and its exports; changes nothing"),
    Route("GET", "/v1/host", Op.HOST, "What this host is and can do"),
    Route("GET", "/v1/objects", Op.OBJECT_STAT, "Kind, size, format, hash and times of an object"),
    Route("POST", "/v1/objects", Op.OBJECT_CREATE, "Create an empty object"),
    Route("PATCH", "/v1/objects", Op.OBJECT_CHANGE, "Change an object's metadata"),
    Route("DELETE", "/v1/objects", Op.OBJECT_DELETE, "Delete an object"),
    Route("GET", "/v1/objects/content", Op.OBJECT_READ, "Read an object's bytes"),
    Route("PUT", "/v1/objects/content", Op.OBJECT_WRITE, "Write an object's bytes"),
    Route("POST", "/v1/objects/clone", Op.OBJECT_CLONE, "Copy an object on the server"),
    Route("POST", "/v1/objects/snapshot", Op.OBJECT_SNAPSHOT, "Take a snapshot on the server"),
    Route("POST", "/v1/objects/restore", Op.OBJECT_RESTORE, "Go back to a snapshot on the server"),
    Route("POST", "/v1/objects/move", Op.OBJECT_MOVE, "Move an object on the server"),
    Route("POST", "/v1/objects/resize", Op.OBJECT_RESIZE, "Resize an object on the server"),
    Route("POST", "/v1/objects/fence", Op.OBJECT_FENCE, "Withdraw another host's permission"),
    Route("GET", "/v1/capacity", Op.CAPACITY, "Used, free and total bytes behind a container"),
    Route("GET", "/v1/operations/{id}", Op.OPERATION, "Progress of what takes long"),
    Route("GET", "/v1/leftovers", Op.LEFTOVERS, "What nobody asks for any more"),
    Route("POST", "/v1/leftovers/clean", Op.LEFTOVERS_CLEAN, "Take it away, with all gates of a detach"),
    Route("GET", "/metrics", Op.METRICS, "Prometheus metrics"),
    Route("GET", "/healthz", Op.HEALTH, "Alive, and why not"),
    Route("GET", "/v1/openapi.json", Op.OPENAPI, "This contract"),
)

NOW = frozenset(
    {
        *(Op.LIST, Op.ATTACH, Op.VIEW, Op.DETACH, Op.RESOLVE, Op.HOST, Op.HEALTH, Op.OPENAPI),
        *(Op.CONFIRM, Op.DOMAIN_ATTACH, Op.DOMAIN_DETACH, Op.RESIZE, Op.EVENTS, Op.ATTACHMENT_EVENTS, Op.METRICS),
        *(Op.OBJECT_STAT, Op.OBJECT_CHANGE, Op.OBJECT_DELETE, Op.OBJECT_READ, Op.OBJECT_WRITE),
        *(Op.OBJECT_CLONE, Op.OBJECT_SNAPSHOT, Op.OPERATION, Op.OBJECT_CREATE, Op.OBJECT_MOVE, Op.OBJECT_RESTORE),
        *(Op.OBJECT_RESIZE, Op.OBJECT_FENCE, Op.CAPACITY, Op.LEFTOVERS, Op.LEFTOVERS_CLEAN),
    },
)
"""The operations that this version has; all others answer 501."""
