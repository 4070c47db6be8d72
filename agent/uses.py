"""What an object is known by, who may use it, and what a caller says to know of that."""

from collections.abc import Sequence
from dataclasses import dataclass


def known_by(uri: str, object_id: str, places: Sequence[str]) -> frozenset[str]:
    """All that an object is known by: its addresses without a slash at their end, and its ID in lower case."""
    return frozenset({uri.rstrip("/"), object_id.casefold(), *places} - {""})


@dataclass(frozen=True, slots=True)
class Permitted:
    """Hosts that an export names: the object that has it (a URL), its key, and the names."""

    at: str
    key: str
    names: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Users:
    """Who may use an object, and what would go with it, as far as its server tells.

    `permitted` are the exports that name hosts, of the object and of what is in it; `anybody` the keys of its own that
    name none, and are open to any; `snapshots` the names of its snapshots. `unread` says in words what of it could not
    be looked at, empty when all was.
    """

    permitted: tuple[Permitted, ...] = ()
    anybody: tuple[str, ...] = ()
    snapshots: tuple[str, ...] = ()
    unread: str = ""

    @property
    def names(self) -> tuple[str, ...]:
        """All hosts that are named."""
        return tuple(dict.fromkeys(name for one in self.permitted for name in one.names))


@dataclass(frozen=True, slots=True)
class Despite:
    """What a caller knows and says so: `permitted`, that other hosts may use the object; `snapshots`, that it has some,
    which go with it; `object_id`, which object it is, empty where that is not said.
    """

    permitted: bool = False
    snapshots: bool = False
    object_id: str = ""


CAREFUL = Despite()
"""A caller who has said nothing."""


@dataclass(frozen=True, slots=True)
class Fenced:
    """One export of an object that a host was fenced off: who was withdrawn, and who is left."""

    key: str
    protocol: str
    withdrawn: tuple[str, ...]
    permissions: tuple[str, ...]
