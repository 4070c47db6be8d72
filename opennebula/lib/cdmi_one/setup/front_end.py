"""The front-end: drivers, library, probe, hook and templates to their places; oned.conf and vmm_execrc edited."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from cdmi_one.failure import Failure
from cdmi_one.setup import oned_conf, stock
from cdmi_one.setup.changes import Change, File, Folder
from cdmi_one.setup.places import Owner, Places, owner_of
from cdmi_one.setup.record import record_in

TREES = ("tm/cdmi", "datastore/cdmi", "lib/cdmi_one")
"""Folders below `opennebula` and below `remotes` that are ours alone."""
SINGLE = ("im/kvm-probes.d/host/system/cdmi_attach.sh", "datastore/cdmi_downloader")
"""Files of ours in folders of others."""
SAMPLE = "etc/tm/cdmi/cdmi.conf"
KEPT_FOR_US = ("hooks", "templates")
"""Folders below `opennebula` that go beside oned.conf, where an upgrade of OpenNebula leaves them alone."""
LIVE = "tm/cdmi/snap_create_live"


def installed(places: Places) -> list[Change]:
    """What makes a front-end one with the drivers. Raises `Failure`."""
    oned, execrc = _conf(places), places.etc / "vmm_exec" / "vmm_execrc"
    if places.source.resolve() == places.remotes.resolve():
        raise Failure("this is what is installed already", "run opennebula/install of the sources")
    owner = owner_of(places.owner)
    root = Owner(0, owner.gid) if owner else None
    wanted: list[Change] = [*_drivers(places, owner), *_kept(places, root), *_stale(places)]
    if not places.conf.exists():
        sample = (places.source / SAMPLE).read_bytes()
        wanted.append(File(places.conf, sample, owner=owner))
    record = record_in(places.ours, root)
    record.edit(oned, oned_conf.with_drivers, oned_conf.without_drivers)
    if (places.source / LIVE).exists():
        record.edit(execrc, oned_conf.with_live_snapshots, oned_conf.without_live_snapshots)
    return [*wanted, *record.changes()]


def removed(places: Places) -> list[Change]:
    """What takes them out again; settings that somebody has written stay. Raises `Failure`."""
    oned, execrc = _conf(places), places.etc / "vmm_exec" / "vmm_execrc"
    record = record_in(places.ours, None)
    wanted = record.undone(oned, oned_conf.without_drivers)
    wanted += record.undone(execrc, oned_conf.without_live_snapshots)
    gone = [places.remotes / tree for tree in TREES]
    sample = places.source / SAMPLE
    if places.conf.exists() and sample.exists() and places.conf.read_bytes() == sample.read_bytes():
        gone.append(places.conf.parent)
    lib = places.remotes / "lib"
    if lib.is_dir() and {path.name for path in lib.iterdir()} == {"cdmi_one"}:
        gone.append(lib)
    single = [File(places.remotes / name) for name in SINGLE]
    return [*wanted, *stock.removed(places), *single, *map(Folder, gone), Folder(places.ours)]


def next_steps(places: Places) -> list[str]:
    """What is left to do, by whoever installs it."""
    return [
        f"say in {places.conf} what may be registered (ALLOW) and where copies are made (CLONES)",
        "restart oned: systemctl restart opennebula",
        f'give the hosts their probe: su {places.owner} -c "onehost sync --force"',
        f"make the datastore of images: onedatastore create {places.ours}/templates/image_datastore.tmpl",
        f"for hosts that are lost: onehook create {places.ours}/hooks/host_lost.tmpl",
        "on each host: opennebula/install --host",
    ]


def steps_after_removal(places: Places) -> list[str]:
    """What is left to do after the way back."""
    kept = [f"{places.conf} is kept; delete it if it is of no use"] if places.conf.exists() else []
    hook = "a hook that was made of host_lost.tmpl has lost its script: onehook list, onehook delete"
    return ["restart oned: systemctl restart opennebula", hook, *kept]


def _conf(places: Places) -> Path:
    oned = places.etc / "oned.conf"
    if not oned.exists():
        what = f"{oned} is not there"
        raise Failure(
            what, "run this on the front-end; where OpenNebula is in a directory of its own: --one-location DIR"
        )
    return oned


def _drivers(places: Places, owner: Owner | None) -> Iterator[File]:
    for tree in TREES:
        for path in _files(places.source / tree):
            yield _copy(path, places.remotes / path.relative_to(places.source), owner)
    for name in SINGLE:
        yield _copy(places.source / name, places.remotes / name, owner)


def _kept(places: Places, owner: Owner | None) -> Iterator[File]:
    for name in KEPT_FOR_US:
        for path in _files(places.source / name):
            target = places.ours / path.relative_to(places.source)
            file = _copy(path, target, owner)
            yield File(target, _placed(file.data or b"", places), mode=file.mode, owner=owner)


def _placed(text: bytes, places: Places) -> bytes:
    """A template names its script where it is."""
    return text.replace(b"/etc/one/cdmi", str(places.ours).encode())


def _stale(places: Places) -> Iterator[File]:
    """What an earlier version had in folders of ours."""
    for tree in TREES:
        for path in _files(places.remotes / tree):
            if not os.path.lexists(places.source / path.relative_to(places.remotes)):
                yield File(path)


def _files(folder: Path) -> Iterator[Path]:
    for path in sorted(folder.rglob("*")) if folder.exists() else ():
        if "__pycache__" not in path.parts and (path.is_symlink() or path.is_file()):
            yield path


def _copy(path: Path, target: Path, owner: Owner | None) -> File:
    if path.is_symlink():
        return File(target, link=str(path.readlink()), owner=owner)
    mode = 0o755 if path.stat().st_mode & 0o100 else 0o644
    return File(target, path.read_bytes(), mode=mode, owner=owner)
