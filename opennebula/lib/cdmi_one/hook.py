"""The hooks, by the names of their scripts."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from cdmi_one import error_hook

VERBS: Mapping[str, Callable[[Sequence[str]], None]] = {"host_lost": error_hook.host_lost}
