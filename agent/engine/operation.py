"""What takes long on a server, as the ledger keeps it."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from agent.model import OperationState


@dataclass(frozen=True, slots=True)
class Operation:
    """Something that takes long on a server; times are Unix's, to be shown: no age is told by them.

    `begun`: the server may have been asked (at `begun_at`), committed before it is; `answered`: it said yes. `keys` are
    what an object that is moved or brought back is known by, `by` who asked for it, as a sentence has it. `owned`: its
    answer named `object_id`; `despite_permitted`: although other hosts may use it. Of a restore, `modified` is the time
    of the last change that the server told before it was asked, and `worked`: it was seen to work on it since it was
    asked last; `note` is what to know of what is done.
    """

    id: str
    kind: str
    source: str
    destination: str
    name: str = ""
    size: int | None = None
    state: OperationState = OperationState.RUNNING
    since: float = 0.0
    begun: bool = False
    begun_at: float = 0.0
    answered: bool = False
    percent: int | None = None
    uri: str = ""
    object_id: str = ""
    problem: Mapping[str, Any] | None = None
    metadata: Mapping[str, Any] = field(default_factory=dict)
    keys: tuple[str, ...] = ()
    by: str = ""
    owned: bool = False
    despite_permitted: bool = False
    modified: str = ""
    worked: bool = False
    note: str = ""

    def describe(self) -> str:
        """What it is, for logs and problems."""
        return f"{self.kind} of {self.source or self.name} to {self.destination}"

    def is_like(self, other: "Operation") -> bool:
        """Whether the same was asked for."""
        mine, its = ((one.kind, one.source, one.size, one.name, one.metadata) for one in (self, other))
        return mine == its
