"""An NFS server of its own on this kernel: in a network namespace, with its own name, so that it can die alone.

For a lab guest only, as root. Two servers of one kernel that shared a host name would be taken for one (trunking).
"""

import shutil
import signal
import subprocess
import sys
from pathlib import Path

SETUP = """\
set -e
hostname {name}
mount -t tmpfs none /var/lib/nfs
mkdir -p /var/lib/nfs/v4recovery
touch /var/lib/nfs/etab /var/lib/nfs/rmtab
mount -t nfsd nfsd /proc/fs/nfsd
echo 10 > /proc/fs/nfsd/nfsv4leasetime
echo 10 > /proc/fs/nfsd/nfsv4gracetime
exportfs -o {options} '*:{directory}'
rpc.nfsd -N 3 -U {versions} 4
timeout 30 sh -c 'until grep -q Y /proc/fs/nfsd/v4_end_grace; do sleep 0.2; done'
echo ready
exec rpc.mountd -F -N 2 -N 3
"""
OPTIONS = "rw,no_root_squash,insecure,no_subtree_check"


class NfsServer:
    """A server at 10.88.NUMBER.2 that exports one directory of this host. It lets nobody in before it is ready."""

    def __init__(self, number: int, directory: Path, *, without: tuple[str, ...] = ()) -> None:
        self.name = f"nfs-{number}"
        self.address = f"10.88.{number}.2"
        self.directory = directory
        self._number = number
        for command in self._network():
            _run(*command)
        versions = " ".join(f"-N {version}" for version in without)
        script = SETUP.format(name=self.name, options=OPTIONS, directory=directory, versions=versions)
        command = ["ip", "netns", "exec", self.name, "unshare", "--uts", "sh", "-c", script]
        self._process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)

    def wait_until_ready(self) -> None:
        """Its period of grace is over; a server outside of the first network namespace cannot be told to end it."""
        assert self._process.stdout is not None
        assert self._process.stdout.readline() == "ready\n", "the NFS server did not start"

    def _network(self) -> list[list[str]]:
        outer, inner, network = f"nfs{self._number}a", f"nfs{self._number}b", f"10.88.{self._number}"
        inside = ["ip", "-n", self.name]
        return [
            ["ip", "netns", "add", self.name],
            ["ip", "link", "add", outer, "type", "veth", "peer", "name", inner, "netns", self.name],
            ["ip", "addr", "add", f"{network}.1/24", "dev", outer],
            ["ip", "link", "set", outer, "up"],
            [*inside, "addr", "add", f"{network}.2/24", "dev", inner],
            [*inside, "link", "set", inner, "up"],
            [*inside, "link", "set", "lo", "up"],
        ]

    def die(self) -> None:
        """Answer nothing any more, not even with a refusal."""
        _run("ip", "netns", "exec", self.name, "iptables", "-I", "INPUT", "-j", "DROP")

    def live(self) -> None:
        """Answer again."""
        _run("ip", "netns", "exec", self.name, "iptables", "-F", "INPUT")

    def export_anew(self) -> None:
        """Put a copy in the directory's place and export that, so that all handles given out before are stale.

        (Another fsid= is not enough: a handle names the file system and the directory's inode, and is still found.)
        """
        copy, aside = (self.directory.with_name(f"{self.directory.name}.{word}") for word in ("copy", "aside"))
        shutil.copytree(self.directory, copy)
        self.directory.rename(aside)
        copy.rename(self.directory)
        shutil.rmtree(aside)
        self._inside("exportfs", "-u", f"*:{self.directory}")
        self._inside("exportfs", "-o", OPTIONS, f"*:{self.directory}")
        self._inside("exportfs", "-f")

    def export_as(self, options: str, *, to: str = "*") -> None:
        """Export the directory with these options besides (ro, root_squash, fsid=...), to that host, from now on."""
        self._inside("exportfs", "-ua")
        self._inside("exportfs", "-o", ",".join(filter(None, (OPTIONS, options))), f"{to}:{self.directory}")
        self._inside("exportfs", "-f")

    def close(self) -> None:
        """End it; whoever has it mounted waits for ever."""
        self._inside("rpc.nfsd", "0")
        self._process.terminate()
        self._process.wait(10)
        _run("ip", "netns", "del", self.name)

    def _inside(self, *command: str) -> None:
        _run("nsenter", "-t", str(self._process.pid), "-n", "-m", "-u", *command)


def main() -> None:
    """Run one until SIGTERM: NUMBER DIRECTORY, on a machine that nobody needs. Tells systemd when it is there.

    At SIGHUP it exports a copy of its directory in its place.
    """
    number, directory = sys.argv[1:]
    Path(directory).mkdir(parents=True, exist_ok=True)
    server = NfsServer(int(number), Path(directory))
    server.wait_until_ready()
    signals = (signal.SIGTERM, signal.SIGHUP)
    signal.pthread_sigmask(signal.SIG_BLOCK, signals)
    _run("systemd-notify", "--ready", "--status=first")
    while signal.sigwait(signals) == signal.SIGHUP:
        server.export_anew()
        _run("systemd-notify", "--status=anew")
    server.close()


def _run(*command: str) -> None:
    subprocess.run(command, check=True, stdout=sys.stderr)


if __name__ == "__main__":
    main()
