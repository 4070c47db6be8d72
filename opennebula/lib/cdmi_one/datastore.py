"""The verbs of the datastore driver, by the names of their scripts."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

VERBS: Mapping[str, Callable[[Sequence[str]], None]] = {}
