"""The guests of one cache folder: bring one up fresh, find it again, take it down, list them."""

from __future__ import annotations

import dataclasses
import json
import shlex
import time
from dataclasses import dataclass
from pathlib import Path

from tests.lab.bytecode import byte_code
from tests.lab.cache import CHECKOUT, RECIPE, Cache, locked, prune, remove_tree
from tests.lab.errors import LabError
from tests.lab.guest import Guest
from tests.lab.hostcheck import UP_SPACE, check_space, check_tools
from tests.lab.identity import checked_name, identity
from tests.lab.machine import Place, end, make_disk, resume, running_pid, ssh_port
from tests.lab.snapshot import Snapshot, ensure_snapshot

PUSHED = ("tests", "agent", "attachers", "pyproject.toml")
COMPILED = ("agent", "attachers", "tests/cdmi_server")
SOURCES = "/opt/cdmi-attach"
LAN = "10.77.0.{}"


@dataclass(frozen=True)
class Record:
    """What guest.json in a guest's folder says."""

    name: str
    slot: int
    """Counts from 1; the last byte of the guest's address on the Ethernet between guests."""
    image: str
    snapshot: str
    project: bool
    accelerator: str
    started: float
    """Unix time."""
    port: int = 0
    """Of 127.0.0.1, for ssh; 0 until the guest runs."""


def cache_lock(cache: Cache) -> Path:
    return cache.root / "lock"


def place_of(cache: Cache, name: str) -> Place:
    return Place(cache.guests / checked_name(name))


def build(cache: Cache, release: str, *, base: bool) -> Snapshot:
    """Build what is missing, and drop what has not been used for long."""
    check_tools()
    with locked(cache_lock(cache), waiting_for="the cache"):
        return ensure_and_prune(cache, release, base=base)


def ensure_and_prune(cache: Cache, release: str, *, base: bool) -> Snapshot:
    sweep(cache)
    snapshot = ensure_snapshot(cache, release, base=base)
    used = {part for record in records(cache) for part in (record.image, record.snapshot)}
    used |= {snapshot.key, snapshot.boot.image.name}
    used |= {backing(cache.snapshots / key) for key in used if (cache.snapshots / key).exists()}
    prune(complete(cache.images), used)
    prune(complete(cache.snapshots), used)
    return snapshot


def sweep(cache: Cache) -> None:
    """Remove what killed runs left half made: under the cache's lock, nobody else is making anything."""
    halves = [path for top in (cache.images, cache.snapshots, cache.wheels) for path in top.glob("*.partial")]
    for path in [*halves, *cache.wheels.glob("source.*")]:
        end(Place(path))
        remove_tree(path)


def complete(folder: Path) -> list[Path]:
    return [path for path in folder.iterdir() if path.suffix != ".partial"]


def backing(snapshot: Path) -> str:
    """The key of the snapshot or image that this one's disk lies on, read from the qcow2 header (bytes 8 to 20)."""
    with (snapshot / "disk.qcow2").open("rb") as disk:
        head = disk.read(20)
        offset, size = int.from_bytes(head[8:16], "big"), int.from_bytes(head[16:20], "big")
        disk.seek(offset)
        return Path(disk.read(size).decode()).parent.name


def up(cache: Cache, name: str, release: str, *, base: bool = False) -> Guest:
    """A fresh guest called `name`, from the snapshot; an older one of that name is ended first."""
    check_tools()
    place = place_of(cache, name)
    with locked(cache.guests / f"{name}.lock", waiting_for=f"the guest {name}"):
        clear(place)
        with locked(cache_lock(cache), waiting_for="the cache"):
            snapshot = ensure_and_prune(cache, release, base=base)
            check_space(cache.root, UP_SPACE)
            record = claim(cache, place, name, snapshot)
        try:
            return restore(place, record, snapshot)
        except BaseException:
            end(place)
            raise


def claim(cache: Cache, place: Place, name: str, snapshot: Snapshot) -> Record:
    """Take a free slot and write it down, so that neither slot nor snapshot goes to anyone else."""
    taken = {record.slot for record in records(cache)}
    slot = next(number for number in range(1, 255) if number not in taken)
    image, accel = snapshot.boot.image.name, snapshot.boot.accelerator
    record = Record(name, slot, image, snapshot.key, snapshot.project, accel, time.time())
    place.folder.mkdir(parents=True)
    write_record(place, record)
    return record


def restore(place: Place, record: Record, snapshot: Snapshot) -> Guest:
    make_disk(place, snapshot.folder / "disk.qcow2")
    resume(snapshot.boot, place, ram=snapshot.folder / "ram", private=True, state=snapshot.state)
    record = dataclasses.replace(record, port=ssh_port(place))
    write_record(place, record)
    guest = Guest(record.name, place)
    guest.connect(record.port, snapshot.boot.image / "id_ed25519")
    become = become_line(record)
    more = byte_code(CHECKOUT, COMPILED, SOURCES)
    guest.push_all(CHECKOUT, PUSHED, SOURCES, before=f"{become} < /dev/null", more=more)
    return guest


def become_line(record: Record) -> str:
    """The shell line that gives a restored guest its identity and the time."""
    who = identity(record.name)
    args = [who.hostname, f"{time.time():.3f}", who.machine_id, who.iqn, who.host_uuid, who.mac_seed]
    script = (RECIPE / "identity.sh").read_text()
    return shlex.join(["sh", "-c", script, "identity.sh", *args, LAN.format(record.slot)])


def down(cache: Cache, name: str) -> bool:
    """End the guest and remove its folder; False when there was none."""
    place = place_of(cache, name)
    with locked(cache.guests / f"{name}.lock", waiting_for=f"the guest {name}"):
        existed = place.folder.exists()
        clear(place)
    return existed


def clear(place: Place) -> None:
    """End what runs in this place (also what a killed run left), and remove its folder."""
    if place.folder.exists():
        if (place.folder / "ssh_config").exists():
            Guest(place.folder.name, place).disconnect()
        end(place)
        remove_tree(place.folder)


def find(cache: Cache, name: str) -> Guest:
    """The running guest `name`; LabError when it is not up."""
    place = place_of(cache, name)
    if running_pid(place) is None:
        raise LabError(f"no guest {name} is up", remedy=f"tests/lab/lab up --name {name}")
    return Guest(name, place)


def records(cache: Cache) -> list[Record]:
    """Every guest with a folder, running or not, by name."""
    found = []
    for path in sorted(cache.guests.glob("*/guest.json")):
        try:
            found.append(Record(**json.loads(path.read_text())))
        except (OSError, ValueError, TypeError):
            continue
    return found


def write_record(place: Place, record: Record) -> None:
    new = place.folder / "guest.json.new"
    new.write_text(json.dumps(dataclasses.asdict(record)))
    new.rename(place.folder / "guest.json")
