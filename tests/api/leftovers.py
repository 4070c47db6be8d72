"""Leftovers as the API sees them."""

from dataclasses import dataclass, field
from typing import Any

from agent.caller import Caller
from attachers.problems import Code, Problem


@dataclass
class FakeLeftovers:
    """Some leftovers, of which one may go."""

    items: list[dict[str, Any]] = field(default_factory=list)

    async def found(self) -> dict[str, Any]:
        """As the contract says."""
        return {"leftovers": self.items, "more": 0}

    async def clean(self, wanted: str | None, by: Caller) -> dict[str, Any]:
        """As the contract says."""
        if not by.admin:
            raise Problem(Code.FORBIDDEN, f"user {by.uid} may look", hint="ask root")
        chosen = [item for item in self.items if wanted in (None, item["id"])]
        if wanted and not chosen:
            raise Problem(Code.NOT_FOUND, f"item: nothing is called {wanted}", hint="list them")
        self.items = [item for item in self.items if item not in chosen or item["why"]]
        left = [item | {"problem": None} for item in chosen if item["why"]]
        return {"cleaned": [item for item in chosen if not item["why"]], "left": left}
