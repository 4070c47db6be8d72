"""What an NFS export says, checked: the plan that the decisions of `attachers.nfs` are made for. Pure."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from attachers import checks, nfs_checks, nfs_options
from attachers.nfs_share import FileId, Share, wwid_of

BLOCK_DEVICE, FILE = "block", "file"


@dataclass(frozen=True, slots=True)
class Plan:
    """What the export says, and what was asked for, checked.

    `server` is an address, `path` the file's below `export`, `size` its least size in bytes (0: unknown), `present`
    what is handed out: block or file. `options`, `downgrade` and `discard` are the configuration's. `fsid` and `fileid`
    are the file's that was looked at first (0: none was yet): no other one is ever handed out for this plan.
    """

    server: str
    export: str
    path: str
    version: str
    object_id: str
    size: int = 0
    present: str = BLOCK_DEVICE
    options: str = ""
    downgrade: bool = False
    discard: bool = True
    fsid: str = ""
    fileid: int = 0

    def __post_init__(self) -> None:
        Share(self.server, self.export, self.version)
        nfs_checks.file(self.path)
        nfs_options.parse(self.options)
        if self.present not in (BLOCK_DEVICE, FILE):
            raise checks.refuse("present", self.present, "block or file")

    @property
    def share(self) -> Share:
        """What has to be mounted."""
        return Share(self.server, self.export, self.version)

    @property
    def wwid(self) -> str:
        """The name of the disk: from the object's ID, or from its place where it has none."""
        return wwid_of(self.object_id or f"{self.share.source}/{self.path}")

    @property
    def pin(self) -> FileId | None:
        """The one file that may be handed out, once that is known."""
        return FileId(self.fsid, self.fileid) if self.fileid else None

    @property
    def text(self) -> str:
        """The file, for a sentence."""
        return f"{self.path} in {self.share.source}"

    def as_json(self) -> dict[str, Any]:
        """Plain JSON values, for the ledger."""
        return asdict(self)


def plan_of(values: Mapping[str, Any]) -> Plan:
    """The plan from its JSON values. Raises `Problem` (`invalid-request`) where one is not what it may be."""
    names = Plan.__dataclass_fields__
    return Plan(**{name: value for name, value in values.items() if name in names})
