"""The guard's part for what is handed out: what is borrowed, and what is only handed out again."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field, replace

from agent.host.recent import Recent
from attachers.sights import ScsiSight
from attachers.steps import Publish, Step

Look = Callable[[], Awaitable[ScsiSight]]


@dataclass(frozen=True, slots=True)
class PublishGuard:
    """Says of a step what only the record can tell: nobody else is believed about that.

    `has_disk` tells whether the disk at an address is ours, `has_map` whether the map of a logical unit is, once it was
    looked at.
    """

    has_disk: Callable[[str], Awaitable[bool]]
    has_map: Callable[[str, ScsiSight], Awaitable[bool]]
    _handed: Recent = field(default_factory=Recent)

    async def judged(self, step: Publish, look: Look) -> Publish:
        """The step with its word about the record; `look` looks at the map."""
        ours = await self.has_disk(step.hctl) if step.hctl else await self.has_map(step.wwid, await look())
        before = f"{step.name} {step.wwid} "  # there, or where it was before
        again = any(key.startswith(before) for key in self._handed)
        return replace(step, borrowed=not ours, again=again)

    def done(self, step: Step) -> None:
        """What was handed out is used from now on by whoever gets it. What is borrowed has other users as well."""
        if isinstance(step, Publish) and not step.borrowed:
            self._handed.update({_key(step)})

    def removed(self, place: str) -> None:
        """The disk at that address, or the map of that unit, is gone, and with it whoever had it open."""
        self._handed.drop([key for key in self._handed if key.endswith(f" {place}")])


def _key(step: Publish) -> str:
    return f"{step.name} {step.wwid} {step.hctl or step.wwid}"
