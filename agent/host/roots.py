"""Where the kernel, udev, iscsid and this project keep what the host looks at; a test puts a tree of its own here."""

from dataclasses import dataclass
from pathlib import Path

from attachers.nfs_share import MOUNTS
from attachers.steps import DEVICES, LINKS


@dataclass(frozen=True, slots=True)
class Roots:
    """The directories of a host."""

    sys: Path = Path("/sys")
    proc: Path = Path("/proc")
    dev: Path = Path("/dev")
    run: Path = Path("/run")
    etc: Path = Path("/etc")
    lib: Path = Path("/var/lib")
    modules: Path = Path("/lib/modules")

    @property
    def links(self) -> Path:
        """The links by attachment name."""
        return self.run / LINKS.removeprefix("/run/")

    @property
    def devices(self) -> Path:
        """The links by logical unit name and (in path/) by SCSI address."""
        return self.dev / DEVICES.removeprefix("/dev/")

    @property
    def claims(self) -> Path:
        """One file for each SCSI address that we are about to scan, or have scanned: the udev rule looks for it."""
        return self.run / "cdmi-attach/claim"

    @property
    def unwritten(self) -> Path:
        """One file for each logical unit of which a write-out was begun in this boot and has not succeeded."""
        return self.run / "cdmi-attach/unwritten"

    @property
    def proofs(self) -> Path:
        """One file for each disk that has proved itself, and for borrowed maps: the udev rule looks for them."""
        return self.run / "cdmi-attach/proved"

    @property
    def mounts(self) -> Path:
        """The directories that shares are mounted on."""
        return self.run / MOUNTS.removeprefix("/run/")

    @property
    def announced(self) -> Path:
        """Two files for each logical unit that is to have a multipath map: the udev rule looks for them."""
        return self.run / "cdmi-attach/map"

    @property
    def unfinished(self) -> Path:
        """One file for each node record that has been begun and does not have our settings yet."""
        return self.lib / "cdmi-attach-helper/unfinished"
