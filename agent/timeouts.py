"""Every time limit of the daemon in one table, ordered: kernel < tool < step < request. All are seconds.

kernel   SCSI commands time out after 30 s, an iSCSI login PDU after 10 s (set in the node record)
         an NFS server is waited for without end (hard): whatever waits for it is broken off at its step's limit
tool     iscsiadm is never killed: its step gives up waiting, and the helper keeps watching it
step     below; a step that runs longer is uncertain, not failed
request  60 s unless the caller says otherwise; undoing a failed attach gets its own
"""

from attachers.steps import (
    CreateRecord,
    DeleteRecord,
    ForgetMap,
    GiveDisk,
    GrowDisk,
    JoinMap,
    Login,
    Logout,
    MakeDisk,
    Mount,
    RemoveDevice,
    RemoveDisk,
    RemoveMap,
    Rescan,
    ResizeDisk,
    Scan,
    Step,
    TakeDisk,
    Unmount,
    WriteOutFile,
)

OBSERVE_S = 15.0
ROUTE_S = 30.0
"""For the question by which address a server is reached: whoever is asked first reads pyroute2 in, with all it has."""
STEP_S = 10.0
LONG_STEPS_S: dict[type[Step], float] = {
    CreateRecord: 20.0,
    Login: 25.0,
    Logout: 25.0,
    DeleteRecord: 20.0,
    Scan: 20.0,
    JoinMap: 15.0,
    RemoveMap: 40.0,
    ForgetMap: 15.0,
    Rescan: 20.0,
    RemoveDevice: 50.0,
    Mount: 20.0,
    Unmount: 20.0,
    MakeDisk: 20.0,
    GrowDisk: 20.0,
    RemoveDisk: 60.0,
    WriteOutFile: 60.0,
    GiveDisk: 30.0,
    ResizeDisk: 20.0,
    TakeDisk: 30.0,
}
DETACH_S = 90.0
UNDO_S = 60.0
HAND_OVER_S = 60.0
RECOVER_S = 60.0
AWAY_S = 120.0  # how long an attach that is taken up waits for the helper; above its TimeoutStopSec=
ASK_S = 10.0  # how long a server is asked where a unit is by now, while its old place is still tried
LEAVE_S = 10.0  # how long what an old place has left is waited for, after the new one was handed out
SETTLE_S = 5.0  # how long a caller is kept after its deadline, while a failed attach is undone
TICK_S = 1.0  # the safety net below all events
CALM_TICK_S = 5.0  # the same in the background, where nobody waits; also how often one looks there at most
TEND_S = 30.0  # how often what could not be finished is tried again
START_S = 15.0  # how long the daemon's start waits for what stood before it
BOOT_S = 120.0  # the same after a boot, when storage and network come up beside it; below TimeoutStartSec=
AGAIN_S = 1.0  # the first pause before another try at the start; it doubles, up to eight times TICK_S
LOOK_S = 60.0  # how long a disk that was handed out goes without a look, while no event tells anything


def of_step(step: Step) -> float:
    """How long one step may take before it is uncertain."""
    return LONG_STEPS_S.get(type(step), STEP_S)
