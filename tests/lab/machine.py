"""A guest's QEMU process: start it from a disk or from a snapshot, save a snapshot, stop it."""

from __future__ import annotations

import os
import re
import select
import shlex
import signal
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path

from tests.lab.errors import LabError
from tests.lab.hostcheck import tool
from tests.lab.monitor import Lines, Monitor, connect_unix

MEMORY = "3G"
CPUS = 2
KERNEL = "console=ttyS0 root=/dev/vda rw quiet mitigations=off"
ACCELERATORS = {
    "kvm": ("kvm", "max", KERNEL),
    "tcg": (
        "tcg,thread=multi",
        "max,-la57,-smap,-smep,-pku,-umip",
        f"{KERNEL} init_on_alloc=0 tsc=reliable nowatchdog",
    ),
}
"""With the CPU and the kernel's command line for each. An emulator pays for every level of the page tables, for each
way into a user's page, for clearing pages, and for reading a timer; its time stamp counters agree.
"""
READY = b"CDMI-LAB-READY"
LAN_GROUP = "230.0.0.77"


@dataclass(frozen=True)
class Boot:
    """What a machine is made of; the same for a snapshot and for the guests restored from it."""

    image: Path
    """Folder with vmlinuz and initrd."""
    accelerator: str
    """kvm or tcg."""
    lan_port: int
    """UDP port of the multicast group that joins the guests of one cache as one Ethernet."""


@dataclass(frozen=True)
class Place:
    """Where one machine lives: its folder, named in QEMU's command line, so that a process can be told to be ours."""

    folder: Path

    @property
    def disk(self) -> Path:
        return self.folder / "disk.qcow2"

    @property
    def ram(self) -> Path:
        return self.folder / "ram"

    @property
    def pid_file(self) -> Path:
        return self.folder / "qemu.pid"

    @property
    def monitor(self) -> Path:
        return self.folder / "qmp.sock"

    @property
    def serial(self) -> Path:
        return self.folder / "serial.sock"

    @property
    def serial_log(self) -> Path:
        return self.folder / "serial.log"


def command(boot: Boot, place: Place, *, ram: Path, private: bool, incoming: bool) -> list[str]:
    """QEMU's argv. Guest memory is the file `ram`: written to it, or copied on write when `private`.

    Socket names are relative to the folder (QEMU is started there), since a socket's path must be short.
    """
    accel, cpu, kernel = ACCELERATORS[boot.accelerator]
    share = "off" if private else "on"
    return [
        tool("qemu-system-x86_64"), "-name", f"cdmi-lab-{place.folder.name}", "-nodefaults", "-no-user-config",
        "-machine", "q35,memory-backend=ram", "-accel", accel, "-cpu", cpu, "-smp", str(CPUS), "-m", MEMORY,
        "-object", f"memory-backend-file,id=ram,size={MEMORY},mem-path={ram},share={share}",
        "-kernel", str(boot.image / "vmlinuz"), "-initrd", str(boot.image / "initrd"),
        "-append", kernel,
        "-drive", f"file={place.disk},if=none,id=root,cache=unsafe,discard=unmap",
        "-device", "virtio-blk-pci,drive=root", "-device", "virtio-rng-pci", "-device", "vmgenid,guid=auto",
        "-netdev", "user,id=uplink,hostfwd=tcp:127.0.0.1:0-:22",
        "-device", "virtio-net-pci,netdev=uplink,mac=52:54:00:cd:00:01,romfile=",
        "-netdev", f"socket,id=lan,mcast={LAN_GROUP}:{boot.lan_port},localaddr=127.0.0.1",
        "-device", "virtio-net-pci,netdev=lan,mac=52:54:00:cd:00:02,romfile=",
        "-chardev", "socket,id=serial,path=serial.sock,server=on,wait=off,logfile=serial.log",
        "-serial", "chardev:serial", "-qmp", "unix:qmp.sock,server=on,wait=off",
        "-display", "none", "-pidfile", str(place.pid_file), "-daemonize",
        *(["-incoming", "defer"] if incoming else []),
    ]  # fmt: skip


def make_disk(place: Place, backing: Path) -> None:
    """A new, empty qcow2 over `backing`, which is never written again."""
    kind = "raw" if backing.suffix == ".raw" else "qcow2"
    make = [tool("qemu-img"), "create", "-q", "-f", "qcow2", "-b", str(backing), "-F", kind, str(place.disk)]
    subprocess.run(make, check=True)


def start(boot: Boot, place: Place, *, ram: Path, private: bool, incoming: bool) -> None:
    argv = command(boot, place, ram=ram, private=private, incoming=incoming)
    done = subprocess.run(argv, cwd=place.folder, stdin=subprocess.DEVNULL, capture_output=True, text=True)
    (place.folder / "qemu.log").write_text(done.stderr)
    if done.returncode != 0:
        raise LabError(f"QEMU does not start:\n{done.stderr.strip()}")


def start_and_wait(boot: Boot, place: Place, *, timeout_s: float) -> None:
    """Boot from the disk, with memory in the machine's own folder, until the guest says that it is up."""
    start(boot, place, ram=place.ram, private=False, incoming=False)
    wait_ready(place, timeout_s=timeout_s)


def wait_ready(place: Place, *, timeout_s: float) -> None:
    """Read the guest's console until its cdmi-lab-ready.service has spoken."""
    deadline = time.monotonic() + timeout_s
    with connect_unix(place.serial) as sock:
        lines = Lines(sock)
        try:
            while READY not in lines.read(deadline):
                pass
        except (TimeoutError, EOFError) as error:
            tail = place.serial_log.read_text(errors="replace")[-2000:]
            raise LabError(f"the guest did not come up in {timeout_s:.0f} s; its console ends:\n{tail}") from error


def save(place: Place, state: Path) -> None:
    """Stop the machine, write its devices' state to `state`, end it. Memory stays in its file, disk in its qcow2."""
    with Monitor(place.monitor) as monitor:
        monitor.execute("stop")
        set_capabilities(monitor)
        monitor.execute("migrate", {"uri": f"exec:cat > {shlex.quote(str(state))}"})
        wait_migrated(monitor)
    end(place)


def resume(boot: Boot, place: Place, *, ram: Path, private: bool, state: Path) -> None:
    """Continue what `save` wrote. `private` leaves `ram` untouched, so that any number of guests can share it."""
    start(boot, place, ram=ram, private=private, incoming=True)
    with Monitor(place.monitor) as monitor:
        set_capabilities(monitor)
        monitor.execute("migrate-incoming", {"uri": f"exec:cat {shlex.quote(str(state))}"})
        wait_migrated(monitor)
        monitor.execute("cont")


def set_capabilities(monitor: Monitor) -> None:
    """x-ignore-shared: memory is a file already, so it is left out of the stream (as Kata's VM templates do)."""
    wanted = [{"capability": name, "state": True} for name in ("events", "x-ignore-shared")]
    monitor.execute("migrate-set-capabilities", {"capabilities": wanted})


def wait_migrated(monitor: Monitor) -> None:
    ended = monitor.wait_event("MIGRATION", timeout_s=120, accept=lambda d: d["status"] in ("completed", "failed"))
    if ended["status"] != "completed":
        raise LabError("QEMU could not move the machine's state", remedy="remove the cache's snapshots folder")


def ssh_port(place: Place) -> int:
    """The port of 127.0.0.1 that QEMU chose to forward to the guest's sshd."""
    with Monitor(place.monitor) as monitor:
        table = monitor.execute("human-monitor-command", {"command-line": "info usernet"})
    found = re.search(r"TCP\[HOST_FORWARD\]\s+\d+\s+127\.0\.0\.1\s+(\d+)", table)
    if found is None:
        raise LabError(f"QEMU forwards no port:\n{table}")
    return int(found[1])


def running_pid(place: Place, *, proc: Path = Path("/proc")) -> int | None:
    """The pid in the pid file if that process is this very machine, told by its command line; else None."""
    try:
        pid = int(place.pid_file.read_text())
        argv = (proc / str(pid) / "cmdline").read_bytes().split(b"\0")
    except (OSError, ValueError):
        return None
    return pid if os.fsencode(place.pid_file) in argv and b"-pidfile" in argv else None


def end(place: Place, *, timeout_s: float = 10) -> None:
    """End the machine if it runs, and wait until it is gone. Its disk is unsafe-cached: no shutdown is needed."""
    pid = running_pid(place)
    if pid is None:
        return
    try:
        watched = os.pidfd_open(pid)
    except ProcessLookupError:
        return
    try:
        if running_pid(place) == pid:
            signal.pidfd_send_signal(watched, signal.SIGTERM)
            if not select.select([watched], [], [], timeout_s)[0]:
                signal.pidfd_send_signal(watched, signal.SIGKILL)
                select.select([watched], [], [], timeout_s)
    except ProcessLookupError:
        pass
    finally:
        os.close(watched)
    place.pid_file.unlink(missing_ok=True)
