"""The simulated host as a whole: a model of the kernel, guarded as the real one is."""

from pathlib import Path

from agent.host.created import open_created
from agent.host.guarded import GuardedHost
from agent.host.simulated import SimulatedHost
from agent.host.simulated_san import San
from agent.store import MEMORY


async def simulated_host(san: Path, _state: Path | None = None) -> GuardedHost:
    """A fresh simulated host that sees the LUNs of the JSON file `san`; it and its record end with the process."""
    host = GuardedHost(SimulatedHost(San(path=san)), open_created(MEMORY))
    await host.recover()
    return host
