"""The figures: one row for each name, kept in build/bench.json and shown as a table."""

import json
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median

FILE = Path("build/bench.json")


@dataclass(frozen=True, slots=True)
class Row:
    """One figure, with what it is held against; the members are those of build/bench.json."""

    name: str
    unit: str
    ours: float | None
    peer: float | None
    floor: float | None
    ratio_peer: float | None
    ratio_floor: float | None
    processes_ours: int | None
    processes_peer: int | None
    runs: int


def row(
    name: str,
    unit: str,
    *,
    runs: int,
    ours: float | None,
    peer: float | None = None,
    floor: float | None = None,
    processes_ours: int | None = None,
    processes_peer: int | None = None,
) -> Row:
    """A row with its ratios: how often ours goes into the peer's, and the floor's into ours."""
    return Row(
        name=name,
        unit=unit,
        ours=_rounded(ours),
        peer=_rounded(peer),
        floor=_rounded(floor),
        ratio_peer=_ratio(peer, ours),
        ratio_floor=_ratio(ours, floor),
        processes_ours=processes_ours,
        processes_peer=processes_peer,
        runs=runs,
    )


def middle(values: Sequence[float]) -> float | None:
    """The median; None of nothing."""
    return median(values) if values else None


def save(rows: Iterable[Row]) -> None:
    """Put these rows into the file; others that are there stay."""
    kept = {entry["name"]: entry for entry in (json.loads(FILE.read_text()) if FILE.exists() else [])}
    kept |= {entry.name: asdict(entry) for entry in rows}
    FILE.parent.mkdir(parents=True, exist_ok=True)
    FILE.write_text("[\n" + ",\n".join(f" {json.dumps(kept[name])}" for name in sorted(kept)) + "\n]\n")


def table(rows: Iterable[Row]) -> str:
    """The rows for people."""
    lines = [
        f"{'':29}{'ours':>9}{'peer':>9}{'floor':>9}{'':4}{'peer/ours':>10}{'ours/floor':>11}{'processes':>11}  runs"
    ]
    for entry in rows:
        numbers = "".join(f"{_shown(value):>9}" for value in (entry.ours, entry.peer, entry.floor))
        ratios = f"{_shown(entry.ratio_peer):>10}{_shown(entry.ratio_floor):>11}"
        counts = f"{_shown(entry.processes_ours)} / {_shown(entry.processes_peer)}"
        lines.append(f"{entry.name:29}{numbers} {entry.unit:3}{ratios}{counts:>11}  {entry.runs:4}")
    return "\n".join(lines)


def _ratio(one: float | None, other: float | None) -> float | None:
    return round(one / other, 2) if one is not None and other else None


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 2)


def _shown(value: float | None) -> str:
    return "-" if value is None else f"{value:.0f}" if abs(value) >= 100 or value == int(value) else f"{value:.2f}"
