"""The verbs of the transfer driver, by the names of their scripts."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from cdmi_one import copying, deploying, migrating, moving, releasing, snapshots, whose
from cdmi_one.failure import Failure

IMAGES_ONLY = (
    *("mkswap", "mkimage", "context", "monitor", "restore", "backupcancel"),
    *("prebackup", "prebackup_live", "postbackup", "postbackup_live"),
)
"""What only the driver of a system datastore is asked for."""


def _of_system_datastores(_: Sequence[str]) -> None:
    what = "not supported: directories, volatile disks and backups of VMs are the system datastore's"
    raise Failure(what, "use shared, qcow2 or ssh as TM_MAD of the system datastore")


VERBS: Mapping[str, Callable[[Sequence[str]], None]] = {
    "ln": deploying.ln,
    "clone": deploying.clone,
    "mvds": releasing.mvds,
    "delete": releasing.delete,
    "mv": moving.mv,
    "premigrate": migrating.premigrate,
    "postmigrate": migrating.postmigrate,
    "failmigrate": migrating.failmigrate,
    "resize": copying.resize,
    "cpds": copying.cpds,
    "snap_create": snapshots.snap_create,
    "snap_create_live": snapshots.snap_create_live,
    "snap_revert": snapshots.snap_revert,
    "snap_delete": snapshots.snap_delete,
    **dict.fromkeys(IMAGES_ONLY, _of_system_datastores),
    "whose": whose.whose,
}
