"""A lab guest with every way to a disk at once: iSCSI by two portals, Fibre Channel by two fabrics, NFS; multipathd."""

from dataclasses import dataclass
from typing import Any

from tests.lab.fc_scene import Fibre
from tests.lab.nfs_scene import ALIVE, ROOT, Shares
from tests.lab.stage import Stage

CONFIG = 'protocols = ["iscsi", "fc", "nfs"]\ntimeout_s = 300'
"""Every way at once, on an emulated machine that others keep busy: how long it takes is not what is looked at."""


@dataclass(frozen=True)
class Way:
    """One way: what attaches by it, and how many paths lead to the disk."""

    name: str
    title: str
    protocol: str
    present: str = "block"
    paths: int = 1

    def body(self, source: str) -> dict[str, Any]:
        """The request that attaches an object by this way."""
        return {"source": source, "present": self.present, "min_paths": self.paths}

    @property
    def words(self) -> list[str]:
        """The command's options for the same."""
        return [*(["--file"] if self.present == "file" else []), *(["--min-paths", "2"] if self.paths > 1 else [])]


WAYS = (
    Way("iscsi", "iSCSI over two portals, as one multipath map", "iscsi", paths=2),
    Way("fc", "Fibre Channel over two fabrics, as one multipath map", "fc", paths=2),
    Way("nfs", "a file on NFSv4, as a disk", "nfs"),
    Way("file", "a file on NFSv4, itself", "nfs", present="file"),
)


class Whole:
    """The stage with all of it on."""

    def __init__(self, stage: Stage) -> None:
        self.stage = stage
        self.fibre = Fibre(stage)
        self.shares = Shares(stage)

    def set(self, more: str = "") -> "Whole":
        """Start the servers, lay the cables, and give the daemon its configuration, with these lines more."""
        self.stage.guest.run("systemctl start multipathd.service")
        self.shares.serve()
        self.fibre.set("--nfs-root", ROOT, config=CONFIG + more)
        self.shares.declare("alive", ALIVE)
        return self

    def make(self, way: Way, name: str, content: bytes) -> str:
        """An object that is reached by this way, with that content. Returns its source."""
        match way.protocol:
            case "iscsi":
                return self.stage.make_lun(name, content=content).source
            case "fc":
                return self.fibre.make_lun(name, content=content).source
            case _:
                return self.shares.put(f"alive/{name}.img", content)
