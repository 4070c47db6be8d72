"""OpenNebula's own drivers in the place of the runner: one_tm.rb, one_datastore.rb, one_vmm_exec.rb and stock scripts.

`ONE_TREE` names a source tree of OpenNebula, of which nothing is part of this project: its own install.sh lays it out,
and the drivers are driven over their pipes as oned does it.
"""

import atexit
import base64
import functools
import itertools
import os
import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path

from tests.opennebula.mad import Mad
from tests.opennebula.onetm import Done, Drivers, own_path

TREE = "ONE_TREE"
"""Environment: a source tree of OpenNebula, with whose drivers the tests run."""
WHY_NOT = f"{TREE} names no source tree of OpenNebula, whose own drivers this is about"
SCRIPTS = Path(__file__).resolve().parent / "scripts.rb"
OF_DATASTORES = frozenset(
    {"cp", "rm", "mkfs", "stat", "clone", "monitor", "snap_delete", "snap_revert", "snap_flatten"}
)
"""What one_datastore.rb runs; `export` is a marketplace's to ask."""
GEMS = ("rexml/document", "nokogiri", "xmlrpc/client")
UNUSED = ("treetop", "parse-cron")
"""What one_vmm_exec.rb loads with the rest of OpenNebula's library, and has no use for: empty where ruby has it not."""
SYSTEM_FIRST = "export PATH=/bin:/sbin:/usr/bin:$PATH"
"""In scripts_common.sh: no stand-in of a test would ever be found, so that this line is left out."""
KEPT = ("bin", "lib", "share")
"""Of an installation, what no test changes."""


def tree() -> Path | None:
    """The source tree that the tests are to run with."""
    return Path(os.environ[TREE]).resolve() if os.environ.get(TREE) else None


@dataclass
class Genuine(Drivers):
    """OpenNebula's drivers as they are installed in `location` (ONE_LOCATION), each started when it is first asked."""

    location: Path = Path()
    _mads: dict[str, Mad] = field(default_factory=dict)
    _files: "itertools.count[int]" = field(default_factory=itertools.count)
    _ends: AsyncExitStack = field(default_factory=AsyncExitStack)

    async def transfer(self, lines: Sequence[str], stdin: str = "") -> Done:
        """A transfer file, by one_tm.rb. A standard input there is none for such a file."""
        assert not stdin
        file = self.home / f"transfer.{next(self._files)}"
        file.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
        mad = await self._mad("one_tm", "-t", "15", "-d", ",".join(self.tms))
        done = await mad.ask("TRANSFER", str(file), within_s=self.within_s)
        return done if done.ok else replace(done, error=f"Error executing image transfer script: {done.error}")

    async def tm(self, tm: str, action: str, words: Sequence[str], stdin: str = "") -> Done:
        """One script of a transfer driver, as one_vmm_exec.rb has it run by one_tm.rb's class."""
        mad = await self._mad(str(SCRIPTS))
        coded = [base64.b64encode(text.encode()).decode() or "-" for text in ("\n".join((action, tm, *words)), stdin)]
        return await mad.ask("SCRIPT", *coded, within_s=self.within_s)

    async def datastore(self, ds: str, action: str, number: int, message: str, *, old: bool = False) -> Done:
        """One script of a datastore driver, by one_datastore.rb; by another release's convention it is the runner's."""
        if old or action not in OF_DATASTORES:
            return await super().datastore(ds, action, number, message, old=old)
        mad = await self._mad("one_datastore", "-t", "15", "-d", "cdmi,fs", "-s", "shared,ssh")
        done = await mad.ask(action.upper(), message, number=number, within_s=self.within_s)
        if action != "monitor":
            return done
        error, printed = (base64.b64decode(text).decode() for text in (done.error, done.printed))
        return replace(done, error=error, printed=printed)

    async def vmm(self, action: str, message: str) -> Done:
        """A request to the driver of virtual machines (VMM_DRIVER_ACTION_DATA, in base64), by one_vmm_exec.rb."""
        mad = await self._mad("one_vmm_exec", "-t", "15", "-r", "0", "kvm")
        return await mad.ask(action, message, within_s=self.within_s)

    async def close(self) -> None:
        await self._ends.aclose()

    async def _mad(self, name: str, *words: str) -> Mad:
        if name not in self._mads:
            program = Path(name) if name.startswith("/") else self.location / "lib" / "mads" / name
            command = [*(["ruby"] if program.suffix == ".rb" else []), str(program), *words]
            self._mads[name] = await Mad.started(command, environ=self.environ, home=self.home)
            self._ends.push_async_callback(self._mads[name].close)
        return self._mads[name]


def front_end(location: Path, home: Path, programs: Path) -> Genuine:
    """The drivers at a front-end of that ONE_LOCATION, which is made; those of this project are not in it yet."""
    there = _installed()
    location.mkdir(parents=True)
    for name in KEPT:
        (location / name).symlink_to(there / name)
    shutil.copytree(there / "etc", location / "etc")
    shutil.copytree(there / "var", location / "var")
    (location / "var" / "config").write_text(f"SCRIPTS_REMOTE_DIR={location / 'remote'}\n", encoding="utf-8")
    libraries = [str(there / "lib" / "ruby"), *_gems(), str(there / "unused")]
    more = {"ONE_LOCATION": str(location), "RUBYLIB": os.pathsep.join(libraries)}
    return Genuine(location / "var" / "remotes", home, own_path(programs), more=more, location=location)


@functools.cache
def _installed() -> Path:
    """The tree as its install.sh lays it out, once for all tests; what was not built is not there."""
    source, folder = tree(), Path(tempfile.mkdtemp(prefix="one-tree-"))
    assert source, WHY_NOT
    atexit.register(shutil.rmtree, folder)
    environ = {"PATH": own_path(), "HOME": str(folder)}
    command = ["bash", "install.sh", "-d", str(folder)]
    subprocess.run(command, cwd=source, env=environ, capture_output=True, timeout=300, check=False)
    for path in (folder / "share" / "gems", folder / "unused"):
        path.mkdir(exist_ok=True)
    for name in UNUSED:
        (folder / "unused" / f"{name}.rb").touch()
    for name in ("lib/sh", "var/remotes"):
        common = folder / name / "scripts_common.sh"
        common.write_text(common.read_text(encoding="utf-8").replace(SYSTEM_FIRST, ""), encoding="utf-8")
    return folder


@functools.cache
def _gems() -> tuple[str, ...]:
    """Where ruby has what OpenNebula's programs need, as far as it has it."""
    script = f"%w[{' '.join(GEMS)}].each {{ |name| begin require name; rescue LoadError; end }}; puts $LOAD_PATH"
    done = subprocess.run(["ruby", "-e", script], capture_output=True, text=True, timeout=60, check=True)
    return tuple(done.stdout.split())
