"""What is played: for each group of cases the LUNs, the contenders and the acts of a turn."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from bench.inside.lun import Lun

OURS: dict[str, Any] = {"module": "ours"}
PEER: dict[str, Any] = {"module": "peer"}
FLOOR: dict[str, Any] = {"module": "floor"}
AT_ONCE = 8
DEAD_PEER_RUNS = 1
"""The peer waits two minutes for a dead portal: it does so once, and is not asked for more."""


@dataclass(frozen=True, slots=True)
class Act:
    """One verb on some of the LUNs (all at once), measured under the name `case`."""

    case: str
    verb: str
    luns: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Group:
    """Cases that are measured in one turn. `luns` are names with the names of their targets."""

    luns: Mapping[str, str]
    contenders: Mapping[str, Mapping[str, Any]]
    acts: tuple[Act, ...]
    dead: bool = False
    discard: int = 1

    def score(self, luns: list[Lun], runs: int) -> dict[str, Any]:
        """The conductor's stdin."""
        contenders = {
            label: {**options, "runs": min(runs + self.discard, options.get("runs", runs + self.discard))}
            for label, options in self.contenders.items()
        }
        return {
            "runs": runs,
            "discard": self.discard,
            "contenders": contenders,
            "luns": [{name: getattr(lun, name) for name in Lun.__slots__} for lun in luns],
            "acts": [{"case": act.case, "verb": act.verb, "luns": act.luns} for act in self.acts],
            "dead": luns[0].portals[0] if self.dead else None,
        }


_ALL = {"peer": PEER, "ours": OURS, "floor": FLOOR}
_EIGHT = tuple(f"bench-e{number}" for number in range(AT_ONCE))

GROUPS: dict[str, Group] = {
    "single": Group(
        luns={"bench-a": "bench-pair", "bench-b": "bench-pair"},
        contenders=_ALL,
        acts=(
            Act("iscsi.attach.new", "attach", ("bench-a",)),
            Act("iscsi.attach.existing", "attach", ("bench-b",)),
            Act("iscsi.detach.shared", "detach", ("bench-b",)),
            Act("iscsi.detach.last", "detach", ("bench-a",)),
        ),
    ),
    "eight": Group(
        luns={name: name for name in _EIGHT},
        contenders=_ALL,
        acts=(Act("iscsi.attach.8", "attach", _EIGHT), Act("iscsi.detach.8", "detach", _EIGHT)),
    ),
    "dead": Group(
        luns={"bench-d": "bench-d"},
        contenders={
            "ours": OURS,
            "floor": FLOOR | {"portals": "all"},
            "peer": PEER | {"portals": "all", "runs": DEAD_PEER_RUNS},
            "peer.multipath": PEER | {"portals": "all", "runs": DEAD_PEER_RUNS, "multipath": True},
        },
        acts=(
            Act("iscsi.attach.dead_portal", "attach", ("bench-d",)),
            Act("iscsi.detach.dead_portal", "detach", ("bench-d",)),
        ),
        dead=True,
        discard=0,
    ),
}
