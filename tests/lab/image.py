"""The guest's disk image, kernel and initrd, made once per content of the recipe."""

from __future__ import annotations

import io
import os
import shutil
import subprocess
import tarfile
import tempfile
from collections.abc import Sequence
from pathlib import Path

from tests.lab import apt, initrd
from tests.lab.cache import LAB, RECIPE, Cache, appearing, digest, stage, touch_used, tree_parts
from tests.lab.errors import LabError
from tests.lab.hostcheck import BUILD_SPACE, check_space, tool

DISK_SIZE = "6G"
LOCALE_FREE = ("doc", "man", "info", "locale", "i18n/charmaps", "lintian", "help")


def image_key(release: str) -> str:
    """Changes with anything that shapes the image: packages, files, hooks, and the code that applies them."""
    recipe = tree_parts(RECIPE / "packages.txt", RECIPE / "root", RECIPE / "customize.sh", RECIPE / "init")
    return digest([release, *recipe, *tree_parts(LAB / "image.py", LAB / "initrd.py")])


def packages() -> list[str]:
    lines = (RECIPE / "packages.txt").read_text().splitlines()
    return [line.strip() for line in lines if line.strip() and not line.startswith("#")]


def ensure_image(cache: Cache, release: str) -> Path:
    """The folder with disk.raw, vmlinuz, initrd and the guest's ssh key; built if it is not there yet."""
    folder = cache.images / image_key(release)
    if not folder.exists():
        check_space(cache.root, BUILD_SPACE)
        with appearing(folder) as partial:
            make_key(partial)
            make_root(partial, release)
            with stage("kernel and initrd"):
                take_out(partial / "root.tar", "boot/vmlinuz", partial / "vmlinuz")
                initrd.build(partial / "root.tar", RECIPE / "init", partial / "initrd")
            with stage("ext4 disk"):
                make_disk(partial)
            (partial / "root.tar").unlink()
    touch_used(folder)
    return folder


def make_key(folder: Path) -> None:
    key = folder / "id_ed25519"
    run([tool("ssh-keygen"), "-q", "-t", "ed25519", "-N", "", "-C", "cdmi-attach-lab", "-f", str(key)])


def make_root(folder: Path, release: str) -> None:
    """Run mmdebstrap with this machine's own package sources; the result is root.tar in `folder`."""
    files = folder / "files.tar"
    files.write_bytes(files_tar((folder / "id_ed25519.pub").read_bytes()))
    options = folder / "apt.conf"
    options.touch(mode=0o600)
    options.write_text("".join(f"{line}\n" for line in apt.acquire_options()))
    mirrors = []
    for name, text in apt.sources(release).items():
        mirror = folder / name
        mirror.write_text(text)
        mirrors.append(str(mirror))
    command = [
        *confined(), tool("mmdebstrap"), f"--mode={mode()}", "--variant=minbase", "--quiet",
        f"--include={','.join(packages())}", f"--aptopt={options}",
        *(f"--dpkgopt=path-exclude=/usr/share/{where}/*" for where in LOCALE_FREE),
        f"--customize-hook=tar-in {files} /", f"--customize-hook={RECIPE / 'customize.sh'}",
        release, str(folder / "root.tar"), *mirrors,
    ]  # fmt: skip
    env = {**os.environ, "LC_ALL": "C.UTF-8"}
    if mode() == "root":
        env["TMPDIR"] = str(folder)
    with stage(f"mmdebstrap {release}, {len(packages())} packages ({mode()} mode)"):
        run(command, env=env, log=folder / "mmdebstrap.log")
    for extra in (files, options, *map(Path, mirrors)):
        extra.unlink()


def mode() -> str:
    """Root builds in root mode; anyone else in a user namespace, for which /etc/subuid must name them."""
    return "root" if os.geteuid() == 0 else "unshare"


def confined() -> list[str]:
    """A prefix for mmdebstrap: it dies with this run, and with it go its processes and its mounts.

    As root it would mount into the caller's mount namespace; so it gets namespaces of its own.
    """
    if mode() == "root":
        spaces = ["unshare", "--mount", "--pid", "--fork", "--mount-proc", "--kill-child"]
        return ["setpriv", "--pdeathsig", "KILL", *spaces]
    return ["setpriv", "--pdeathsig", "TERM"]


def files_tar(public_key: bytes) -> bytes:
    """The recipe's own files and the public key, all owned by root, as a tar."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as tar:
        for path in sorted((RECIPE / "root").rglob("*")):
            if path.is_file():
                add(tar, str(path.relative_to(RECIPE / "root")), path.read_bytes())
        add(tar, "root/.ssh/authorized_keys", public_key)
    return out.getvalue()


def add(tar: tarfile.TarFile, name: str, data: bytes) -> None:
    info = tarfile.TarInfo(name)
    info.size = len(data)
    info.mode = 0o644
    tar.addfile(info, io.BytesIO(data))


def take_out(root_tar: Path, name: str, target: Path) -> None:
    with tarfile.open(root_tar) as tar:
        stream = tar.extractfile(f"./{name}")
        if stream is None:
            raise LabError(f"the image has no {name}")
        with target.open("wb") as out:
            shutil.copyfileobj(stream, out)


def make_disk(folder: Path) -> None:
    """root.tar -> disk.raw, an ext4 file system with the right owners, with neither a loop device nor a mount.

    Where the caller is not root, unpacking and mke2fs run in mmdebstrap's user namespace. Its root may not enter the
    caller's folders, so it works in a folder of its own and hands the image over through standard output.
    """
    script = (
        'set -e; tar -xf - -C "$1"; cd "$1"; '
        f"{tool('mke2fs')} -q -t ext4 -L root -m 0 -O ^metadata_csum_seed -E root_owner=0:0,lazy_itable_init=1 "
        f'-d "$1" "$2" {DISK_SIZE}'
    )
    disk = folder / "disk.raw"
    if mode() == "root":
        with tempfile.TemporaryDirectory(dir=folder) as top, (folder / "root.tar").open("rb") as tar:
            run(["sh", "-c", script, "sh", top, str(disk)], stdin=tar.fileno())
        return
    outer = (
        'top=$(mktemp -d); trap "rm -rf $top" EXIT; mkdir "$top/r"; sh -c "$1" sh "$top/r" "$top/d" >&2; cat "$top/d"'
    )
    with (folder / "root.tar").open("rb") as tar, disk.open("wb") as out:
        helper = [tool("mmdebstrap"), "--unshare-helper", "sh", "-c", outer, "sh", script]
        subprocess.run(helper, stdin=tar, stdout=out, check=True)
    run(["fallocate", "--dig-holes", str(disk)])


def run(
    command: Sequence[str],
    *,
    env: dict[str, str] | None = None,
    log: Path | None = None,
    stdin: int = subprocess.DEVNULL,
) -> None:
    """Run a build step; on failure raise LabError with the end of what it said (kept in `log` when given)."""
    done = subprocess.run(command, env=env, stdin=stdin, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    if log is not None:
        log.write_text(done.stdout)
    if done.returncode != 0:
        said = "\n".join(done.stdout.splitlines()[-20:])
        raise LabError(f"{Path(command[0]).name} failed with status {done.returncode}:\n{said}")
