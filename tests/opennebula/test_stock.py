"""`opennebula/patch-stock` on made-up scripts of every kind: what they do then, and that it goes without a trace."""

import asyncio
import shutil
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest
from cdmi_one.setup.marks import BEGIN
from cdmi_one.setup.stock import VERBS

from tests.opennebula import genuine
from tests.opennebula.front_end import ME, ROOT, Machine
from tests.opennebula.life import (
    BOTH_SYSTEMS,
    deployed,
    ended,
    migrated_cold,
    migrated_live,
    rested,
    resumed,
    two_disks,
)
from tests.opennebula.oned import Disk, Vm
from tests.opennebula.site import Site

PATCH = ROOT / "opennebula" / "patch-stock"
SAYS = 'echo "stock ${0##*/tm/} $*" >>"$LOG"; if [ -n "$READS" ]; then cat >>"$LOG"; fi'
BASH = f"""\
#!/bin/bash

# ---- #
# A licence of some lines
# ---- #

set -e -u
{SAYS.replace("$READS", "${READS-}")}
exit ${{STATUS:-0}}
"""
PLAIN = f"#!/bin/sh\n{SAYS}\n"
RUBY = """\
#!/usr/bin/env ruby
#
# frozen_string_literal: true

# arguments: fe:SOURCE host:disk
require 'English'
File.open(ENV['LOG'], 'a') {|f| f.puts "stock #{$0.split('/tm/').last} #{ARGV.join(' ')}" }
"""
OURS = '#!/bin/sh\necho "cdmi ${0##*/} $*" >>"$LOG"; if [ -n "$READS" ]; then cat >>"$LOG"; fi; exit ${OURS:-0}\n'
DOWNLOADER = """\
#!/bin/bash
FROM="$1"
case "$FROM" in
http://*|https://*)
    command="curl '$FROM'"
    ;;
*)
    command="cat '$FROM'"
    ;;
esac
eval "$command"
"""
LIBFS = """\
function file_size {
    stat -c %s "$1"
}

function fs_size {
    SRC=$1

    error=1

    if [ -f "${SRC}" ]; then
        SIZE=$(file_size "${SRC}")
        error=$?
    else
        echo 'File not found'
        return 1
    fi

    SIZE=$((($SIZE+1048575)/1048576))

    echo "${SIZE}"

    return $error
}
"""
DISK = "hosta:/var/lib/one//datastores/100/5/disk"
SOURCE = "cdmi://cdmi.example.org/cdmi_objectid/00AA"


class Front:
    """A front-end with stock scripts, and stand-ins for the cdmi driver that write down what they are asked for."""

    def __init__(self, root: Path) -> None:
        self.machine = Machine(root, "7")
        assert self.machine.run("--front-end").returncode == 0
        self.log = root / "log"
        tm = self.machine.remotes / "tm"
        texts = {
            **dict.fromkeys(("shared/clone", "shared/ln", "shared/ln.ssh", "ssh/mv", "ssh/premigrate"), BASH),
            **dict.fromkeys(("shared/delete", "ssh/ln", "common/dummy.sh", "common/cpds", "ssh/postmigrate"), PLAIN),
            "local/clone": RUBY,
            "shared/monitor": BASH,
        }
        for name, text in texts.items():
            self.machine.put(tm / name, text, mode=0o755)
        (tm / "qcow2").symlink_to("shared")
        for name in ("shared/mvds", "ssh/failmigrate"):
            (tm / name).symlink_to("../common/dummy.sh")
        (tm / "ssh" / "cpds").symlink_to("../common/cpds")
        for name, text in (("downloader.sh", DOWNLOADER), ("libfs.sh", LIBFS)):
            self.machine.put(self.machine.remotes / "datastore" / name, text, mode=0o755)
        vm = Vm(5, (Disk(0, SOURCE, clone=False, tm="shared"), Disk(1, "/ds/1/x", clone=True, tm="shared")), "hosta")
        self.machine.put(
            root / "bin" / "onevm", f"#!/bin/sh\n[ $3 = 5 ] || exit 1\ncat <<'E'\n{vm.xml()}\nE\n", mode=0o755
        )
        self.before = self.machine.files()

    @property
    def tm(self) -> Path:
        return self.machine.remotes / "tm"

    def patch(self, *words: str) -> subprocess.CompletedProcess[str]:
        return self.machine.run(*words, program=PATCH)

    def stand_ins(self) -> None:
        for verb in VERBS:
            self.machine.put(self.tm / "cdmi" / verb, OURS, mode=0o755)

    def run(self, script: str, *words: str, stdin: str = "", **environ: str) -> tuple[int, list[str]]:
        """Run a stock script as one_tm.rb does. Returns its status, and who was asked for what."""
        self.log.unlink(missing_ok=True)
        reads = {"READS": "1"} if stdin else {}
        path = f"{self.machine.root / 'bin'}:/usr/bin:/bin"
        done = subprocess.run(
            [self.tm / script, *words],
            input=stdin,
            text=True,
            env={"PATH": path, "LOG": str(self.log), **reads, **environ},
            capture_output=True,
            timeout=60,
            check=False,
        )
        return done.returncode, self.log.read_text().splitlines() if self.log.exists() else []


@pytest.fixture
def front(tmp_path: Path) -> Front:
    return Front(tmp_path)


def patched(front: Front) -> None:
    done = front.patch()
    assert (done.returncode, done.stderr) == (0, ""), done
    front.stand_ins()


@pytest.mark.parametrize("uninstall", [[PATCH], [ROOT / "opennebula" / "install", "--front-end"]])
def test_it_is_there_once_and_then_not_at_all(front: Front, uninstall: list[object]) -> None:
    said = front.patch().stdout
    assert f"change: {front.tm}/shared/clone" in said and f"{front.tm}/common/dummy.sh" in said
    after = front.machine.files()
    assert {name for name in after if after[name] != front.before[name]} == {
        *(f"var/lib/one/remotes/tm/{name}" for name in ("shared/clone", "shared/ln", "shared/ln.ssh", "shared/delete")),
        *(f"var/lib/one/remotes/tm/{name}" for name in ("ssh/mv", "ssh/ln", "ssh/premigrate", "ssh/postmigrate")),
        *(f"var/lib/one/remotes/tm/{name}" for name in ("common/dummy.sh", "common/cpds", "local/clone")),
        *(f"var/lib/one/remotes/datastore/{name}" for name in ("downloader.sh", "libfs.sh")),
    }
    assert all(text.count(BEGIN.encode()) <= 1 for _, text in after.values())
    assert "nothing to do" in front.patch().stdout and front.machine.files() == after
    program, *words = uninstall
    done = front.machine.run(*map(str, words), "--uninstall", program=Path(str(program)))
    assert done.returncode == 0, done
    left = front.machine.files()
    assert {name: left[name] for name in left if "cdmi" not in name and "/etc/" not in f"/{name}"} == {
        name: front.before[name] for name in left if "cdmi" not in name and "/etc/" not in f"/{name}"
    }


def test_after_an_upgrade_it_is_put_in_again(front: Front) -> None:
    front.patch()
    newer = BASH.replace("set -e", "set -o pipefail -e")
    front.machine.put(front.tm / "shared" / "ln", newer, mode=0o755)
    said = front.patch().stdout
    assert "shared/ln" in said and "shared/clone" not in said
    front.patch("--uninstall")
    assert (front.tm / "shared" / "ln").read_text() == newer


def test_an_object_is_the_driver_s_and_all_else_is_the_script_s(front: Front) -> None:
    patched(front)
    for script, words in (
        ("shared/ln", (SOURCE, f"{DISK}.0", "5", "1")),
        ("shared/ln.ssh", (SOURCE, f"{DISK}.0", "5", "1")),
        ("qcow2/clone", (SOURCE, f"{DISK}.0", "5", "1")),
        ("shared/mvds", (f"{DISK}.0", SOURCE, "5", "1")),
        ("shared/delete", (f"{DISK}.0", "5", "1")),
        ("ssh/mv", (f"{DISK}.0", "hostb:/x/5/disk.0", "5", "1")),
        ("ssh/cpds", (f"{DISK}.0", "name", "-1", "5", "1")),
    ):
        verb = script.partition("/")[2].partition(".")[0]
        assert front.run(script, *words) == (0, [f"cdmi {verb} {' '.join(words)}"])
    for script, words in (
        ("shared/ln", ("fe:/ds/1/x", f"{DISK}.1", "5", "1")),
        ("shared/mvds", (f"{DISK}.1", "fe:/ds/1/x", "5", "1")),
        ("shared/delete", (f"{DISK}.1", "5", "1")),
        ("shared/delete", (f"{DISK}.7", "5", "1")),
        ("shared/delete", ("hosta:/var/lib/one/datastores/100/5", "5", "100")),
        ("ssh/mv", (f"{DISK}.1", "hostb:/x/5/disk.1", "5", "1")),
        ("ssh/mv", ("hosta:/x/5", "hostb:/x/5", "5", "100")),
    ):
        assert front.run(script, *words) == (0, [f"stock {script} {' '.join(words)}"]), "under its own name"
    assert front.run("shared/ln", "fe:/x", f"{DISK}.1", "5", "1", STATUS="7")[0] == 7


def test_where_oned_does_not_tell_nothing_is_done(front: Front) -> None:
    """Taken for a file, an object's link would go, and its disk would stay attached."""
    patched(front)
    assert front.run("shared/delete", f"{DISK}.0", "6", "1") == (1, [])


def test_live_migration_asks_both(front: Front) -> None:
    patched(front)
    words = ("hosta", "hostb", "/x/5", "5", "100")
    for verb in ("premigrate", "postmigrate", "failmigrate"):
        status, said = front.run(f"ssh/{verb}", *words, stdin="PFZNLz4=\n")
        asked = " ".join(words)
        assert (status, said) == (0, [f"cdmi {verb} {asked}", "PFZNLz4=", f"stock ssh/{verb} {asked}", "PFZNLz4="])
    status, said = front.run("ssh/premigrate", *words, stdin="PFZNLz4=\n", OURS="3")
    assert (status, len(said)) == (3, 2), "what is not there at the destination is not migrated to"
    status, said = front.run("ssh/postmigrate", *words, stdin="PFZNLz4=\n", OURS="3")
    assert (status, len(said)) == (3, 4)
    status, said = front.run("ssh/premigrate", *words, "shared", stdin="PFZNLz4=\n")
    assert (status, said[0]) == (0, f"stock ssh/premigrate {' '.join(words)} shared"), "asked by another driver"


def test_without_the_drivers_a_patched_script_is_as_before(front: Front) -> None:
    patched(front)
    shutil.rmtree(front.tm / "cdmi")
    words = (SOURCE, f"{DISK}.0", "5", "1")
    assert front.run("shared/ln", *words) == (0, [f"stock shared/ln {' '.join(words)}"])


def test_a_script_in_ruby(front: Front) -> None:
    """Its magic comments stay the first thing in it."""
    patched(front)
    text = (front.tm / "local" / "clone").read_text()
    assert text.index("# frozen_string_literal: true") < text.index(BEGIN) < text.index("require 'English'")
    if shutil.which("ruby"):
        words = (SOURCE, f"{DISK}.0", "5", "1")
        assert front.run("local/clone", *words) == (0, [f"cdmi clone {' '.join(words)}"])
        assert front.run("local/clone", "fe:/x", *words[1:]) == (0, [f"stock local/clone fe:/x {' '.join(words[1:])}"])


@pytest.mark.parametrize(
    ("name", "text", "says"),
    [
        ("tm/shared/ln", "#!/usr/bin/perl\n", "neither a shell script nor Ruby"),
        ("tm/ssh/ln", "\x7fELF", "neither a shell script nor Ruby"),
        ("tm/ssh/ln", "#!/bin/sh\ncase $1 in cdmi://*) mine;; esac\n", "a case for cdmi:// already"),
        ("tm/ssh/ln", f"#!/bin/sh\n{BEGIN}\n", "without its end"),
        ("datastore/downloader.sh", "#!/bin/bash\ncurl $1\n", "is not as any release has it"),
        ("datastore/libfs.sh", LIBFS.replace("fs_size", "size_of"), "is not as any release has it"),
    ],
)
def test_what_it_does_not_know_it_leaves_alone(front: Front, name: str, text: str, says: str) -> None:
    front.machine.put(front.machine.remotes / name, text, mode=0o755)
    before = front.machine.files()
    done = front.patch()
    assert done.returncode == 1 and says in done.stderr and done.stderr.count("\n") == 1, done
    assert front.machine.files() == before


def test_links_that_lead_elsewhere_are_left_alone(front: Front) -> None:
    (front.tm / "ssh" / "clone").symlink_to("/bin/true")
    before = front.machine.files()
    assert "is no script of a transfer driver" in front.patch().stderr and front.machine.files() == before
    assert front.patch("--tm", "shared").returncode == 0 and b"cdmi" not in (front.tm / "ssh" / "mv").read_bytes()
    assert "there is no transfer driver lvm" in front.patch("--tm", "lvm").stderr


def test_a_download_is_the_helper_s(front: Front) -> None:
    patched(front)
    store = front.machine.remotes / "datastore"
    helper = """\
#!/bin/sh
case $* in
"--size "*gone) echo 'cdmi/download: gone' >&2; exit 1;;
"--size "*) echo 1048577;;
*) echo "$*";;
esac
"""
    front.machine.put(store / "cdmi_downloader", helper, mode=0o755)
    front.machine.put(store / "fs" / "stat", '#!/bin/bash\n. "$(dirname "$0")/../libfs.sh"\nfs_size "$1"\n', mode=0o755)
    front.machine.put(front.machine.root / "a file", "x" * 10)
    for script, word, says in (
        ("downloader.sh", "cdmi://a.example/b c", "cdmi://a.example/b c\n"),
        ("downloader.sh", str(front.machine.root / "a file"), "x" * 10),
        ("fs/stat", "cdmi://a.example/b", "2\n"),
        ("fs/stat", str(front.machine.root / "a file"), "1\n"),
    ):
        assert subprocess.run([store / script, word], capture_output=True, text=True, check=True).stdout == says
    odd = subprocess.run([store / "downloader.sh", "cdmi://a/';id;'"], capture_output=True, text=True, check=False)
    assert odd.returncode == 1 and odd.stdout == "" and "Cannot read from" in odd.stderr
    gone = subprocess.run([store / "fs" / "stat", "cdmi://a/gone"], capture_output=True, text=True, check=False)
    assert (gone.returncode, gone.stdout) == (1, "cdmi/download: gone\n"), "what fs_size prints is the error"


@pytest.mark.parametrize("system", BOTH_SYSTEMS)
async def test_the_life_of_a_vm_whose_images_are_of_a_stock_datastore(site: Site, system: tuple[str, int]) -> None:
    """Whatever oned asks of that datastore's driver; the stock scripts would end in tears."""
    remotes, home = site.drivers.remotes, site.folder / "one"
    for name in ("tm/shared/ln", "tm/shared/clone", "tm/shared/mvds") if not genuine.tree() else ():
        (remotes / name).write_text("#!/bin/sh\necho 'a stock script was asked' >&2\nexit 9\n")
        (remotes / name).chmod(0o755)
    if not genuine.tree():
        (remotes / "datastore" / "downloader.sh").write_text(DOWNLOADER)
        (remotes / "datastore" / "libfs.sh").write_text(LIBFS)
    words = [str(PATCH), "--one-location", str(home), "--owner", ME, "--yes"]
    done = await asyncio.to_thread(subprocess.run, words, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done
    vm = await two_disks(site, system=system)
    vm = await deployed(site, replace(vm, disks=tuple(replace(disk, tm="shared") for disk in vm.disks)))
    vm, told = await migrated_live(site, vm, "hostb")
    assert [one.ok for one in told] == [True, True] and site.hosts["hosta"].is_bare()
    vm = await migrated_cold(site, vm, "hosta")
    assert site.hosts["hostb"].is_bare()
    vm = await rested(site, vm)
    assert site.all_gone() and site.children("vms") == {"one-5-1"}
    vm = await resumed(site, vm, "hostb")
    assert [site.behind("hostb", vm, disk) for disk in vm.disks] == ["data5", "base5"]
    await ended(site, vm)
    assert site.all_gone() and site.children("vms") == set() and site.stamped("images/data5") == "data5"
