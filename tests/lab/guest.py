"""One running guest, reached over ssh: run commands, copy files in and out."""

from __future__ import annotations

import http.client
import io
import os
import shlex
import subprocess
import sys
import tarfile
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from tests.lab.errors import LabError
from tests.lab.hostcheck import tool
from tests.lab.machine import Place, wait_ready
from tests.lab.monitor import Monitor, connect_unix

CONFIG = """\
Host guest
HostName 127.0.0.1
Port {port}
User root
IdentityFile {key}
IdentitiesOnly yes
StrictHostKeyChecking no
UserKnownHostsFile /dev/null
GlobalKnownHostsFile /dev/null
LogLevel ERROR
BatchMode yes
KexAlgorithms curve25519-sha256
HostKeyAlgorithms ssh-ed25519
ConnectTimeout 30
ControlPath ssh.sock
"""
COMMAND_S = 120.0
SOCKET = "/run/cdmi-attach/control.sock"
FORWARDED = "control.sock"
"""The daemon's socket in the guest, and where the connection brings it to in the guest's folder here."""
UNENDED = "had not ended in the guest"


@dataclass(frozen=True)
class Guest:
    """A guest whose `connect` was called once; every `run` is a session of that one connection."""

    name: str
    place: Place

    def connect(self, port: int, key: Path) -> None:
        """Write ssh_config (every ssh runs in the guest's folder: ControlPath is relative), start the master."""
        (self.place.folder / "ssh_config").write_text(CONFIG.format(port=port, key=key))
        self.start_master()

    def start_master(self) -> None:
        """Log in once; the connection stays in the background and carries all later commands."""
        with (self.place.folder / "ssh.log").open("ab") as log:
            # ssh takes for a path what begins with a slash, and a socket's path must be short.
            daemon = ["-L", f"/proc/self/cwd/{FORWARDED}:{SOCKET}", "-o", "StreamLocalBindUnlink=yes"]
            command = [tool("ssh"), "-F", "ssh_config", "-M", "-N", "-f", *daemon, "guest"]
            done = subprocess.run(
                command, cwd=self.place.folder, stdin=subprocess.DEVNULL, stdout=log, stderr=log, timeout=60
            )
        if done.returncode != 0:
            said = (self.place.folder / "ssh.log").read_text()
            raise LabError(f"no ssh to the guest {self.name}:\n{said}", remedy="see its serial.log; lab up again")

    def disconnect(self) -> None:
        with suppress(subprocess.TimeoutExpired):
            command = [tool("ssh"), "-F", "ssh_config", "-O", "exit", "guest"]
            subprocess.run(command, cwd=self.place.folder, capture_output=True, timeout=10)

    def argv(self, command: str) -> list[str]:
        """ssh's argv for one shell line in the guest; to be run in the guest's folder."""
        return [tool("ssh"), "-F", "ssh_config", "-T", "guest", command]

    def run(
        self,
        command: str | Sequence[str],
        *,
        check: bool = True,
        timeout_s: float = COMMAND_S,
        input: str | None = None,
    ) -> subprocess.CompletedProcess[str]:
        """Run a shell line, or an argv, as root in the guest.

        Raises LabError when it fails and `check` is set, or at the deadline (what runs in the guest then runs on).
        """
        line = command if isinstance(command, str) else shlex.join(command)
        try:
            done = subprocess.run(
                self.argv(line),
                cwd=self.place.folder,
                input=input or "",
                text=True,
                capture_output=True,
                timeout=timeout_s,
            )
        except subprocess.TimeoutExpired as late:
            raise LabError(f"{line}\n{UNENDED} after {timeout_s:.0f} s:\n{late.stdout!r}") from None
        if check and done.returncode != 0:
            said = f"{done.stdout[-4000:]}{done.stderr[-4000:]}"
            raise LabError(f"{line}\nended with status {done.returncode} in the guest:\n{said}")
        return done

    def ask(self, method: str, path: str, body: str | None = None) -> tuple[int, str]:
        """One HTTP request to the daemon in the guest, as root, without a process there. Returns status and text.

        Raises LabError where nobody answers.
        """
        connection = Forwarded(self.place.folder / FORWARDED)
        try:
            headers = {} if body is None else {"Content-Type": "application/json"}
            connection.request(method, path, body, headers)
            answer = connection.getresponse()
            return answer.status, answer.read().decode()
        except (OSError, http.client.HTTPException) as error:
            raise LabError(f"{method} {path}: the daemon in the guest {self.name} does not answer: {error!r}") from None
        finally:
            connection.close()

    def python(
        self, source: str, *, timeout_s: float = COMMAND_S, check: bool = True
    ) -> subprocess.CompletedProcess[str]:
        """Run Python source with the guest's own interpreter, in the pushed checkout."""
        return self.run("cd /opt/cdmi-attach && exec python3 -", input=source, timeout_s=timeout_s, check=check)

    def write(self, path: str, text: str, *, mode: int = 0o644) -> None:
        """Make the file `path` in the guest, and the folders above it."""
        data = text.encode()
        self._unpack("/", lambda tar: tar.addfile(file_of(path.lstrip("/"), data, mode), io.BytesIO(data)))

    def push(self, source: Path, target: str) -> None:
        """Copy a file to the path `target`, or a folder's content into the folder `target`; all owned by root."""
        if not source.exists():
            raise LabError(f"{source} does not exist")
        if source.is_dir():
            self._unpack(target, lambda tar: tar.add(source, arcname=".", filter=plain))
            return
        path = PurePosixPath(target, source.name) if target.endswith("/") else PurePosixPath(target)
        self._unpack(str(path.parent), lambda tar: tar.add(source, arcname=path.name, filter=plain))

    def push_all(
        self,
        top: Path,
        names: Sequence[str],
        target: str,
        *,
        before: str = "true",
        more: Mapping[str, bytes] | None = None,
    ) -> None:
        """Replace files and folders `names` below `target` by those of `top`, after the shell line `before`.

        `more` are files to be made there besides, by their names below `target`.
        """

        def fill(tar: tarfile.TarFile) -> None:
            for name in names:
                if (top / name).exists():
                    tar.add(top / name, arcname=name, filter=plain)
            for name, data in (more or {}).items():
                tar.addfile(file_of(name, data), io.BytesIO(data))

        self._unpack(target, fill, before=f"({before}) && cd {shlex.quote(target)} && rm -rf {shlex.join(names)}")

    def pull(self, source: str, target: Path) -> None:
        """Copy the guest's file or folder `source` to `target` (into it, if it is a folder and `source` a file)."""
        path = PurePosixPath(source)
        line = f"tar -C {shlex.quote(str(path.parent))} -cf - -- {shlex.quote(path.name)}"
        with subprocess.Popen(self.argv(line), cwd=self.place.folder, stdout=subprocess.PIPE) as ssh:
            assert ssh.stdout is not None
            with suppress(tarfile.ReadError), tarfile.open(fileobj=ssh.stdout, mode="r|") as tar:
                extract(tar, path.name, target)
        if ssh.returncode != 0:
            raise LabError(f"{source} of the guest {self.name} cannot be read")

    def reboot(self, *, timeout_s: float = 180) -> None:
        """Restart the guest's system, wait until it is up, and log in again."""
        self.run("systemctl reboot", check=False)
        self.disconnect()
        wait_ready(self.place, timeout_s=timeout_s)
        self.start_master()

    def lose_power(self, *, timeout_s: float = 180) -> None:
        """Reset the machine, so that what was not on its disk is gone; wait until it is up, and log in again."""
        with Monitor(self.place.monitor) as monitor:
            monitor.execute("system_reset")
        self.disconnect()
        wait_ready(self.place, timeout_s=timeout_s)
        self.start_master()

    def freeze(self) -> None:
        """Let the machine stand still: it answers nobody, and nobody hears that."""
        with Monitor(self.place.monitor) as monitor:
            monitor.execute("stop")

    def thaw(self) -> None:
        """Let it go on where it was."""
        with Monitor(self.place.monitor) as monitor:
            monitor.execute("cont")

    def _unpack(self, target: str, fill: Callable[[tarfile.TarFile], None], *, before: str = "true") -> None:
        where = shlex.quote(target)
        line = f"mkdir -p {where} && {before} && exec tar --warning=no-timestamp -C {where} -xf -"
        with subprocess.Popen(
            self.argv(line), cwd=self.place.folder, stdin=subprocess.PIPE, stderr=subprocess.PIPE
        ) as ssh:
            assert ssh.stdin is not None and ssh.stderr is not None
            with suppress(BrokenPipeError):
                with tarfile.open(fileobj=ssh.stdin, mode="w|") as tar:
                    fill(tar)
                ssh.stdin.close()
            said = ssh.stderr.read().decode(errors="replace")
        if ssh.returncode != 0:
            raise LabError(f"writing {target} in the guest {self.name} failed with status {ssh.returncode}:\n{said}")
        if said:
            print(f"guest {self.name}: {said.strip()}", file=sys.stderr)


class Forwarded(http.client.HTTPConnection):
    """HTTP through a socket that ssh brings from a guest."""

    def __init__(self, path: Path) -> None:
        super().__init__("localhost", timeout=COMMAND_S)
        self._path = path

    def connect(self) -> None:
        self.sock = connect_unix(self._path)
        self.sock.settimeout(self.timeout)


def file_of(name: str, data: bytes, mode: int = 0o644) -> tarfile.TarInfo:
    """An entry of an archive: root's file with that content."""
    info = tarfile.TarInfo(name)
    info.size, info.mode = len(data), mode
    return info


def plain(info: tarfile.TarInfo) -> tarfile.TarInfo | None:
    """Root owns what is pushed; byte code stays here."""
    if "__pycache__" in info.name:
        return None
    info.uid = info.gid = 0
    info.uname = info.gname = "root"
    return info


def extract(tar: tarfile.TarFile, name: str, target: Path) -> None:
    """Unpack the archive of one file or folder called `name` as `target`; only files, folders and links."""
    for member in tar:
        inner = os.path.relpath(member.name, name)
        if inner == "." and member.isfile():
            inner = name if target.is_dir() else ""
        path = (target / inner) if inner else target
        if target not in (path, *path.parents) or ".." in PurePosixPath(inner).parts:
            raise LabError(f"{member.name} would leave {target}")
        if member.isdir():
            path.mkdir(parents=True, exist_ok=True)
        elif member.issym():
            path.symlink_to(member.linkname)
        elif stream := tar.extractfile(member):
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(stream.read())
            path.chmod(member.mode)
