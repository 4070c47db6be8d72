"""`python -m bench`: a lab guest, the contenders in turns on the same LUNs, a table and build/bench.json."""

import argparse
import json
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import median
from typing import Any

from bench import packages, rows, split
from bench.places import NAME, Make, place
from bench.scores import GROUPS, Group
from tests.lab import fleet
from tests.lab.cache import open_cache
from tests.lab.errors import LabError
from tests.lab.guest import Guest

SAMPLES = Path("build/bench-samples.json")
LIMIT_S = 3600.0
Samples = list[dict[str, Any]]


def main(argv: Sequence[str] | None = None) -> int:
    """Measure. Returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("--runs", type=int, default=5, metavar="N", help="runs of each case, after a discarded one")
    parser.add_argument("--only", action="append", choices=list(GROUPS), help="these groups of cases (default: all)")
    parser.add_argument("--keep", action="store_true", help="leave the guest up")
    options = parser.parse_args(argv)
    cache = open_cache()
    try:
        packages.os_brick()
        measured: list[rows.Row] = []
        chosen = [GROUPS[name] for name in options.only or GROUPS]
        for kind in dict.fromkeys(group.kind for group in chosen):
            guest, make = place(cache, kind)
            _tell(f"beside os-brick {packages.version()}; the guest for {kind} is up, and its scene set")
            for group in [group for group in chosen if group.kind == kind]:
                measured += _measure(guest, make, group, options.runs)
                rows.save(measured)
    except LabError as error:
        print(f"bench: {error}", file=sys.stderr)
        return 1
    finally:
        if not options.keep:
            fleet.down(cache, NAME)
    print(rows.table(measured))
    return 0


def _measure(guest: Guest, make: Make, group: Group, runs: int) -> list[rows.Row]:
    luns = [make(name, target) for name, target in group.luns.items()]
    samples = _play(guest, group.score(luns, runs))
    _keep(samples)
    kept = [sample for sample in samples if sample.get("case") and sample["run"] >= group.discard]
    cases = {act.case: [sample for sample in kept if sample["case"] == act.case] for act in group.acts}
    measured = [_row(case, of_case) for case, of_case in cases.items()]
    if any(len(act.luns) > 1 for act in group.acts):
        return measured  # the steps of one do not tell about all
    return measured + [_row(f"{case}.host", split.on_the_host(of_case)) for case, of_case in cases.items()]


def _play(guest: Guest, score: Mapping[str, Any]) -> Samples:
    """Let the conductor play in the guest, and show each sample as it comes. Raises `LabError`."""
    command = guest.argv("cd /opt/cdmi-attach && exec python3 -m bench.inside.conduct")
    samples: Samples = []
    with subprocess.Popen(
        command, cwd=guest.place.folder, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as conductor:
        assert conductor.stdin and conductor.stdout
        conductor.stdin.write(json.dumps(score))
        conductor.stdin.close()
        for line in conductor.stdout:
            samples.append(json.loads(line))
            _tell(_sentence(samples[-1]))
    if conductor.returncode != 0:
        raise LabError(f"the conductor ended with {conductor.returncode}", remedy="see what it wrote above")
    return samples


def _sentence(sample: Mapping[str, Any]) -> str:
    where = f"{sample['run']:2} {sample['player']:14} {sample.get('case', ''):26}"
    if "ms" in sample:
        programs = ", ".join(f"{count} {name}" for name, count in Counter(sample["programs"]).items())
        return f"{where}{sample['ms']:9.1f} ms  {programs}"
    return f"{where}{sample.get('error') or 'left behind: ' + ' '.join(sample['left'])}"


def _row(case: str, samples: Samples) -> rows.Row:
    """The medians of a case. Of several peers the faster one is held against ours."""

    def of(prefix: str) -> dict[str, Samples]:
        found: dict[str, Samples] = {}
        for sample in samples:
            if "ms" in sample and sample["player"].partition(".")[0] == prefix:
                found.setdefault(sample["player"], []).append(sample)
        return found

    ours, floor = of("ours").get("ours", []), of("floor").get("floor", [])
    peer = min(of("peer").values(), key=lambda of_one: median(s["ms"] for s in of_one), default=[])
    return rows.row(
        case,
        "ms",
        ours=rows.middle([sample["ms"] for sample in ours]),
        peer=rows.middle([sample["ms"] for sample in peer]),
        floor=rows.middle([sample["ms"] for sample in floor]),
        processes_ours=_processes(ours),
        processes_peer=_processes(peer),
        runs=len(ours),
    )


def _processes(samples: Samples) -> int | None:
    return round(median(len(sample["programs"]) for sample in samples)) if samples else None


def _keep(samples: Samples) -> None:
    """Every sample with its programs and steps, for whoever asks where the time went."""
    SAMPLES.parent.mkdir(parents=True, exist_ok=True)
    before = json.loads(SAMPLES.read_text()) if SAMPLES.exists() else []
    cases = {sample.get("case") for sample in samples}
    SAMPLES.write_text(json.dumps([s for s in before if s.get("case") not in cases] + samples, indent=1))


def _tell(text: str) -> None:
    print(f"{time.strftime('%H:%M:%S')} {text}", flush=True)


if __name__ == "__main__":
    sys.exit(main())
