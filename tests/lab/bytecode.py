"""Byte code of what runs in guests, made here: an emulated processor compiles some thirty times as slowly."""

from __future__ import annotations

import functools
import importlib.util
import py_compile
import tempfile
from collections.abc import Mapping
from pathlib import Path


@functools.cache
def byte_code(top: Path, names: tuple[str, ...], target: str) -> Mapping[str, bytes]:
    """The byte code of every module below the folders `names` of `top`, by its name there.

    In `target`, a folder of the guest, Python takes it where the sources are the same, and its own version is this one.
    """
    with tempfile.TemporaryDirectory() as folder:
        made = Path(folder, "module.pyc")
        return {
            importlib.util.cache_from_source(name): compiled(top / name, made, f"{target}/{name}")
            for name in (
                str(path.relative_to(top)) for folder in names for path in sorted((top / folder).rglob("*.py"))
            )
        }


def compiled(source: Path, made: Path, shown: str) -> bytes:
    """The byte code of one file, which tracebacks call `shown`; `made` is written over."""
    mode = py_compile.PycInvalidationMode.CHECKED_HASH
    py_compile.compile(str(source), str(made), shown, doraise=True, invalidation_mode=mode)
    return made.read_bytes()
