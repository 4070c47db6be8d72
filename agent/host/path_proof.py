"""What a path proves on a look: who answers at its end, and whether a block can be read there. Runs in workers.

An INQUIRY alone says nothing of I/O: a path in ALUA standby answers it, and fails every read (SPC-4 5.15.2.4.4), as a
disk does that error handling has given up, or whose LUN is gone.
"""

import mmap
import os
from typing import Any

from agent.host import blocks, scsi_generic, sysfs
from agent.host.scsi_generic import Sense
from attachers.problems import Problem
from attachers.sights import BLOCK

NOT_READY, STATE_OF_ACCESS = 0x2, 0x04
ACCESS = {0x0A: "transitioning", 0x0B: "standby", 0x0C: "unavailable", 0x12: "offline"}
"""Additional sense code qualifiers of NOT READY, 04h (SPC-4 table D.2), in the words of the kernel's access_state."""


def prove_path(nodes: list[str], node: str, number: str, device: str, *, read: bool) -> dict[str, Any]:
    """Send an INQUIRY through the first of `nodes` that can be opened and, with `read`, read a block of the disk.

    `node` is the block device `number` (major:minor), or empty where there is none yet; `device` its directory in
    sysfs. Returns the strong `names` and, as in `ScsiPath`, `unread` and `access`. Raises `OSError`, or `Problem` when
    the answer to the INQUIRY is none.
    """
    names = scsi_generic.inquiry(nodes)
    unread, access = _read(node, number, device) if read and node else ("", "")
    return {"names": names, "unread": unread, "access": access}


def _read(node: str, number: str, device: str) -> tuple[str, str]:
    """Why the first block cannot be read (empty: it can), and the path's ALUA state, where anything tells that."""
    try:
        disk = os.open(node, os.O_RDONLY | os.O_NONBLOCK | os.O_DIRECT | os.O_CLOEXEC)
    except OSError as error:
        return f"{node}: {error.strerror}", _known_access(device)
    try:
        blocks.insist_on_device(disk, node, number)
        with mmap.mmap(-1, BLOCK) as room:
            try:
                why = "" if os.preadv(disk, [room], 0) else "it has no bytes"
            except OSError as error:
                why = error.strerror or str(error)
        told = _told_access(disk) if why else ""
        return why, _known_access(device) or told
    except Problem as problem:
        return problem.detail, ""
    finally:
        os.close(disk)


def _known_access(device: str) -> str:
    """What the kernel's device handler knows (drivers/scsi/scsi_sysfs.c); nothing where there is no handler."""
    return sysfs.text(f"{device}/access_state") or ""


def _told_access(disk: int) -> str:
    """What the target says of itself, which counts where no handler asks it.

    It is asked after every failed read, for the handler's sake too: as long as the kernel thinks that the path is in
    standby, it fails each read by itself, and only by this command comes to know that the state has changed
    (drivers/scsi/device_handler/scsi_dh_alua.c alua_prep_fn, alua_check_sense).
    """
    try:
        sense = scsi_generic.test_unit_ready(disk)
    except OSError:
        return ""
    return access_of(sense) if sense else ""


def access_of(sense: Sense) -> str:
    """The ALUA state that a sense tells of; empty where it tells of something else."""
    return ACCESS.get(sense.qualifier, "") if (sense.key, sense.code) == (NOT_READY, STATE_OF_ACCESS) else ""
