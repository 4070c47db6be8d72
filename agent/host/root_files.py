"""What root alone can have written: the only files that the helper believes, whoever asks it to read them."""

import os
import stat
from collections.abc import Iterator
from pathlib import Path


def places(path: Path) -> Iterator[Path]:
    """All that the configuration at `path` is read from, where it is there: directories and files."""
    for place in (path.parent, path, path.parent / "conf.d", *sorted(path.parent.glob("conf.d/*.toml"))):
        if place.exists():
            yield place


def flaw(path: Path, status: os.stat_result, *, forbidden: int = 0o022) -> tuple[str, str] | None:
    """Why somebody else than the helper's own user may have written the file (or, with 0o077, may read it), and the
    remedy; None where nobody else may.
    """
    mode = stat.S_IMODE(status.st_mode)
    if status.st_uid == os.geteuid() and not mode & forbidden:
        return None
    change = "go-w" if forbidden == 0o022 else "0400"
    what = f"{path} is not root's alone (mode {mode:04o}, user {status.st_uid})"
    return what, f"chown root {path} && chmod {change} {path}"
