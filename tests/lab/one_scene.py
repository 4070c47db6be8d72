"""An OpenNebula site of lab guests: drivers as an administrator installs them, run by a user who may do nothing else.

The drivers run in the guest that is the front-end, and go from there by ssh to the hosts, of which it may be one;
there they speak with the installed daemon. Libvirt and QEMU are set up as OpenNebula's packages do it: QEMU runs as
oneadmin, and nobody changes the owners of disks. What oned does, the runner of `tests/opennebula` does from outside.
"""

import asyncio
import shlex
import time
from asyncio.subprocess import PIPE, Process
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.lab import two_hosts
from tests.lab.fc_scene import Fibre
from tests.lab.guest import Guest
from tests.lab.nfs_scene import ROOT, Shares
from tests.lab.one_install import HOME, KEY, PROGRAMS, REMOTES, TOLD, USER, make_front_end, make_host
from tests.lab.stage import DOMAIN, SERIAL, Stage
from tests.lab.whole_scene import Whole
from tests.opennebula.oned import FRONT_END, Disk, Oned, Vm, message
from tests.opennebula.onetm import Done, Drivers

AS_ONEADMIN = f"setpriv --reuid={USER} --regid={USER} --init-groups --"
VIRSH = "virsh -q -c qemu:///system"
SCRIPT_S = 400
PRINTED = "tr -cd '[:print:]'"
FILES = (
    "echo '# files'; findmnt -n -l -t nfs4 -o TARGET,SOURCE; find /run/cdmi-attach/mnt -mindepth 1 2>/dev/null; "
    "ls -d /sys/kernel/config/target/loopback/naa.* 2>/dev/null"
)
"""What shows files of NFS, and the disks that they are."""
DATASTORES = f"{HOME}/datastores"
CONTAINERS = ("images", "vms")
DISK = """\
<disk type='block' device='disk'><driver name='qemu' type='raw' cache='none'/>
<source dev='{path}'/><target dev='{target}' bus='scsi'/></disk>
"""


@dataclass(kw_only=True)
class GuestDrivers(Drivers):
    """The drivers that are installed in a guest. `scripts` are those that it has; `say` hears of each that has run."""

    guest: Guest
    scripts: frozenset[Path]
    say: Callable[[str], None] = print

    def has(self, script: Path) -> bool:
        return script in self.scripts

    def write(self, path: Path, text: str) -> None:
        self.guest.run(f"cat >{shlex.quote(str(path))}", input=text)

    async def tm(self, tm: str, action: str, words: Sequence[str], stdin: str = "") -> Done:
        began = time.monotonic()
        done = await super().tm(tm, action, words, stdin)
        self.say(f"{time.monotonic() - began:5.1f} s  {action.upper()} {tm} {' '.join(words)}")
        for line in (*done.plain, *(text for _, text in done.log)):
            self.say(f"         {line}")
        return done

    async def start(self, script: Path, words: Sequence[str]) -> Process:
        """A script as a process of oneadmin's in the guest."""
        environ = [f"{name}={value}" for name, value in self.environ.items()]
        line = f"cd {self.home} && exec {AS_ONEADMIN} {shlex.join(['env', '-i', *environ, str(script), *words])}"
        argv = self.guest.argv(line)
        return await asyncio.create_subprocess_exec(
            *argv, cwd=self.guest.place.folder, stdin=PIPE, stdout=PIPE, stderr=PIPE
        )


@dataclass(frozen=True)
class Machines:
    """The site. The CDMI server is on the front-end's machine. Oracles ask it, the kernels, and libvirt."""

    server: Stage
    hosts: Mapping[str, Stage]
    """By the names that OpenNebula has for them."""
    oned: Oned

    @property
    def drivers(self) -> Drivers:
        return self.oned.drivers

    @property
    def address(self) -> str:
        """The server as sources name it."""
        return f"{self.server.server}:8443"

    async def image(self, name: str, content: bytes = b"", *, way: str = "iscsi") -> str:
        """An object in images/, with that content or stamped with its name. Returns its source.

        It is reached by `way`: a LUN with an export of that kind, or (nfs) a data object.
        """
        path, filled = f"images/{name}", content or name.encode().ljust(512, b"\0")
        match way:
            case "nfs":
                source = Shares(self.server).put(path, filled)
            case "fc":
                source = Fibre(self.server).make_lun(path, content=filled).source
            case _:
                source = self.server.make_lun(path, content=filled).source
        return f"cdmi://{self.address}/{source.partition('://')[2].partition('/')[2]}"

    async def registered(self, number: int, name: str) -> str:
        """`oneimage create` with PATH: an object in images/ becomes an image. Returns its SOURCE."""
        asked = message(number, PATH=f"cdmi://{self.address}/images/{name}")
        size, made = [await self.drivers.datastore("cdmi", action, number, asked) for action in ("stat", "cp")]
        assert size.ok and made.ok, (size, made)
        source, _, kind = made.printed.strip().partition(" ")
        assert kind == "raw", made
        return source

    # What the hypervisor does.

    def boot(self, vm: Vm, host: str | None = None) -> None:
        """Start the guest on its disks, as oned's deployment file names them. Raises `LabError` as libvirt refuses."""
        name, stage = f"one-{vm.id}", self.hosts[host or vm.host]
        disks = "".join(self._element(vm, disk) for disk in vm.disks)
        text = DOMAIN.format(name=name, serial=SERIAL.format(name), disk=disks)
        self._virsh(stage, "create", text)

    def halt(self, vm: Vm, host: str | None = None) -> None:
        """End the guest."""
        self.hosts[host or vm.host].guest.run(f"{AS_ONEADMIN} {VIRSH} destroy one-{vm.id}")

    def save(self, vm: Vm) -> None:
        """`kvm/save`: the guest's memory goes to a file beside its disks, and the guest ends."""
        line = f"{AS_ONEADMIN} {VIRSH} save one-{vm.id} {self._checkpoint(vm)}"
        self.hosts[vm.host].guest.run(line, timeout_s=SCRIPT_S)

    def restore(self, vm: Vm) -> None:
        """`kvm/restore`: the guest goes on where it was."""
        line = f"{AS_ONEADMIN} {VIRSH} restore {self._checkpoint(vm)} && rm {self._checkpoint(vm)}"
        self.hosts[vm.host].guest.run(line, timeout_s=SCRIPT_S)

    def _checkpoint(self, vm: Vm) -> str:
        return f"{self._folder(vm)}/checkpoint"

    def _folder(self, vm: Vm) -> str:
        return vm.folder(self.oned, "").removeprefix(":")

    def moves(self, vm: Vm, source: str, destination: str) -> None:
        """Let libvirt migrate the guest live, as `kvm/migrate` does. KeyError where it does not."""
        line = f"{AS_ONEADMIN} {VIRSH} migrate --live one-{vm.id} qemu+ssh://{destination}/system"
        done = self.hosts[source].guest.run(line, check=False, timeout_s=SCRIPT_S)
        if done.returncode:
            raise KeyError(done.stderr)

    def plug(self, vm: Vm, disk: Disk) -> None:
        """`kvm/attach_disk`."""
        self._virsh(self.hosts[vm.host], f"attach-device one-{vm.id}", self._element(vm, disk))

    def unplug(self, vm: Vm, disk: Disk) -> None:
        """`kvm/detach_disk`."""
        line = f"{AS_ONEADMIN} {VIRSH} detach-disk one-{vm.id} --target {target(disk)}"
        self.hosts[vm.host].guest.run(line)

    def grown(self, vm: Vm, disk: Disk, mib: int) -> int:
        """`kvm/resize_disk`. Returns how large libvirt says that the guest's disk is, in bytes."""
        name, which = f"one-{vm.id}", target(disk)
        told = f"{VIRSH} blockresize {name} {which} {mib}M && {VIRSH} domblkinfo {name} {which}"
        line = f"{AS_ONEADMIN} sh -c {shlex.quote(told)} | sed -n 's/^Capacity: *//p'"
        return int(self.hosts[vm.host].guest.run(line).stdout)

    def back_up(self, vm: Vm, *, live: bool) -> None:
        """`prebackup`, `prebackup_live` of stock system datastores, in full: a copy of every disk, compared with it.

        Live: libvirt lets the guest write to files over its disks, which stay as they are until that has ended
        (`backup_kvm.rb`).
        """
        tmp, kept = (f"{self._folder(vm)}/{name}" for name in ("tmp", "backup"))
        overs = {disk: f"{tmp}/overlay_{disk.number}.qcow2" for disk in vm.disks}
        lines = [f"mkdir -p {tmp} {kept}"]
        if live:
            specs = " ".join(f"--diskspec {target(disk)},file={over}" for disk, over in overs.items())
            snapshot = f"snapshot-create-as one-{vm.id} --name one-{vm.id}-backup --disk-only --atomic {specs}"
            lines += [f"touch {' '.join(overs.values())}", f"{VIRSH} {snapshot}"]
        for disk in vm.disks:
            lines += [
                f"disk=$(realpath {self.path(vm, disk)}) copy={kept}/disk.{disk.number}.0",
                "qemu-img convert -m 4 -O qcow2 -U $disk $copy",
                "qemu-img compare -q -f raw -F qcow2 -U $disk $copy",
            ]
        self._as_oneadmin(vm, lines)

    def end_backup(self, vm: Vm, *, live: bool) -> None:
        """`postbackup`, `postbackup_live`: what the guest has written meanwhile goes down into its disks."""
        name = f"one-{vm.id}"
        lines = [
            f"{VIRSH} blockcommit {name} {target(disk)} --base {self.path(vm, disk)} --active --pivot --keep-relative"
            for disk in vm.disks
        ]
        lines.append(f"{VIRSH} snapshot-delete {name} --snapshotname {name}-backup --metadata")
        self._as_oneadmin(vm, [*(lines if live else []), f"rm -r {self._folder(vm)}/tmp {self._folder(vm)}/backup"])

    def _as_oneadmin(self, vm: Vm, lines: Sequence[str]) -> None:
        text = shlex.quote("\n".join(("set -e", *lines)))
        self.hosts[vm.host].guest.run(f"{AS_ONEADMIN} sh -c {text}", timeout_s=SCRIPT_S)

    def _virsh(self, stage: Stage, verb: str, xml: str) -> None:
        stage.guest.run(f"cat >{HOME}/xml && {AS_ONEADMIN} {VIRSH} {verb} {HOME}/xml", input=xml, timeout_s=180)

    def _element(self, vm: Vm, disk: Disk) -> str:
        return DISK.format(path=self.path(vm, disk), target=target(disk))

    # Oracles.

    def path(self, vm: Vm, disk: Disk) -> str:
        """disk.N, as oned says it."""
        return vm.place(self.oned, "", disk).removeprefix(":")

    def seen(self, vm: Vm) -> list[tuple[str, str]]:
        """Of each disk that the guest has: who owns its device, and the stamp on it, past every cache."""
        paths = shlex.join(self.path(vm, disk) for disk in vm.disks)
        read = f"dd if=$path bs=512 count=1 iflag=direct status=none | {PRINTED}"
        line = f"set -e; for path in {paths}; do stat -L -c %U:%G $path; {read}; echo; done"
        told = self.hosts[vm.host].guest.run(line).stdout.splitlines()
        return list(zip(told[::2], told[1::2], strict=True))

    def stamp(self, vm: Vm, disk: Disk, text: str) -> None:
        """Write to the start of a disk on its host, past every cache."""
        write = f"dd of={self.path(vm, disk)} bs=512 count=1 conv=sync oflag=direct status=none"
        self.hosts[vm.host].guest.run(f"printf %s {shlex.quote(text)} | {write}")

    def attached(self, host: str) -> set[str]:
        """What that host's daemon has attached, or tries to."""
        views = self.hosts[host].api("GET", "/v1/attachments")[1]["attachments"]
        return {view["name"] for view in views}

    def domains(self, host: str) -> list[str]:
        """What libvirt has running there."""
        return self.hosts[host].guest.run(f"{VIRSH} list --name").stdout.split()

    def children(self, path: str) -> set[str]:
        """The names in a container of the server's."""
        names: list[str] = self.server.cdmi("GET", f"/{path}/?children")["children"]
        return {name.rstrip("/") for name in names}

    def stamped(self, name: str, *, way: str = "iscsi") -> str:
        """The stamp on an image, by the server."""
        words = self.server.read_value(f"images/{name}", file=way == "nfs")
        return self.server.guest.run(f"{shlex.join([*words, '-r', '0-511'])} | {PRINTED}").stdout

    def left(self) -> dict[str, str]:
        """What every host has of disks and domains; what its targets serve is the server's."""
        return {name: self._left(stage) for name, stage in self.hosts.items()}

    def _left(self, stage: Stage) -> str:
        own, _, _ = stage.inventory().partition("# LIO")
        return own + stage.guest.run(FILES, check=False).stdout

    def folders(self) -> str:
        """What is in the system datastore."""
        return self.server.guest.run(f"find {DATASTORES} -mindepth 2 2>/dev/null; true").stdout


def target(disk: Disk) -> str:
    """What the guest calls it."""
    return f"sd{chr(ord('a') + disk.number)}"


def one_machine(guest: Guest, say: Callable[[str], None] = print) -> Machines:
    """A guest with every way to a disk is front-end and host in one."""
    return on_one(Whole(Stage(guest)).set(), say)


def on_one(whole: Whole, say: Callable[[str], None]) -> Machines:
    """The same, of a guest that has been set up with all of that."""
    name = whole.stage.guest.run("uname -n").stdout.strip()
    _containers(whole.shares)
    make_host(whole.stage.guest, {FRONT_END: "127.0.0.1"})
    return _site(whole.stage, {name: whole.stage}, say)


def two_machines(near: Guest, far: Guest, say: Callable[[str], None] = print) -> Machines:
    """Two hosts on one Ethernet, which share a system datastore; the first is front-end as well, and has the server."""
    hosts = two_hosts.set_up(near, far, "--nfs-root", ROOT)
    _containers(Shares(hosts.near))
    names = dict(zip((near.name, far.name), two_hosts.addresses(near, far), strict=True))
    make_host(near, {**names, FRONT_END: hosts.near.server})
    site = _site(hosts.near, {near.name: hosts.near, far.name: hosts.far}, say)
    make_host(far, names, near.run(["cat", KEY]).stdout)
    Shares(hosts.near).serve(at=DATASTORES)
    far.run(f"mkdir -p {DATASTORES} && mount -t nfs4 {near.name}:{DATASTORES} {DATASTORES}")
    return site


def _containers(shares: Shares) -> None:
    """Where images are, and the disks of VMs; what is a file there is reached by NFS."""
    shares.serve(*CONTAINERS)
    for name in CONTAINERS:
        shares.declare(name, shares.stage.server)


def _site(server: Stage, hosts: Mapping[str, Stage], say: Callable[[str], None]) -> Machines:
    drivers = GuestDrivers(
        remotes=Path(REMOTES),
        home=Path(HOME),
        path=f"{PROGRAMS}:/usr/bin:/bin",
        within_s=SCRIPT_S,
        guest=server.guest,
        scripts=make_front_end(server),
        say=say,
    )
    return Machines(server, hosts, Oned(drivers, Path(HOME), Path(TOLD)))
