"""What is played: for each group of cases the LUNs, the contenders and the acts of a turn."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from bench.inside.lun import Lun

OURS: dict[str, Any] = {"module": "ours"}
PEER: dict[str, Any] = {"module": "peer"}
FLOOR: dict[str, Any] = {"module": "floor"}
AT_ONCE, MANY = 8, 16
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
    kind: str = "iscsi"
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
_MANY = tuple(f"bench-m{number}" for number in range(MANY))


def _pair(case: str, first: str, second: str) -> tuple[Act, ...]:
    """Two LUNs of one target, one after the other, and back."""
    return (
        Act(f"{case}.attach.new", "attach", (first,)),
        Act(f"{case}.attach.existing", "attach", (second,)),
        Act(f"{case}.detach.shared", "detach", (second,)),
        Act(f"{case}.detach.last", "detach", (first,)),
    )


def _both(case: str, first: str, second: str) -> tuple[Act, ...]:
    """Two LUNs behind the same ports, one after the other, and back."""
    return (
        Act(f"{case}.attach", "attach", (first,)),
        Act(f"{case}.attach.second", "attach", (second,)),
        Act(f"{case}.detach.second", "detach", (second,)),
        Act(f"{case}.detach", "detach", (first,)),
    )


GROUPS: dict[str, Group] = {
    "single": Group(
        luns={"bench-a": "bench-pair", "bench-b": "bench-pair"},
        contenders=_ALL,
        acts=_pair("iscsi", "bench-a", "bench-b"),
    ),
    "paths": Group(
        luns={"bench-p": "bench-paths", "bench-q": "bench-paths"},
        contenders={
            "peer": PEER | {"portals": "all", "multipath": True},
            "ours": OURS | {"multipath": True, "min_paths": 2},
            "floor": FLOOR | {"portals": "all", "paths": 2},
        },
        acts=_pair("iscsi.paths2", "bench-p", "bench-q"),
    ),
    "fcpaths": Group(
        luns={"bench-h": "", "bench-i": ""},
        contenders={
            "ours": OURS | {"multipath": True, "min_paths": 2},
            "floor": {"module": "fc_floor", "paths": 2},
        },
        acts=_both("fc.paths2", "bench-h", "bench-i"),
        kind="fcpaths",
    ),
    "fc": Group(
        luns={"bench-f": "", "bench-g": ""},
        contenders={"ours": OURS, "floor": {"module": "fc_floor"}},
        acts=_both("fc", "bench-f", "bench-g"),
        kind="fc",
    ),
    "nfs": Group(
        luns={"bench-n": "", "bench-o": ""},
        contenders={"ours": OURS, "floor": {"module": "nfs_floor"}},
        acts=_pair("nfs", "bench-n", "bench-o"),
        kind="nfs",
    ),
    "file": Group(
        luns={"bench-r": "", "bench-s": ""},
        contenders={
            "peer": {"module": "nfs_peer"},
            "ours": OURS | {"present": "file"},
            "floor": {"module": "nfs_floor", "present": "file"},
        },
        acts=_pair("nfs.file", "bench-r", "bench-s"),
        kind="nfs",
    ),
    "eight": Group(
        luns={name: name for name in _EIGHT},
        contenders=_ALL,
        acts=(Act("iscsi.attach.8", "attach", _EIGHT), Act("iscsi.detach.8", "detach", _EIGHT)),
    ),
    "sixteen": Group(
        luns={name: name for name in _MANY},
        contenders=_ALL,
        acts=(Act("iscsi.attach.16", "attach", _MANY), Act("iscsi.detach.16", "detach", _MANY)),
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
