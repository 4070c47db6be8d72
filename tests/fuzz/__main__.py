"""`make fuzz`: fire at every target for a while, each in a process of its own; the figures are in build/fuzz/."""

import argparse
import json
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tests.fuzz import run
from tests.fuzz.run import NAMES

FOLDER = Path("build/fuzz")
GRACE_S = 120


def main(arguments: Sequence[str] | None = None) -> int:
    """Fire, and tell. Returns the exit status: 1 when something failed."""
    chosen = _parser().parse_args(arguments)
    if chosen.input:
        run.replay(chosen.target[0], chosen.input)
        return 0
    if chosen.child:
        run.run(chosen.target[0], chosen.engine, seconds=chosen.time, seed=chosen.seed, folder=FOLDER)
        return 0
    results = [_fire(name, chosen) for name in chosen.target or NAMES]
    print(_table(results))
    (FOLDER / "results.json").write_text(json.dumps(results, indent=1))
    return 1 if any(result["failure"] for result in results) else 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="fuzz", description=__doc__)
    parser.add_argument("--target", action="append", choices=NAMES, help="only this one; may be repeated")
    parser.add_argument("--time", type=float, default=60, metavar="S", help="seconds for each target")
    parser.add_argument("--seed", type=int, default=int(time.time()) % 1_000_000)
    parser.add_argument(
        "--engine", choices=("auto", "own"), default="auto", help="auto: atheris, where it is installed"
    )
    parser.add_argument("--input", type=Path, metavar="FILE", help="run one kept input on the target")
    parser.add_argument("--child", action="store_true", help=argparse.SUPPRESS)
    return parser


def _fire(name: str, chosen: argparse.Namespace) -> dict[str, Any]:
    """One target in a process of its own: atheris never returns, and a crash is seen."""
    told = FOLDER / f"{name}.json"
    told.unlink(missing_ok=True)
    words = [
        "--child",
        "--target",
        name,
        "--time",
        str(chosen.time),
        "--seed",
        str(chosen.seed),
        "--engine",
        chosen.engine,
    ]
    command = [sys.executable, "-m", "tests.fuzz", *words]
    log = FOLDER / f"{name}.log"
    FOLDER.mkdir(parents=True, exist_ok=True)
    with log.open("wb") as output:
        done = subprocess.run(command, stdout=output, stderr=output, timeout=chosen.time + GRACE_S, check=False)
    if told.exists():
        result: dict[str, Any] = json.loads(told.read_text())
    else:
        result = {"target": name, "engine": "?", "seed": chosen.seed, "executions": 0, "messages": 0, "seconds": 0.0}
        result |= {"slowest_ms": 0.0, "peak_mib": 0.0, "failure": f"it ended with {done.returncode}: see {log}"}
    print(
        f"{name}: {result['executions']} executions{', FAILED: ' + result['failure'] if result['failure'] else ''}",
        flush=True,
    )
    return result


def _table(results: Sequence[dict[str, Any]]) -> str:
    head = f"{'target':11}{'engine':9}{'executions':>12}{'messages':>12}{'s':>8}"
    lines = [f"{head}{'seed':>9}{'slowest':>11}{'peak':>10}"]
    for one in results:
        figures = f"{one['executions']:12,}{one['messages']:12,}{one['seconds']:8.0f}{one['seed']:9}"
        ending = f"{one['slowest_ms']:8.1f} ms{one['peak_mib']:6.0f} MiB  {one['failure'] or 'ok'}"
        lines.append(f"{one['target']:11}{one['engine']:9}{figures}{ending}")
    lines.append(f"{'all':20}{sum(one['executions'] for one in results):12,}")
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())
