"""What the ledger keeps of an attachment that is there for a while only."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Lease:
    """How long (seconds) an attachment stays after it was handed out, or asked for again.

    `until` is on the host's clock, which no step of the wall clock moves, of the boot `boot_id`; 0.0: not handed out
    yet. `ends` is the same by the wall clock, to be shown: nothing is decided by it.
    """

    seconds: float
    until: float = 0.0
    boot_id: str = ""
    ends: str = ""
