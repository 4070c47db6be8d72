"""The CDMI side, as the engine needs it: the contract between the two."""

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from typing import Protocol

from agent.model import Making, Part, Reading, Resolved, Room, Stat
from agent.uses import Fenced, Users


class Cdmi(Protocol):
    """The CDMI side, as the engine needs it. Every call is bounded by its own timeouts and raises `Problem`."""

    async def resolve(self, source: str) -> Resolved:
        """Find the object and explain its exports; changes nothing.

        Raises `Problem`: invalid-request, forbidden (server not configured), not-found, cdmi-unreachable, cdmi-refused.
        """
        ...

    async def grant(self, uri: str, key: str, *initiators: str) -> None:
        """Add initiators to the permissions of one export entry; others' entries stay. Idempotent, read back."""
        ...

    async def revoke(self, uri: str, key: str, *initiators: str) -> None:
        """Take initiators out of it; an object or an entry that is gone is success. Idempotent, read back."""
        ...

    async def stat(self, source: str) -> Stat:
        """Look at the object. Raises as `resolve`."""
        ...

    async def change(self, source: str, metadata: Mapping[str, str | None]) -> None:
        """Set items of its metadata, or (None) take them away; others stay. Read back."""
        ...

    async def delete(
        self,
        uri: str,
        *,
        pause: Callable[[float], Awaitable[None]],
        object_id: str = "",
        reference: bool | None = None,
    ) -> None:
        """Delete what is named, a reference by itself; that it is gone is success, and seen, or it is a `Problem`.

        Raises `Problem` (conflict) for a container with others in it, and where it has not that ID (if one is given)
        or is a reference, or none (None: whatever it is).
        """
        ...

    def place(self, destination: str) -> str:
        """The URL of an object that is to be made. Raises `Problem`: invalid-request, forbidden."""
        ...

    def snapshot_place(self, source: str, name: str) -> str:
        """The URL of a container's snapshot. Raises as `place`."""
        ...

    async def copy(
        self, source: str, destination: str, *, size: int | None, metadata: Mapping[str, str], mark: str
    ) -> str:
        """Begin a copy on the server; whether anything is at the destination was looked at before.

        `mark` is put into its metadata, so that it can be told from what others make there. Returns the ID that the
        server's answer names as the copy's; empty where it names none.
        """
        ...

    async def snapshot(self, source: str, name: str) -> None:
        """Begin a snapshot of a container; whether there is one of that name was looked at before."""
        ...

    async def look(self, uri: str) -> Making:
        """How far an object is that is being made."""
        ...

    async def prove_copy(self, source: str, destination: str, *, size: int | None, object_id: str) -> None:
        """Compare a copy that is complete with its source. Raises `Problem` (`cdmi-refused`) where it is none."""
        ...

    async def export_like(self, source: str, destination: str, *, object_id: str = "") -> None:
        """Give a copy (of that ID, where one is given) the block exports of its source, open to nobody yet."""
        ...

    async def create(self, place: str, *, kind: str, size: int | None, metadata: Mapping[str, str], mark: str) -> str:
        """Begin to make a container (with a size: a LUN) or an empty data object; that nothing is there was seen.

        `mark` and what is returned: as `copy`.
        """
        ...

    # What these three change has to be the object itself, no reference to it, and to have that ID where one is given.

    async def resize(
        self, uri: str, size: int, *, shrink: bool, pause: Callable[[float], Awaitable[None]], object_id: str = ""
    ) -> None:
        """Give a LUN or a data object another size (bytes), a smaller one only with `shrink`. Read back."""
        ...

    async def move(self, source: str, destination: str, *, object_id: str = "") -> None:
        """Begin to move an object on its server; that nothing is at the destination was seen."""
        ...

    async def restore(self, uri: str, name: str, *, object_id: str = "") -> None:
        """Begin to bring a container back to its snapshot of that name."""
        ...

    async def unlike(self, uri: str, name: str) -> str:
        """What tells that a container is not as its snapshot of that name is, in words; empty where nothing does."""
        ...

    async def offers(self, uri: str) -> Mapping[str, str]:
        """The block protocols that the server announces for a LUN without such an export, and the key it would have."""
        ...

    async def export(self, uri: str, key: str, protocol: str) -> tuple[str, bool]:
        """Have a LUN exported, open to nobody yet. Returns the key, and whether it is a new one. Idempotent."""
        ...

    async def unexport(self, uri: str, key: str, *initiators: str) -> None:
        """Take initiators out of an export, and the export away unless it lets others in; that it is gone is success.

        Settled: where somebody may have been let in meanwhile, it stays, or is there again, open to nobody.
        """
        ...

    async def fence(self, uri: str, names: Sequence[str]) -> tuple[Fenced, ...]:
        """Take a host's names out of all block exports of an object, however others write meanwhile. Read back.

        Raises `Problem` (conflict) and does nothing where an export is open to anybody.
        """
        ...

    async def users(self, uri: str) -> Users:
        """Who may use an object on whichever host, and which snapshots it has. Changes nothing."""
        ...

    async def capacity(self, source: str) -> Room:
        """How much room is behind a container."""
        ...

    async def read(
        self, source: str, *, part: Part | None, tag: str, pause: Callable[[float], Awaitable[None]]
    ) -> Reading:
        """Begin to read a data object: a part of it, but all where `tag` is given and is not its own any more.

        A connection that breaks is taken up again, after pauses (seconds). Whoever asks closes `pieces`.
        """
        ...

    async def write(
        self,
        destination: str,
        pieces: AsyncIterator[bytes],
        *,
        length: int | None,
        replace: bool,
        pause: Callable[[float], Awaitable[None]],
    ) -> bool:
        """Write a data object, whole or not at all; conflict where one is there already that is not to be replaced.

        `length` in bytes, None: not known before. Returns whether it is a new one.
        """
        ...

    async def close(self) -> None:
        """Close the connections."""
        ...
