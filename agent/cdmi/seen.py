"""What a data object looks like from outside: what tells one content of it from another. Pure."""

import hashlib
import json
from dataclasses import dataclass

from agent.cdmi import digests
from agent.cdmi.members import DATAOBJECT, Found, check_complete, kind_of, object_id_of, pending_of, size_of
from agent.cdmi.objects import metadata_of
from agent.cdmi.text import shown
from agent.model import IsLunError
from attachers.problems import Code, Problem


@dataclass(frozen=True, slots=True)
class Seen:
    """What tells one content of an object from another: `size` in bytes, None where nothing tells it."""

    object_id: str
    size: int | None
    modified: str
    hash: tuple[str, str] | None

    @property
    def tag(self) -> str:
        """Another one for another content; empty where neither time nor hash is told."""
        if not self.modified and self.hash is None:
            return ""
        facts = json.dumps([self.object_id, self.size, self.modified, self.hash])
        return hashlib.sha256(facts.encode()).hexdigest()[:32]

    def is_still(self, later: "Seen") -> bool:
        """Whether the object looks the same later; a hash may come, or take its time."""
        mine, its = (one.hash if self.hash and later.hash else None for one in (self, later))
        return (self.object_id.casefold(), self.size, self.modified, mine) == (
            later.object_id.casefold(),
            later.size,
            later.modified,
            its,
        )


def readable(found: Found) -> None:
    """Raises `Problem` unless it is a data object that the server has made."""
    check_complete(found.answer, found.members)
    kind = kind_of(found.answer, found.members)
    if kind != DATAOBJECT and size_of(found.members, kind) is not None:
        what = f"uri: {shown(found.url, 300)} is a LUN, and CDMI has no way to its blocks but its exports"
        raise IsLunError(
            Code.UNSUPPORTED_ON_HOST, what, hint="attach it (--ro to read), and copy from or to the link: dd, qemu-img"
        )
    if kind != DATAOBJECT:
        what = f"uri: {shown(found.url, 300)} is a container, and has no content of its own"
        raise Problem(Code.INVALID_REQUEST, what, hint="give a data object in it")
    if pending := pending_of(found.members):
        raise Problem(Code.BUSY, f"uri: {pending}", hint="wait until the server has made it")


def seen_of(found: Found) -> Seen:
    """What it looks like now. Raises `Problem` cdmi-refused where it is another one than was asked for."""
    metadata = metadata_of(found.members)
    return Seen(
        object_id=object_id_of(found.location, found.answer, found.members),
        size=size_of(found.members, DATAOBJECT),
        modified=metadata.get("cdmi_mtime", ""),
        hash=digests.usable(metadata),
    )
