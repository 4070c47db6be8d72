"""Stock scripts that ask the cdmi driver first: images of stock datastores may then be objects of CDMI servers.

Each gets a few marked lines at its beginning, after the comments that it begins with; the case of `cdmi://` is decided
in one script of ours (tm/cdmi/stock). Scripts that are links are followed: several drivers may share what is patched.
Nothing is changed where one of them is of a kind that is not known.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Sequence
from pathlib import Path

from cdmi_one.failure import Failure
from cdmi_one.setup.changes import Change, File
from cdmi_one.setup.marks import BEGIN, END, unmarked
from cdmi_one.setup.places import Places
from cdmi_one.setup.record import read

DRIVERS = ("shared", "qcow2", "ssh", "local")
VERBS = (
    *("clone", "ln", "mvds", "mv", "delete", "cpds", "resize"),
    *("snap_create", "snap_create_live", "snap_revert", "snap_delete"),
    *("premigrate", "postmigrate", "failmigrate"),
)
_SHELL = re.compile(r"#!\s*(?:/usr)?/bin/(?:env +)?(?:ba|da)?sh\b")
_RUBY = re.compile(r"#!\s*(?:/usr)?/bin/(?:env +)?ruby\b")
SHELL_LINES = f"""\
{BEGIN}
cdmi=$(dirname "$0")/../cdmi/stock
if [ -z "${{CDMI_STOCK-}}" ] && [ -x "$cdmi" ]; then exec "$cdmi" "$0" "$@"; fi
{END}
"""
RUBY_LINES = f"""\
{BEGIN}
cdmi = File.join(File.dirname($PROGRAM_NAME), '..', 'cdmi', 'stock')
exec(cdmi, $PROGRAM_NAME, *ARGV) if !ENV['CDMI_STOCK'] && File.executable?(cdmi)
{END}
"""
DOWNLOADER_LINES = f"""\
{BEGIN}
cdmi://*\\'*)
    echo "Cannot read from $FROM" >&2
    exit 1
    ;;
cdmi://*)
    command="'$(dirname "$0")/cdmi_downloader' '$FROM'"
    ;;
{END}
"""
SIZE_LINES = f"""\
{BEGIN}
    case "$1" in
    cdmi://*)
        SIZE=$("$(dirname "$0")/../cdmi_downloader" --size "$1" 2>&1) || {{ echo "$SIZE"; return 1; }}
        echo "$(((SIZE + 1048575) / 1048576))"
        return 0
        ;;
    esac
{END}
"""
"""What fs_size prints is MiB, or why it failed."""
_FROM = re.compile(r'^case +"?\$\{?FROM\}?"? +in[ \t]*\n', re.MULTILINE)
_SIZE = re.compile(r"^(?:function +)?fs_size *(?:\(\))? *\n?\{[ \t]*\n", re.MULTILINE)


def installed(places: Places, drivers: Sequence[str]) -> list[Change]:
    """The scripts of these drivers, and the downloader, with our lines in them. Raises `Failure`."""
    if not (places.remotes / "tm" / "cdmi" / "stock").exists():
        raise Failure("the cdmi drivers are not there", "run opennebula/install --front-end first")
    missing = [name for name in drivers if not (places.remotes / "tm" / name).is_dir()]
    if missing:
        raise Failure(f"there is no transfer driver {', '.join(missing)}", "name those that there are: --tm NAME,NAME")
    wanted = {path: patched(path, read(path)) for path in scripts(places, drivers)}
    store = places.remotes / "datastore"
    for name, pattern, lines in (("downloader.sh", _FROM, DOWNLOADER_LINES), ("libfs.sh", _SIZE, SIZE_LINES)):
        wanted[store / name] = _with_case(store / name, read(store / name), pattern, lines)
    return [File(path, text.encode(), shown=True) for path, text in wanted.items()]


def removed(places: Places) -> list[Change]:
    """Every script without our lines; what an upgrade has replaced has none. Raises `Failure`."""
    tm, store = places.remotes / "tm", places.remotes / "datastore"
    found = [*sorted(tm.rglob("*")), *(store / name for name in ("downloader.sh", "libfs.sh"))]
    ours = [path for path in found if tm / "cdmi" not in path.parents and _is_marked(path)]
    return [File(path, unmarked(read(path)).encode(), shown=True) for path in ours]


def scripts(places: Places, drivers: Sequence[str]) -> Iterator[Path]:
    """The files behind the scripts of these drivers, each once: `ln.ssh` as well as `ln`. Raises `Failure`."""
    seen = set()
    tm = places.remotes / "tm"
    for path in (path for name in drivers for path in sorted((tm / name).iterdir())):
        if path.name.partition(".")[0] not in VERBS:
            continue
        real = Path(os.path.realpath(path))
        if tm.resolve() not in real.parents or not real.is_file():
            raise Failure(
                f"{path} leads to {real}, which is no script of a transfer driver", "leave it out: --tm NAME,NAME"
            )
        if real not in seen:
            seen.add(real)
            yield real


def patched(path: Path, text: str) -> str:
    """A script with our lines in it, once. Raises `Failure` where it is of no kind that is known."""
    text = unmarked(text)
    lines = SHELL_LINES if _SHELL.match(text) else RUBY_LINES if _RUBY.match(text) else ""
    if not lines:
        raise Failure(
            f"{path} is neither a shell script nor Ruby: nothing was changed", "leave its driver out: --tm NAME,NAME"
        )
    if "cdmi://" in text:
        raise Failure(
            f"{path} has a case for cdmi:// already, which is not ours: nothing was changed", "take it out first"
        )
    at = 0
    for line in text.splitlines(keepends=True):
        if line.strip() and not line.startswith("#"):
            break
        at += len(line)
    head = text[:at]
    return f"{head}{'' if head.endswith(chr(10)) else chr(10)}{lines}{text[at:]}"


def _with_case(path: Path, text: str, pattern: re.Pattern[str], lines: str) -> str:
    text = unmarked(text)
    found = list(pattern.finditer(text))
    if len(found) != 1 or "cdmi://" in text:
        raise Failure(f"{path} is not as any release has it: nothing was changed", "put the case in by hand")
    return text[: found[0].end()] + lines + text[found[0].end() :]


def _is_marked(path: Path) -> bool:
    return path.is_file() and not path.is_symlink() and BEGIN.encode() in path.read_bytes()
