"""`python -m bench.waterfall`: an attach of ours beside one of os-brick's, drawn from the samples of the bench."""

import json
import sys
from collections.abc import Mapping
from pathlib import Path
from statistics import median_low
from typing import Any

from agent.cli import timing, waterfall
from bench.packages import version

SAMPLES, PICTURE = Path("build/bench-samples.json"), Path("docs/screens/beside-os-brick.svg")
CASE = "iscsi.attach.new"


def main() -> int:
    """Draw the runs with the median time. Returns the exit status."""
    if not SAMPLES.exists():
        print("bench.waterfall: nothing is measured yet: python -m bench --only single", file=sys.stderr)
        return 1
    samples = [sample for sample in json.loads(SAMPLES.read_text()) if sample.get("case") == CASE and "ms" in sample]
    ours, peer = (_middle([sample for sample in samples if sample["player"] == player]) for player in ("ours", "peer"))
    PICTURE.write_text(
        waterfall.drawn(
            [
                (f"cdmi-attach: {ours['ms']:.0f} ms, with the CDMI server's part", timing.spans(ours["steps"])),
                (f"os-brick {version()}: {peer['ms']:.0f} ms; its processes, and its sleep", _programs(peer)),
            ]
        )
    )
    print(PICTURE)
    return 0


def _middle(samples: list[dict[str, Any]]) -> dict[str, Any]:
    kept = [sample for sample in samples if sample["run"] > 0]
    middle = median_low(sample["ms"] for sample in kept)
    return next(sample for sample in kept if sample["ms"] == middle)


def _programs(sample: Mapping[str, Any]) -> list[timing.Span]:
    """What the kernel saw it execute, and the longest gap between two: there it sleeps."""
    spans = [timing.Span(ran["what"], "", start_ms=ran["start_ms"], took_ms=ran["took_ms"]) for ran in sample["ran"]]
    return [*spans, timing.Span("the device is read", "", start_ms=sample["ms"], took_ms=0.0)]


if __name__ == "__main__":
    sys.exit(main())
