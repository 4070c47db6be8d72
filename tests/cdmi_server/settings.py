"""How a server is to be run."""

from dataclasses import dataclass, field
from pathlib import Path

from tests.cdmi_server.targets import TargetsMode


@dataclass(frozen=True)
class Settings:
    """All that can be chosen, but for the address to listen on; user None means that nobody is asked."""

    state: Path
    root: str = "/cdmi/"
    user: str | None = None
    password: str = field(default="", repr=False)
    targets: TargetsMode = TargetsMode.SIMULATED
    portals: tuple[str, ...] = ("127.0.0.1",)
    iqn_prefix: str = "iqn.2026-01.org.example:cdmi"
    keep_targets: bool = False
    fc_targets: tuple[str, ...] = ()
    """This server's Fibre Channel ports, in normal form; none: no such exports."""
    fc_initiators: tuple[str, ...] = ()
    """The ports that may log in to them, which is zoning's to say elsewhere."""
    nfs_root: Path | None = None
    """Below it, data objects are files: in the directories that containers are exported as."""
    nfs_exports: bool = False
    """Whether those that name hosts are exported to these, by this machine's NFS server."""
    dialect: str = "1.1"
    hostile: str = ""
    """The attack that is made on whoever reads (hostile.ATTACKS); empty: none."""
