"""Which kernel modules this host could load."""

from agent.host import sysfs
from agent.host.roots import Roots


def loadable(roots: Roots, module: str) -> bool:
    """Whether the running kernel's tree of modules has it."""
    release = roots.modules / (sysfs.text(roots.proc / "sys/kernel/osrelease") or "-")
    return any(f"/{module}.ko" in (sysfs.text(release / name) or "") for name in ("modules.dep", "modules.builtin"))
