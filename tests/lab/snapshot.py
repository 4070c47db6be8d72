"""Booted machines, saved once by content: the plain guest, and the guest with the project installed."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.lab.accel import accelerator, cpu_model, qemu_stamp
from tests.lab.cache import CHECKOUT, LAB, RECIPE, Cache, appearing, digest, stage, touch_used, tree_parts
from tests.lab.errors import LabError
from tests.lab.guest import Guest
from tests.lab.hostcheck import BUILD_SPACE, check_space
from tests.lab.image import ensure_image
from tests.lab.machine import Boot, Place, end, make_disk, resume, save, ssh_port, start_and_wait
from tests.lab.wheel import Project, ensure_wheel

BOOT_S = 240.0
INSTALL_S = 600.0
LAN_PORTS = range(40000, 48000)
INSTALLER = CHECKOUT / "systemd" / "install.sh"
STOP_PROJECT = """\
set -e
systemctl stop 'cdmi-attach*.service'
systemctl reset-failed
systemctl --quiet stop iscsid.service libvirtd.service virtlogd.service
sync
"""


@dataclass(frozen=True)
class Snapshot:
    """A saved machine: disk.qcow2, ram and state in `folder`, all read only from now on."""

    key: str
    folder: Path
    boot: Boot
    project: bool

    @property
    def state(self) -> Path:
        return self.folder / "state"


def ensure_snapshot(cache: Cache, release: str, *, base: bool) -> Snapshot:
    """The snapshot to restore guests from, built as far as it is missing. The caller holds the cache's lock."""
    image = ensure_image(cache, release)
    boot = Boot(image, accelerator(cache, image), lan_port(cache))
    plain = ensure_base(cache, boot)
    if base:
        return plain
    if not INSTALLER.exists():
        print("lab: systemd/install.sh is not there: the guest comes without the project", flush=True)
        return plain
    return ensure_project(cache, plain, ensure_wheel(cache))


def lan_port(cache: Cache) -> int:
    """Guests of one cache share an Ethernet; the port keeps those of another cache out."""
    return LAN_PORTS[int(digest([str(cache.root)]), 16) % len(LAN_PORTS)]


def base_key(boot: Boot) -> str:
    host = [boot.accelerator, qemu_stamp(), cpu_model() if boot.accelerator == "kvm" else ""]
    return digest([boot.image.name, *host, *tree_parts(RECIPE / "warmup.sh", LAB / "machine.py")])


def ensure_base(cache: Cache, boot: Boot) -> Snapshot:
    """Boot the image for the first and only time, warm it up, save it."""
    key = base_key(boot)
    folder = cache.snapshots / key
    if not folder.exists():
        with builder(cache, folder) as place:
            make_disk(place, boot.image / "disk.raw")
            with stage(f"first boot ({boot.accelerator})"):
                start_and_wait(boot, place, timeout_s=BOOT_S)
                guest = logged_in(boot, place)
            with stage("warm-up"):
                guest.run("sh -s", input=(RECIPE / "warmup.sh").read_text(), timeout_s=BOOT_S)
            with stage("save the snapshot"):
                guest.disconnect()
                save(place, place.folder / "state")
    touch_used(folder)
    return Snapshot(key, folder, boot, project=False)


def ensure_project(cache: Cache, plain: Snapshot, project: Project) -> Snapshot:
    """Continue the plain guest on a copy of its memory, run the project's own installer there, save it."""
    key = digest([plain.key, project.key, *tree_parts(LAB / "snapshot.py")])
    folder = cache.snapshots / key
    if not folder.exists():
        with builder(cache, folder) as place:
            make_disk(place, plain.folder / "disk.qcow2")
            with stage("copy the plain guest's memory"):
                copy = ["cp", "--sparse=always", "--reflink=auto", str(plain.folder / "ram"), str(place.ram)]
                subprocess.run(copy, check=True)
            with stage("install the project"):
                resume(plain.boot, place, ram=place.ram, private=False, state=plain.state)
                guest = logged_in(plain.boot, place)
                install(guest, project)
            with stage("save the snapshot"):
                guest.disconnect()
                save(place, place.folder / "state")
    touch_used(folder)
    touch_used(plain.folder)
    return Snapshot(key, folder, plain.boot, project=True)


def install(guest: Guest, project: Project) -> None:
    """What an administrator does with the wheel and systemd/; then stop what runs: it starts where it is configured."""
    guest.run('date -u -s "@$(cat)"', input=str(int(project.folder.stat().st_mtime)))
    guest.push_all(project.folder, ["systemd", project.wheel.name], "/opt/cdmi-attach")
    done = guest.run(
        f"cd /opt/cdmi-attach && sh systemd/install.sh {project.wheel.name}", check=False, timeout_s=INSTALL_S
    )
    if done.returncode != 0:
        raise LabError(f"systemd/install.sh failed with status {done.returncode}:\n{done.stdout}{done.stderr}")
    guest.run(STOP_PROJECT)


@contextmanager
def builder(cache: Cache, folder: Path) -> Iterator[Place]:
    """A place to build a snapshot in. The machine is ended whatever happens."""
    check_space(cache.root, BUILD_SPACE)
    with appearing(folder) as partial:
        place = Place(partial)
        try:
            yield place
        finally:
            end(place)


def logged_in(boot: Boot, place: Place) -> Guest:
    guest = Guest("builder", place)
    guest.connect(ssh_port(place), boot.image / "id_ed25519")
    return guest
