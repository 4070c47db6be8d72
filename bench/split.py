"""What of our time is the CDMI server's: the peer and the floor get their permission before their turn."""

from collections.abc import Iterable, Mapping
from typing import Any

ABROAD = ("resolve ", "grant ", "revoke ")


def on_the_host(samples: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """The samples, ours without the time of the steps that talk to the CDMI server."""
    return [{**sample, "ms": sample["ms"] - abroad_ms(sample.get("steps", []))} for sample in samples if "ms" in sample]


def abroad_ms(steps: list[Mapping[str, Any]]) -> float:
    """How long the CDMI steps took; each of a detach lasts until the next line of the journal."""
    total = 0.0
    for number, step in enumerate(steps):
        if not step["what"].startswith(ABROAD):
            continue
        if "took_ms" in step:
            total += step["took_ms"]
        elif number + 1 < len(steps):
            total += steps[number + 1]["at_ms"] - step["at_ms"]
    return total
