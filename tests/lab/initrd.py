"""The smallest initrd that finds the guest's root disk: busybox and a few modules, out of the image's own tar."""

from __future__ import annotations

import gzip
import lzma
import stat
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from tests.lab.errors import LabError

WANTED = ("virtio_pci", "virtio_blk", "ext4", "crc32c_generic")


@dataclass(frozen=True)
class Entry:
    """One member of a cpio archive; `mode` has the file type bits."""

    name: str
    mode: int
    data: bytes = b""


def build(root_tar: Path, init: Path, target: Path) -> None:
    """Write a gzipped initrd to `target`: `init`, the image's busybox, and WANTED with what they depend on."""
    with tarfile.open(root_tar) as tar:
        entries = list(members(tar, init.read_bytes()))
    with gzip.open(target, "wb", compresslevel=6) as out:
        out.write(cpio(entries))


def members(tar: tarfile.TarFile, init: bytes) -> Iterator[Entry]:
    names = {member.name.removeprefix("./"): member for member in tar.getmembers()}
    for folder in ("bin", "dev", "modules", "root"):
        yield Entry(folder, stat.S_IFDIR | 0o755)
    yield Entry("init", stat.S_IFREG | 0o755, init)
    busybox = next((name for name in ("usr/bin/busybox", "bin/busybox") if name in names), None)
    if busybox is None:
        raise LabError("the image has no busybox", remedy="packages.txt needs busybox-static")
    yield Entry("bin/busybox", stat.S_IFREG | 0o755, content(tar, names[busybox]))
    dep = next(name for name in names if name.startswith("usr/lib/modules/") and name.endswith("/modules.dep"))
    top = dep.removesuffix("modules.dep")
    order = load_order(content(tar, names[dep]).decode(), WANTED)
    plain = [Path(path).name.removesuffix(".xz") for path in order]
    for path, name in zip(order, plain, strict=True):
        data = content(tar, names[top + path])
        yield Entry(f"modules/{name}", stat.S_IFREG | 0o644, lzma.decompress(data) if path.endswith(".xz") else data)
    yield Entry("modules/order", stat.S_IFREG | 0o644, "".join(f"{name}\n" for name in plain).encode())


def content(tar: tarfile.TarFile, member: tarfile.TarInfo) -> bytes:
    stream = tar.extractfile(member)
    if stream is None:
        raise LabError(f"{member.name} is not a file in the image")
    return stream.read()


def load_order(modules_dep: str, wanted: tuple[str, ...]) -> list[str]:
    """Paths of `wanted` and all they need, each after what it needs.

    modules.dep lists the needs of a module nearest first, so a line read backwards is an order to load in.
    """
    needs: dict[str, list[str]] = {}
    for line in modules_dep.splitlines():
        path, _, rest = line.partition(":")
        needs[Path(path).name.split(".")[0].replace("-", "_")] = [path, *rest.split()]
    order: list[str] = []
    for name in wanted:
        order += [path for path in reversed(needs.get(name, [])) if path not in order]
    return order


def cpio(entries: list[Entry]) -> bytes:
    """A cpio archive in the kernel's `newc` format (Documentation/driver-api/early-userspace/buffer-format.rst)."""
    parts = []
    for number, entry in enumerate([*entries, Entry("TRAILER!!!", 0)], start=1):
        name = entry.name.encode() + b"\0"
        fields = (number, entry.mode, 0, 0, 1, 0, len(entry.data), 0, 0, 0, 0, len(name), 0)
        head = b"070701" + b"".join(b"%08X" % field for field in fields) + name
        parts += [head, bytes(-len(head) % 4), entry.data, bytes(-len(entry.data) % 4)]
    return b"".join(parts)
