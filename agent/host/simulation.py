"""The simulated host as a whole: a model of the kernel, guarded and confined as the real one is."""

from collections.abc import Callable
from pathlib import Path

from agent.host.allowed import Allowed
from agent.host.confined import ConfinedHost
from agent.host.created import open_created
from agent.host.guarded import GuardedHost
from agent.host.simulated import SimulatedHost
from agent.host.simulated_san import San
from agent.store import MEMORY


async def simulated_host(san: Path, allowed: Callable[[], Allowed]) -> ConfinedHost:
    """A fresh simulated host that sees the LUNs of the JSON file `san`; it and its record end with the process."""
    host = ConfinedHost(GuardedHost(SimulatedHost(San(path=san)), open_created(MEMORY)), allowed)
    await host.recover()
    return host
