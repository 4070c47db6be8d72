"""What the helper's record says was made on this host, and what others have left there: asked for by `leftovers`."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class RecordQuery:
    """Ask for all that is in the record of what was made here."""


@dataclass(frozen=True, slots=True)
class Made:
    """One thing in the record, by its names: see `agent.host.created.Thing`."""

    kind: str
    target: str = ""
    portal: str = ""
    hctl: str = ""
    name: str = ""
    wwid: str = ""


@dataclass(frozen=True, slots=True)
class Dead:
    """A disk (`hctl`) or a multipath map that carries no I/O any more, whoever made it; `node` is the kernel's name,
    `says` what is the matter with it. `used`: something is stacked upon it.
    """

    kind: str
    node: str
    says: str
    hctl: str = ""
    used: bool = False


@dataclass(frozen=True, slots=True)
class RecordSight:
    """What was made here and is not known to be gone, and what is dead; `more` of either was left out."""

    made: tuple[Made, ...] = ()
    dead: tuple[Dead, ...] = ()
    more: int = 0
