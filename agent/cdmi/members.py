"""What the members of a CDMI object say: kind, ID, name, size, parent; read leniently, refused where it matters."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from agent.cdmi.answers import Answer, refused
from agent.cdmi.server import PORTS
from agent.cdmi.sources import OBJECT_ID, Location, names_of
from agent.cdmi.text import shown
from attachers.problems import Code, Problem

CONTAINER, DATAOBJECT = "container", "dataobject"
MAX_NAME = 255
MAX_URI = 4096
_SIZES = {CONTAINER: "cdmi_assignedsize", DATAOBJECT: "cdmi_size"}
Members = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Found:
    """An object as it was found: where it was looked for, and what was answered."""

    location: Location
    answer: Answer
    members: Members

    @property
    def url(self) -> str:
        """Where it was answered, after redirects, without a field selection."""
        return self.answer.url.partition("?")[0]

    @property
    def named(self) -> str:
        """Where it was asked for, before redirects, without a field selection."""
        return (self.answer.named or self.answer.url).partition("?")[0]


def check_complete(answer: Answer, members: Members) -> None:
    """Raises `Problem` cdmi-refused where the server says that the object could not be made."""
    status = members.get("completionStatus")
    if isinstance(status, str) and status.casefold().startswith("error"):
        hint = "delete the object on the server, and make it again"
        raise refused(answer.server, f"the object at {answer.url} could not be made: {status}", hint=hint)


def pending_of(members: Members) -> str:
    """That the server is still making the object, in words; empty where it does not say so."""
    status = members.get("completionStatus")
    if not isinstance(status, str) or not status.casefold().startswith("processing"):
        return ""
    percent = str(members.get("percentComplete", members.get("percentageComplete", "")))
    done = f", {percent} % done" if percent.isascii() and percent.isdigit() and len(percent) <= 3 else ""
    return f"the server is still making it (completionStatus {shown(status, 80)}{done})"


def kind_of(answer: Answer, members: Members) -> str:
    """Container or data object, by objectType (RFC 6208, and CDMI 1.0's own types); else by the URL's last slash."""
    by_url = CONTAINER if answer.url.partition("?")[0].endswith("/") else DATAOBJECT
    named = members.get("objectType")
    if not isinstance(named, str):
        return by_url
    name = named.casefold().removeprefix("application/").removeprefix("vnd.org.snia.")
    kinds = {"cdmi-container": CONTAINER, "cdmi-object": DATAOBJECT, "cdmi-dataobject": DATAOBJECT}
    dotted = name.replace("cdmi.", "cdmi-").removesuffix("+json")
    if dotted not in kinds:
        hint = "give a container or a data object as the source"
        raise refused(answer.server, f"{answer.url} is a {named}, neither container nor data object", hint=hint)
    return kinds[dotted]


def object_id_of(location: Location, answer: Answer, members: Members) -> str:
    """The object's ID, empty where it has none. What is asked for by ID has to say that it is just that object."""
    found = members.get("objectID")
    asked = location.object_id
    if found in (None, "") and asked is None:
        return ""
    if not isinstance(found, str) or not OBJECT_ID.fullmatch(found):
        raise refused(location.server, f"objectID of {answer.url}: {ascii(found)[:140]} is no ID", hint="see its log")
    check_same(location, members)
    return found


def check_same(location: Location, members: Members) -> None:
    """Raises `Problem` cdmi-refused where another object is answered with than the one that was asked for by its ID."""
    found, asked = members.get("objectID"), location.object_id
    if asked is not None and found is not None and str(found).casefold() != asked.casefold():
        raise Problem(
            Code.CDMI_REFUSED,
            f"{location.server.url} was asked for the object {asked} and answered with {ascii(found)[:140]}",
            hint="nothing was attached: find out why the server hands out another object",
        )


def name_of(members: Members) -> str:
    """The object's name, fit to be shown; empty where it has none."""
    name = members.get("objectName")
    return shown(name.rstrip("/"), MAX_NAME) if isinstance(name, str) else ""


def size_of(members: Members, kind: str) -> int | None:
    """Bytes: a LUN's from cdmi_assignedsize (a container's cdmi_size is what it takes), a data object's cdmi_size."""
    metadata = members.get("metadata")
    text = str(metadata.get(_SIZES[kind], "")) if isinstance(metadata, dict) else ""
    return int(text) if text.isascii() and text.isdigit() and len(text) < 19 else None


def path_name(found: Found) -> str:
    """The object's name in its container: objectName, else the last name of the path that it was found at; or empty.

    Raises `Problem` cdmi-refused for a name that would be a path.
    """
    name = found.members.get("objectName")
    if not isinstance(name, str) or not name.rstrip("/"):
        at = found.location
        return "" if at.object_id is not None or not at.names else at.names[-1]
    name = name.removesuffix("/")
    if "/" in name or name in (".", ".."):
        hint = "let the server's administrator correct it"
        raise refused(found.answer.server, f"objectName of {found.url}: {ascii(name)[:120]} is a path", hint=hint)
    return name


def parents(found: Found) -> tuple[Location, ...]:
    """Where the container above may be, the likeliest first; empty for the root, and where nothing tells.

    `parentURI` is an absolute path or relative to the root (1.x), relative to the root (2.0), or a whole URL; whether
    an absolute path has the root's own path in it is not always told. Raises `Problem` cdmi-refused where it leads
    away from the server or breaks a rule of paths.
    """
    location, uri = found.location, found.members.get("parentURI")
    server = location.server
    if uri in (None, ""):
        known = location.object_id is None and location.names
        return (Location(server, location.names[:-1], True),) if known else ()
    if not isinstance(uri, str) or len(uri) > MAX_URI:
        raise _refuse_parent(found, uri, "is no URI")
    inner = [_below_origin(found, uri)]
    if inner[0].startswith("/"):
        with_root = [inner[0][len(server.root) :]] if f"{inner[0]}/".startswith(server.root) else []
        inner = list(dict.fromkeys([*with_root, inner[0][1:]]))
    try:
        return tuple(Location(server, names_of(one), True) for one in inner)
    except ValueError as error:
        raise _refuse_parent(found, uri, str(error)) from None


def _below_origin(found: Found, uri: str) -> str:
    """The path, of a whole URL that below the root; scheme, host and port have to be the server's own."""
    server = found.location.server
    try:
        parts = urlsplit(uri)
        place = (parts.scheme, parts.hostname, parts.port or PORTS.get(parts.scheme))
    except ValueError:
        raise _refuse_parent(found, uri, "is no URI") from None
    if "?" in uri or "#" in uri or any(ord(char) < 0x20 or char == "\\" for char in uri):
        raise _refuse_parent(found, uri, "has a query, a fragment, a control character or a backslash in it")
    if not parts.scheme and not parts.netloc:
        return uri
    if place != (server.scheme, server.host, server.port) or "@" in parts.netloc:
        raise _refuse_parent(found, uri, "leads away from this server")
    if not f"{parts.path}/".startswith(server.root):
        raise _refuse_parent(found, uri, f"is outside {server.url}")
    return parts.path[len(server.root) :]


def _refuse_parent(found: Found, uri: object, why: str) -> Problem:
    hint = "let the server's administrator correct it"
    return refused(found.answer.server, f"parentURI of {found.url}: {ascii(uri)[:200]} {why}", hint=hint)
