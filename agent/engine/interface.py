"""The engine, as the API needs it."""

from typing import Any, Protocol

from agent.caller import DAEMON, Caller
from agent.events import Events
from agent.model import DomainRequest, Objects, Operations, Outcome, Request


class Leftovers(Protocol):
    """What was made here and nobody asks for any more, and what others left. Every call raises `Problem`."""

    async def found(self) -> dict[str, Any]:
        """All of it: {"leftovers": [...], "more": N}."""
        ...

    async def clean(self, wanted: str | None, by: Caller) -> dict[str, Any]:
        """Take one of them away, or all that may go: {"cleaned": [...], "left": [...]}. For admins.

        Raises `Problem`: not-found, in-use, conflict; forbidden.
        """
        ...


class Engine(Protocol):
    """The engine, as the API needs it. Views are the JSON objects of docs/api.md. Every call raises `Problem`."""

    async def attach(
        self, request: Request, *, wait_s: float | None, by: Caller = DAEMON
    ) -> tuple[Outcome, dict[str, Any]]:
        """Make it so. Waits until done, until `wait_s` ran out (PENDING), or until the request's own deadline.

        The attachment is its caller's from then on: this and all calls below raise `Problem` (forbidden) for others who
        are no admins.
        """
        ...

    async def detach(self, name: str, *, force: bool, generation: int | None = None, by: Caller = DAEMON) -> bool:
        """Make it gone; an unknown name is success. Returns whether there was one.

        A `generation` lower than one that was seen for that name is a late request's, and refused (stale).

        With `force` the loss of what cannot be written out is known, as `by` says.
        """
        ...

    async def give(self, name: str, wanted: DomainRequest, *, by: Caller = DAEMON) -> dict[str, Any]:
        """Hand an attachment's disk to a running domain, unless it has it. Returns the view."""
        ...

    async def take(self, name: str, domain: str, *, by: Caller = DAEMON) -> None:
        """Take an attachment's disk from a domain; that it has none is success."""
        ...

    async def confirm(self, name: str, *, generation: int | None = None, by: Caller = DAEMON) -> dict[str, Any]:
        """An attachment for a while stays until it is detached; that it does already is success. Returns the view.

        Raises `Problem`: not-found, busy where it is on its way out.
        """
        ...

    async def resize(self, name: str, *, by: Caller = DAEMON) -> dict[str, Any]:
        """Read the size again on every path, and tell the domains that have the disk. Returns the view."""
        ...

    def view(self, name: str) -> dict[str, Any]:
        """One attachment. Raises `Problem` not-found."""
        ...

    def listing(self, *, prefix: str = "") -> bytes:
        """All of them whose names begin with `prefix`, by name: the JSON object {"attachments": [...]}."""
        ...

    async def resolve(self, source: str) -> dict[str, Any]:
        """What a source is, every export, which one would be used and why not the others; changes nothing."""
        ...

    async def host(self) -> dict[str, Any]:
        """What this host is and can do."""
        ...

    @property
    def events(self) -> Events:
        """What happens to attachments, as it happens."""
        ...

    @property
    def objects(self) -> Objects:
        """What can be done with objects on the servers."""
        ...

    @property
    def operations(self) -> Operations:
        """What takes long there."""
        ...

    @property
    def leftovers(self) -> "Leftovers":
        """What nobody asks for any more."""
        ...

    async def health(self) -> dict[str, Any]:
        """{"ok": bool, "reasons": [...], ...}: whether the ledger, the helper and the loop answer."""
        ...
