"""The guard's part for multipath maps: intent first, and only what came of ours is taken apart."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace

from agent.host.created import Created, Kind, Row
from agent.host.guarded_judge import foreign, is_our_map, stands, things_of_map
from attachers.base import Host
from attachers.problems import Code, Problem
from attachers.sights import ScsiSight
from attachers.steps import AnnounceMap, ForgetMap, LeaveMap, MapStep, RemoveMap, ResizeMap

Look = Callable[[], Awaitable[ScsiSight]]


@dataclass(frozen=True, slots=True)
class MapGuard:
    """Takes the steps of maps on the raw host. Whoever calls holds the lock of the logical unit, and looks after it."""

    raw: Host
    created: Created
    came_back: Callable[[str], Awaitable[bool]]
    """Whether the disk at an address is ours though nothing was scanned for it (`guarded_owned.Lasting.is_back`)."""

    async def act(self, step: MapStep, look: Look, *, boot_id: str, timeout_s: float) -> None:
        """Take a step; `look` looks at the map. Raises `Problem` (`conflict`) where it is somebody else's."""
        match step:
            case AnnounceMap():
                sight = await look()
                step = replace(step, borrowed=sight.map is not None and not await self.is_ours(step.wwid, sight))
                await self._announce(step, sight, boot_id)
            case LeaveMap(hctl, wwid):
                if not (await self.has_disk(hctl) or await self.is_ours(wwid, await look())):
                    raise foreign(step, f"neither device {hctl} nor the map of {wwid}")
            case ResizeMap(wwid):
                if not await self.is_ours(wwid, await look()):
                    raise foreign(step, f"the map of {wwid}")
            case RemoveMap(wwid):
                if not await self._may_remove(step, await look()):
                    return
                step = replace(step, listed=step.listed and things_of_map(wwid)[Kind.LISTED] in self.created.rows)
            case ForgetMap(wwid):
                sight = await look()
                if sight.notes is None:
                    return
                step = await self._what_to_forget(step, sight)
        await self.raw.act(step, timeout_s=timeout_s)

    async def _announce(self, step: AnnounceMap, sight: ScsiSight, boot_id: str) -> None:
        """Write down the intent: of the announcement, and of what will come of it where it is not there before."""
        things = things_of_map(step.wwid)
        listed = sight.notes is not None and sight.notes.listed
        there = {Kind.ANNOUNCED: False, Kind.MAP: sight.map is not None, Kind.LISTED: listed or sight.map is not None}
        if stands(things[Kind.ANNOUNCED], sight) and things[Kind.ANNOUNCED] in self.created.rows:
            return
        new = [thing for kind, thing in things.items() if thing not in self.created.rows and not there[kind]]
        await self.created.change(put=[Row(thing, boot_id, self.raw.now()) for thing in new])

    async def _may_remove(self, step: RemoveMap, sight: ScsiSight) -> bool:
        if sight.map is None:
            return False
        if not await self.is_ours(step.wwid, sight):
            raise foreign(step, f"the map {sight.map.uuid}")
        return True

    async def _what_to_forget(self, step: ForgetMap, sight: ScsiSight) -> ForgetMap:
        things = things_of_map(step.wwid)
        if not any(thing in self.created.rows for thing in things.values()):
            raise foreign(step, f"what is written down of a map of {step.wwid}")
        if await self.is_ours(step.wwid, sight):
            raise Problem(Code.IN_USE, f"there is a map of {step.wwid}", hint="remove it first", step=step.describe())
        listed = things[Kind.LISTED] in self.created.rows and sight.map is None
        return replace(step, listed=step.listed and listed)

    async def is_ours(self, wwid: str, sight: ScsiSight) -> bool:
        """Whether the map that the sight shows is ours."""
        if sight.map is None:
            return False
        disks = [path.hctl for path in sight.map.paths if await self.has_disk(path.hctl)]
        return is_our_map(sight.map, wwid, self.created.rows, disks)

    async def has_disk(self, hctl: str) -> bool:
        """Whether the disk at that address is ours."""
        made = any(thing.kind is Kind.DEVICE and thing.hctl == hctl for thing in self.created.rows)
        return made or (bool(hctl) and await self.came_back(hctl))
