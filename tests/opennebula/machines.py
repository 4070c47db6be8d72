"""The machines of a site as folders with programs, and what stands in for ssh and for the commands of oned."""

import atexit
import functools
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from tests.opennebula import genuine
from tests.opennebula.hosts import SimulatedDaemon
from tests.opennebula.oned import LOCAL_DS, Oned
from tests.opennebula.onetm import Drivers, own_path

PYTHON = "PYTHON_OF_DRIVERS"
"""Environment: another python3 for the drivers than that of the system, as a front-end may have (3.9 or later)."""
ROOT = Path(__file__).resolve().parents[2]
STOCK = Path(__file__).resolve().parent / "stock"
SSH = """\
#!/bin/sh
# ssh [-o OPTION]... HOST COMMAND...: the command in the shell of that host, on what the host has for itself.
while :; do case $1 in -o) shift 2;; -*) shift;; *) break;; esac; done
host=$1; shift
here={site}/hosts/$host
echo "$host" >>{site}/ssh.log
[ -e "$here/up" ] || {{ echo "ssh: connect to host $host port 22: No route to host" >&2; exit 255; }}
[ ! -p "$here/hold" ] || cat "$here/hold"
own="s#{site}/\\(one/var\\|hosts/[a-z]*\\)/*/datastores/{local}\\>#$here/datastores/{local}#g"
command=$(printf %s "$*" | sed "$own")
# OpenNebula's own scripts in Ruby find their library there as well.
there() {{
    exec env -i HOME="$here" PATH="$here/bin:/usr/bin:/bin" LANG=C \\
        ${{RUBYLIB:+RUBYLIB="$RUBYLIB" ONE_LOCATION="$ONE_LOCATION"}} sh -c "$command"
}}
case $command in
tar*) there;;
bash*) sed -u "$own" | there;;
*) sed "$own" | there;;
esac
"""
COMMAND = """\
#!/bin/sh
PYTHONPATH={root} exec {python} -sS {root}/agent/cli/main.py --socket {socket} "$@"
"""
ONEVM = """\
#!/bin/sh
# onevm show -x VM
[ ! -e {site}/oned.down ] || {{ echo "Failed to open TCP connection to localhost:2633" >&2; exit 255; }}
exec cat {site}/vms/$3.xml
"""
ONEHOST = """\
#!/bin/sh
# onehost list -x
exec cat {site}/vms/hosts.xml
"""
CONF = """\
# A site of the tests.
ALLOW="cdmi://{server}/images/"
CLONES="cdmi://{server}/vms/"
FRONT_END="{front_end}"
BRIDGE_LIST="hosta hostb"
"""


def front_end(folder: Path) -> Oned:
    """The drivers as they are installed, with the system datastores of the tests beside them, or OpenNebula's own."""
    location, programs, home = folder / "one", folder / "bin", folder / "home"
    for one in (programs, home, folder / "vms"):
        one.mkdir(parents=True)
    if genuine.tree():
        drivers: Drivers = genuine.front_end(location, home, programs)
    else:
        drivers = Drivers(location / "var" / "remotes", home, own_path(programs))
        shutil.copytree(STOCK / "tm", drivers.remotes / "tm")
        (location / "var" / "datastores").mkdir()
    shutil.copytree(_compiled(), drivers.remotes, dirs_exist_ok=True)
    program(programs / "ssh", SSH.format(site=folder, local=LOCAL_DS))
    program(programs / "onevm", ONEVM.format(site=folder))
    program(programs / "onehost", ONEHOST.format(site=folder))
    if python := os.environ.get(PYTHON):
        (programs / "python3").symlink_to(python)
    return Oned(drivers, location / "var", folder / "vms")


@functools.cache
def _compiled() -> Path:
    """The drivers as they are installed, compiled once for all tests."""
    folder = Path(tempfile.mkdtemp(prefix="one-remotes-"))
    atexit.register(shutil.rmtree, folder)
    shutil.copytree(ROOT / "opennebula", folder, dirs_exist_ok=True, ignore=shutil.ignore_patterns("__pycache__"))
    subprocess.run(["python3", "-m", "compileall", "-q", folder / "lib"], env={"PATH": own_path()}, check=True)
    return folder


def commands(host: SimulatedDaemon, folder: Path) -> None:
    """What oneadmin finds on a host."""
    reached(host.folder, folder)
    command = COMMAND.format(root=ROOT, python=sys.executable, socket=host.socket)
    program(host.folder / "bin" / "cdmi-attach", command)


def reached(here: Path, folder: Path) -> None:
    """Let a machine be reached by ssh, and from there the others."""
    for name in ("bin", "datastores"):
        (here / name).mkdir(parents=True)
    (here / "up").touch()
    program(here / "bin" / "ssh", SSH.format(site=folder, local=LOCAL_DS))


def program(path: Path, text: str) -> None:
    path.write_text(text, encoding="utf-8")
    path.chmod(0o755)
