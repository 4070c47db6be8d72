"""What only OpenNebula's own code can be asked for: one_vmm_exec.rb with the scripts of KVM, its own files edited."""

import asyncio
import base64
import getpass
import os
import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from xml.sax.saxutils import escape

import pytest

from tests.opennebula import genuine
from tests.opennebula.genuine import Genuine
from tests.opennebula.life import BOTH_SYSTEMS, deployed, ended, failed, two_disks
from tests.opennebula.machines import ROOT, program
from tests.opennebula.oned import LOCAL_DS, Disk, Lcm, Vm, message
from tests.opennebula.onetm import Done, Drivers
from tests.opennebula.site import Site
from tests.opennebula.test_download import BYTES, upload

pytestmark = pytest.mark.skipif(not genuine.tree(), reason=genuine.WHY_NOT)
VIRSH = """\
#!/bin/sh
# virsh --connect URI [--readonly] VERB ...: a migration, and a disk that comes or goes, is the test's to let happen.
shift 2; [ "$1" != --readonly ] || shift
case $1 in
dumpxml) echo "<domain/>";;
domblklist) cat {here}/domblklist;;
dominfo) exit 1;;
migrate | attach-device | detach-disk) echo "$*" >{here}/asked; read -r status <{here}/answer; exit "$status";;
esac
"""


@asynccontextmanager
async def libvirt(site: Site, host: str, asked: asyncio.Task[Done]) -> AsyncIterator[list[bool]]:
    """Inside, libvirt on that host has been asked for something; it does it unless the list says otherwise."""
    here, agreed = site.folder / "hosts" / host, [True]
    fds = {name: os.open(here / name, os.O_RDWR | os.O_NONBLOCK) for name in ("asked", "answer")}
    loop, called = asyncio.get_running_loop(), asyncio.Event()
    loop.add_reader(fds["asked"], called.set)
    try:
        asked.add_done_callback(lambda _: called.set())
        async with asyncio.timeout(60):
            await called.wait()
        loop.remove_reader(fds["asked"])
        assert not asked.done(), f"libvirt was not asked: {asked.result()}"
        os.read(fds["asked"], 1 << 16)
        yield agreed
        os.write(fds["answer"], b"0\n" if agreed[0] else b"1\n")
        await asked
    finally:
        for fd in fds.values():
            os.close(fd)


def hypervisors(site: Site, vm: Vm) -> Genuine:
    """Give the hosts a virsh, and what else the scripts of KVM run there. Returns the drivers."""
    drivers = site.drivers
    assert isinstance(drivers, Genuine)
    (drivers.location / "remote").symlink_to(drivers.remotes)
    for host in site.hosts:
        here = site.folder / "hosts" / host
        program(here / "bin" / "virsh", VIRSH.format(here=here))
        program(here / "bin" / "rsync", "#!/bin/sh\n")
        paths = [f"vd{chr(ord('a') + disk.number)} {site.disk(host, vm, disk)}" for disk in vm.disks]
        (here / "domblklist").write_text("\n".join(["Target Source", "------", *paths, ""]), encoding="utf-8")
        for name in ("asked", "answer"):
            os.mkfifo(here / name)
    return drivers


def request(
    site: Site, vm: Vm, host: str, *, to: str = "", do: str = "", undo: str = "", disk: Disk | None = None
) -> str:
    """VMM_DRIVER_ACTION_DATA: the command of the transfer driver, and the one that takes it back."""
    target = vm.place(site.oned, host, disk) if disk else vm.folder(site.oned, host)
    items = {
        **{"HOST": host, "MIGR_HOST": to, "DEPLOY_ID": f"one-{vm.id}", "TM_COMMAND": do, "TM_COMMAND_ROLLBACK": undo},
        "DISK_TARGET_PATH": target.partition(":")[2],
    }
    inner = "".join(f"<{name}>{escape(text)}</{name}>" for name, text in items.items())
    shared = "NO" if vm.ds == LOCAL_DS else "YES"
    base = f"<BASE_PATH>{site.oned.location}//datastores/{vm.ds}</BASE_PATH>"
    store = f"<DATASTORE><ID>{vm.ds}</ID>{base}<TEMPLATE><SHARED>{shared}</SHARED></TEMPLATE></DATASTORE>"
    vm_xml = vm.xml()
    if disk:
        there = f"<DISK_ID><![CDATA[{disk.number}]]></DISK_ID>"
        vm_xml = vm_xml.replace(there, f"{there}<ATTACH>YES</ATTACH><TARGET>sdb</TARGET><DISK_TYPE>BLOCK</DISK_TYPE>")
    text = f"<VMM_DRIVER_ACTION_DATA>{inner}{vm_xml}{store}</VMM_DRIVER_ACTION_DATA>"
    return base64.b64encode(text.encode()).decode()


@pytest.mark.parametrize("system", BOTH_SYSTEMS)
async def test_live_migration_there_and_back(site: Site, system: tuple[str, int]) -> None:
    vm = await deployed(site, await two_disks(site, system=system))
    drivers = hypervisors(site, vm)
    for host, before in (("hostb", "hosta"), ("hosta", "hostb")):
        there = site.oned.tell(vm.at(host), Lcm.MIGRATE)
        command = f"MIGRATE {vm.system} {before} {host} {there.folder(site.oned, host).partition(':')[2]} 5 {vm.ds}"
        asked = asyncio.create_task(drivers.vmm("MIGRATE", request(site, there, before, to=host, do=command)))
        async with libvirt(site, before, asked):
            links = [site.disk(host, vm, disk) for disk in vm.disks]
            assert all(link.is_symlink() for link in links), (
                "kvm/migrate has made them where the hosts do not share them"
            )
            site.moves(there, before, host)
        assert asked.result().ok, asked.result()
        vm = site.oned.tell(there, Lcm.RUNNING)
        assert [site.behind(host, vm, disk) for disk in vm.disks] == ["data5", "base5"]
        assert site.hosts[before].is_bare() and site.permitted("images/data5") == {host}
    await ended(site, vm)
    assert site.all_gone() and site.children("vms") == set()


@pytest.mark.parametrize("system", BOTH_SYSTEMS)
async def test_live_migration_that_libvirt_refuses(site: Site, system: tuple[str, int]) -> None:
    vm = await deployed(site, await two_disks(site, system=system))
    drivers = hypervisors(site, vm)
    there = site.oned.tell(vm.at("hostb"), Lcm.MIGRATE)
    command = f"MIGRATE {vm.system} hosta hostb {there.folder(site.oned, 'hostb').partition(':')[2]} 5 {vm.ds}"
    asked = asyncio.create_task(drivers.vmm("MIGRATE", request(site, there, "hosta", to="hostb", do=command)))
    async with libvirt(site, "hosta", asked) as agreed:
        agreed[0] = False
    assert not asked.result().ok
    vm = site.oned.tell(vm, Lcm.RUNNING)
    assert [site.behind("hosta", vm, disk) for disk in vm.disks] == ["data5", "base5"]
    leases = [site.hosts["hostb"].engine.view(f"one-5-{disk.number}")["lease"] for disk in vm.disks]
    assert all(leases), "nobody tells the destination: what is there goes by itself"


@pytest.mark.parametrize("agrees", [True, False])
@pytest.mark.parametrize("clone", [True, False])
async def test_hot_attach(site: Site, clone: bool, agrees: bool) -> None:
    """Where libvirt refuses the disk, the driver takes it back: MVDS, or DELETE."""
    vm = await deployed(site, await two_disks(site))
    more = Disk(2, await site.image("more"), clone=clone)
    larger = site.oned.tell(replace(vm, disks=(*vm.disks, more)), Lcm.HOTPLUG)
    drivers = hypervisors(site, larger)
    do, undo = site.oned.prolog(larger)[2], site.oned.farewell(larger, more, "hosta")
    asking = request(site, larger, "hosta", do=do, undo=undo, disk=more)
    asked = asyncio.create_task(drivers.vmm("ATTACHDISK", asking))
    async with libvirt(site, "hosta", asked) as agreed:
        assert site.behind("hosta", larger, more) == "more"
        agreed[0] = agrees
    assert asked.result().ok == agrees, asked.result()
    assert ("one-5-2" in site.hosts["hosta"].attached()) == agrees
    assert ("one-5-2" in site.children("vms")) == (agrees and clone)
    assert site.stamped("images/more") == "more"


async def test_recover_delete(site: Site) -> None:
    """CLEANUP: all that was persistent stays."""
    vm = await deployed(site, await two_disks(site))
    drivers = hypervisors(site, vm)
    site.halt(vm)
    vm = site.oned.tell(vm, Lcm.CLEANUP_DELETE)
    asked = request(site, vm, "hosta", do="\n".join(site.oned.cleanup(vm, "hosta")))
    done = await drivers.vmm("CLEANUP", asked)
    assert done.ok, done
    assert site.all_gone() and site.children("vms") == set() and site.stamped("images/data5") == "data5"


async def test_a_stock_datastore_reads_an_object(site: Site) -> None:
    """PATH=cdmi://...: by downloader.sh and fs_size, which patch-stock has changed."""
    drivers, source = hypervisors(site, Vm(5, (), "hosta")), await upload(site, "images/debian")
    command = [str(ROOT / "opennebula" / "patch-stock"), "--one-location", str(drivers.location), "--yes"]
    done = await asyncio.to_thread(subprocess.run, [*command, "--owner", getpass.getuser()], capture_output=True)
    assert done.returncode == 0, done
    size = await Drivers.datastore(drivers, "fs", "stat", 9, message(9, PATH=source))
    assert (size.status, size.printed) == (0, "1\n"), size
    failed(await Drivers.datastore(drivers, "fs", "stat", 9, message(9, PATH=f"{source}2")), "no object")
    to = site.folder / "downloaded"
    script = await drivers.start(drivers.remotes / "datastore" / "downloader.sh", [source, str(to)])
    _, said = await script.communicate()
    assert script.returncode == 0 and to.read_bytes() == BYTES, said


def files(root: Path) -> dict[str, tuple[int, bytes]]:
    """All files below it, with their modes."""
    found = [path for path in root.rglob("*") if path.is_file() and not path.is_symlink()]
    return {str(path.relative_to(root)): (path.stat().st_mode, path.read_bytes()) for path in found}


@pytest.mark.parametrize("stock", [False, True], ids=["install", "patch-stock"])
def test_its_own_files_are_changed_and_changed_back(tmp_path: Path, stock: bool) -> None:
    location = tmp_path / "one"
    genuine.front_end(location, tmp_path, tmp_path)

    def run(program: str, *more: str) -> str:
        command = [str(ROOT / "opennebula" / program), "--one-location", str(location), "--owner", getpass.getuser()]
        done = subprocess.run([*command, *more], capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        return done.stdout

    if stock:
        run("install", "--front-end", "--yes")
    program, *words = ["patch-stock"] if stock else ["install", "--front-end"]
    before = files(location)
    said = run(program, *words, "--dry-run")
    assert files(location) == before and "change: " in said
    run(program, *words, "--yes")
    after = files(location)
    changed = {name for name in before if after[name] != before[name]}
    assert stock or changed == {"etc/oned.conf", "etc/vmm_exec/vmm_execrc"}
    assert not stock or changed > {f"var/remotes/tm/{name}" for name in ("shared/ln", "ssh/mv", "qcow2/premigrate")}
    for name in changed:
        is_right(location / name)
    assert "nothing to do" in run(program, *words, "--yes")
    run(program, *words, "--uninstall", "--yes")
    left = files(location)
    assert {name: left.get(name) for name in before} == before
    assert not [name for name in set(left) - set(before) if "cdmi" not in name]


def is_right(script: Path) -> None:
    """That its language can be parsed."""
    first = script.read_text(encoding="utf-8").partition("\n")[0]
    checks = {"bash": ["bash", "-n"], "/sh": ["sh", "-n"], "ruby": ["ruby", "-c"]}
    if first.startswith("#!"):
        check = next(check for kind, check in checks.items() if kind in first)
        subprocess.run([*check, script], check=True, capture_output=True)
