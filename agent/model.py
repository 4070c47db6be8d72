"""The daemon's own values: what a caller asks for, what a CDMI object is, and the contracts between the layers."""

import re
import socket
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Protocol

from agent.uses import CAREFUL, Despite, known_by
from attachers.problems import Problem


class Phase(StrEnum):
    """Where an attachment is. The table is frozen: see docs/api.md."""

    ATTACHING = "attaching"
    ATTACHED = "attached"
    DEGRADED = "degraded"
    DETACHING = "detaching"
    UNCERTAIN = "uncertain"
    QUARANTINED = "quarantined"
    FAILED = "failed"


class Access(StrEnum):
    """Whether the host may write."""

    RW = "rw"
    RO = "ro"


class Present(StrEnum):
    """What is handed out: a block device, or (NFS) the file itself."""

    BLOCK = "block"
    FILE = "file"


@dataclass(frozen=True, slots=True)
class DomainRequest:
    """A running libvirt domain that gets the disk, and the disk's place there."""

    name: str
    target: str
    bus: str = "scsi"


@dataclass(frozen=True, slots=True)
class Request:
    """One PUT of an attachment, checked. Times are seconds; `lease_s` None means for good."""

    name: str
    source: str
    access: Access = Access.RW
    protocols: tuple[str, ...] = ("iscsi",)
    present: Present = Present.BLOCK
    format: str = "raw"
    share: bool = False
    generation: int | None = None
    min_paths: int = 1
    domain: DomainRequest | None = None
    lease_s: float | None = None
    timeout_s: float = 60.0


@dataclass(frozen=True, slots=True)
class SeenExport:
    """One entry of an object's `exports`: its key, what it was taken for, and whether it can be used.

    `protocol` is iscsi, fc, nfs, occi, ... or unknown; `reason` says why it is not usable (empty when it is);
    `plan` holds the plan's JSON values of a usable one; `permissions` is None when the entry has none (anybody may).
    `at` is the URI of the container above the object that has the entry, empty where the object has it itself.
    `pending`: it is not usable yet, since the server has something to fill in. `hint` is what would make it usable,
    `notes` say how a usable one was read, and what of it is left out. `hosts` are the patterns of who may ro, rw, root
    in an NFS export that names hosts.
    """

    key: str
    protocol: str
    usable: bool
    reason: str
    plan: Mapping[str, Any] | None = None
    permissions: tuple[str, ...] | None = None
    at: str = ""
    pending: bool = False
    hint: str = ""
    notes: tuple[str, ...] = ()
    hosts: Mapping[str, tuple[str, ...]] | None = None


@dataclass(frozen=True, slots=True)
class Above:
    """A container above a data object, looked at for an NFS export: its URI, and what came of it."""

    uri: str
    says: str


@dataclass(frozen=True, slots=True)
class Resolved:
    """What a source is: a CDMI object, with every export seen. `size` is in bytes, None when not told.

    `server` is the configured server's URL, `uri` the object's own (by ID where it has one), `kind` is container or
    dataobject. `exports` has those of the containers above a data object, too; `above` are these, from below.
    `pending` says in words that the server is not done with making the object, empty when it is. `version` is the one
    of CDMI that the server was spoken to in. `places` are its addresses by path, `over` what the containers above it
    are known by (see `agent.cdmi.above`).
    """

    server: str
    uri: str
    object_id: str
    name: str
    kind: str
    size: int | None
    exports: tuple[SeenExport, ...]
    above: tuple[Above, ...] = ()
    pending: str = ""
    version: str = ""
    places: tuple[str, ...] = field(default=(), compare=False)  # another spelling of the source may tell more
    over: tuple[str, ...] = field(default=(), compare=False)

    @property
    def keys(self) -> frozenset[str]:
        """What it is known by: see `known_by`."""
        return known_by(self.uri, self.object_id, self.places)


@dataclass(frozen=True, slots=True)
class Stat:
    """What an object is, without its exports. `size` is in bytes (a LUN's as it is assigned), None when not told.

    `format` is what the first bytes of a data object look like, None where they cannot be read; `hash` algorithm and
    hexadecimal digest, where the server computes one; `times` are RFC 3339 or None; `metadata` is made printable.
    `places` are its addresses by path; `reference` is the URL of what was named, where that is a reference to it;
    `pending` says in words that the server is still making it.
    """

    server: str
    uri: str
    object_id: str
    name: str
    kind: str
    size: int | None
    format: str | None
    hash: tuple[str, str] | None
    times: Mapping[str, str | None]
    metadata: Mapping[str, str]
    places: tuple[str, ...] = ()
    reference: str = ""
    pending: str = ""

    @property
    def keys(self) -> frozenset[str]:
        """What it is known by: see `known_by`."""
        return known_by(self.uri, self.object_id, self.places)


@dataclass(frozen=True, slots=True)
class Part:
    """Bytes of an object, as Range has them: from `first` to `last`, both with it; without `first` the last so many."""

    first: int | None
    last: int | None


Moved = Callable[[int], None]
"""Told of so many bytes that have gone where they were to go."""


READING = re.compile(r"content-[0-9a-f]{32}", re.ASCII)
"""Names of attachments that the daemon makes by itself while a LUN is read, and that nobody else may have."""


class Pieces(Protocol):
    """Bytes as they come; closed by whoever reads them, also when nothing was read."""

    def __aiter__(self) -> AsyncIterator[bytes]: ...

    async def __anext__(self) -> bytes: ...

    def pour_into(self, sink: socket.socket, moved: Moved) -> None:
        """What nobody has to look at may go into `sink` by itself, between two pieces, with all before it sent."""
        ...

    async def aclose(self) -> None:
        """Let go of the connection."""
        ...


class IsLunError(Problem):
    """What is to be read is a LUN: its bytes are on its disk, and CDMI has no other way to them."""


@dataclass(frozen=True, slots=True)
class Reading:
    """Bytes of an object that are being read: from `first` up to, without, `end`, of `total`.

    `tag` is another one as soon as the object is (empty: the server says nothing that would tell), `hash` algorithm (as
    hashlib has it) and digest of all of it, where the server says them. `pieces` come as they are read, the last one
    only when everything has been proved; until then they raise `Problem`.
    """

    first: int
    end: int
    total: int
    tag: str
    hash: tuple[str, str] | None
    pieces: Pieces


@dataclass(frozen=True, slots=True)
class Room:
    """How much is used and there in all, bytes, None where nothing tells it; `by` says in words what told it."""

    used: int | None
    total: int | None
    by: str


class MakingState(StrEnum):
    """How far the server is with an object that it makes."""

    MISSING = "missing"
    PROCESSING = "processing"
    COMPLETE = "complete"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class Making:
    """An object that is being made: `percent` None where it is not told, `says` the server's words of a failure.

    `mark` is what the request that made it has put into its metadata; empty where none did, or the server dropped it.
    """

    state: MakingState
    percent: int | None = None
    object_id: str = ""
    uri: str = ""
    says: str = ""
    mark: str = ""


class OperationState(StrEnum):
    """Where an operation on a server is."""

    RUNNING = "running"
    DONE = "done"
    FAILED = "failed"


class Outcome(StrEnum):
    """What a PUT came to: made now, was so already, or still under way when the caller stopped waiting."""

    CREATED = "created"
    ALREADY = "already"
    PENDING = "pending"


class Objects(Protocol):
    """Objects on the servers, as the API needs them. Every call raises `Problem`."""

    async def stat(self, source: str) -> dict[str, Any]:
        """What the object is: kind, size, format, hash, times, metadata, and its attachments here."""
        ...

    async def change(self, source: str, metadata: Mapping[str, str | None]) -> dict[str, Any]:
        """Change items of its metadata (None: take away). Returns what it is then."""
        ...

    async def users(self, source: str) -> dict[str, Any]:
        """What it is, and who may use it on other hosts: `others`, `anybody`, `snapshots`."""
        ...

    async def delete(self, source: str, *, despite: Despite = CAREFUL) -> bool:
        """Delete it, unless it is in use here, or may be elsewhere (in-use); that there is none is success."""
        ...

    async def resize(self, source: str, size: int, *, shrink: bool, despite: Despite = CAREFUL) -> dict[str, Any]:
        """Give it another size (bytes) on its server, a smaller one only with `shrink`. Returns what it is then."""
        ...

    async def fence(self, source: str, names: Sequence[str], *, despite: Despite = CAREFUL) -> dict[str, Any]:
        """Withdraw another host's permissions, by its names. Returns whose were withdrawn, and who is left."""
        ...

    async def capacity(self, source: str) -> dict[str, Any]:
        """Used, free and total bytes behind a container."""
        ...

    def read(self, source: str, *, part: Part | None, tag: str) -> AbstractAsyncContextManager[Reading]:
        """The bytes of a data object, or a part of them; all where `tag` is given and is not its own any more."""
        ...

    async def write(
        self,
        destination: str,
        pieces: AsyncIterator[bytes],
        *,
        length: int | None,
        replace: bool,
        despite: Despite = CAREFUL,
    ) -> tuple[bool, dict[str, Any]]:
        """Write a data object from a stream, whole or not at all. Returns whether it is new, and what it is then."""
        ...


class Operations(Protocol):
    """What takes long on servers, as the API needs it: whether it is done already, and its view. Raises `Problem`."""

    async def clone(
        self, source: str, destination: str, *, size: int | None, metadata: Mapping[str, str], wait_s: float
    ) -> tuple[bool, dict[str, Any]]:
        """Copy an object on its server; `metadata` are items of the copy's own. Idempotent: a repeated request joins
        the first.
        """
        ...

    async def snapshot(self, source: str, name: str, *, wait_s: float) -> tuple[bool, dict[str, Any]]:
        """Take a snapshot of a container. Idempotent as `clone`."""
        ...

    async def create(
        self, destination: str, *, kind: str, size: int | None, metadata: Mapping[str, str], wait_s: float
    ) -> tuple[bool, dict[str, Any]]:
        """Make a container (with a size: a LUN) or a data object of zeros. Idempotent as `clone`."""
        ...

    async def move(
        self, source: str, destination: str, *, wait_s: float, despite: Despite = CAREFUL
    ) -> tuple[bool, dict[str, Any]]:
        """Move an object on its server, unless it is in use here, or may be elsewhere. Idempotent as `clone`."""
        ...

    async def restore(
        self, source: str, name: str, *, wait_s: float, despite: Despite = CAREFUL
    ) -> tuple[bool, dict[str, Any]]:
        """Bring a container back to a snapshot of it, unless it is attached here, or may be elsewhere."""
        ...

    def view(self, operation_id: str) -> dict[str, Any]:
        """One operation, also a while after its end. Raises `Problem` not-found."""
        ...
