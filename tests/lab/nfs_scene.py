"""NFS in a lab guest: the kernel's own server, and one in a network namespace of its own that can be cut off."""

import json
import shlex
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from tests.lab.stage import Stage

ROOT = "/srv/cdmi-nfs"
ALIVE, MORTAL = "127.0.0.1", "10.88.1.2"
"""The guest's own NFS server, and one in a network namespace that can be cut off."""
IMAGE = 2 << 20
ACCOUNT = (
    "echo '# findmnt'; findmnt -n -l -t nfs4 -o TARGET,SOURCE; find /run/cdmi-attach/mnt -mindepth 1 2>/dev/null; "
    "echo '# LIO'; ls -d /sys/kernel/config/target/loopback/naa.* /sys/kernel/config/target/core/fileio_* 2>/dev/null"
)


@dataclass(frozen=True)
class Shares:
    """A stage with NFS on it: the exported container `alive/`, `mortal/` that may die, and `named/` for named hosts."""

    stage: Stage

    def set(self) -> "Shares":
        """Start the NFS servers, the CDMI server with its containers, and the daemon."""
        self.serve()
        self.stage.guest.run(
            f"mkdir -p {ROOT}/mortal && "
            "systemd-run -q --no-block --unit=nfs-mortal --service-type=notify --property=NotifyAccess=all "
            f"--property=WorkingDirectory=/opt/cdmi-attach /usr/bin/python3 -m tests.host.nfs_server 1 {ROOT}/mortal"
        )
        self.stage.start_server("--nfs-root", ROOT, "--nfs-exports")
        self.declare("alive", ALIVE)
        self.declare("mortal", MORTAL)
        self.declare("named", ALIVE, x_nfs_hosts=json.dumps({"rw_hosts": ["192.0.2.9"], "root_hosts": []}))
        self.stage.start_daemon()
        self.stage.guest.run("timeout 60 sh -c 'until systemctl -q is-active nfs-mortal; do sleep 0.1; done'")
        return self

    def serve(self, *names: str, at: str = "") -> None:
        """Export these folders (`alive/`, where none is named; or that one) by the guest's own NFS server."""
        options = "rw,no_root_squash,insecure,no_subtree_check"
        folders = [at] if at else [f"{ROOT}/{name}" for name in names or ("alive",)]
        exported = shlex.join(["exportfs", "-o", options, *(f"*:{folder}" for folder in folders)])
        self.stage.guest.run(f"mkdir -p {shlex.join(folders)} && systemctl start nfs-server && {exported}")

    def declare(self, name: str, server: str, **more: str) -> None:
        """Make the container that is exported as that folder."""
        metadata = {"x_nfs_path": f"{server}:{ROOT}/{name}", "x_nfs_protocol": "NFSv4", **more}
        self.stage.cdmi("PUT", f"/{name}/", {"metadata": metadata})

    def put(self, path: str, content: bytes = b"", *, size: int = IMAGE) -> str:
        """A data object with that content; returns its source."""
        self.stage.write_blocks(f"/{path}", content.ljust(size, b"\0"))
        made = self.stage.cdmi("GET", f"/{path}?objectID", kind="object")
        return f"cdmi://127.0.0.1:8443/cdmi_objectid/{made['objectID']}"

    def grow(self, path: str, size: int) -> None:
        """Write the byte that makes a data object so large."""
        self.stage.write_part(f"/{path}", size - 1, ".")

    def inventory(self) -> str:
        """The stage's, with mounts and LIO's disks."""
        return self.stage.inventory() + self.stage.guest.run(ACCOUNT, check=False).stdout

    def exported(self, name: str, host: str) -> list[frozenset[str]]:
        """The options that the NFS server exports a folder to a host with: by exportfs, and by the kernel if it knows.

        (The kernel's name for a client is all that match it in the table, with commas: "*,127.0.0.1".)
        """
        told = self.stage.guest.run("exportfs -s; cat /proc/fs/nfsd/exports").stdout
        lines = (line.split()[1] for line in told.splitlines() if line.startswith(f"{ROOT}/{name}"))
        found = (line.rstrip(")").partition("(") for line in lines)
        return [frozenset(options.split(",")) for clients, _, options in found if host in clients.split(",")]

    def mounts(self) -> list[str]:
        """Our mounts, by findmnt."""
        done = self.stage.guest.run("findmnt -n -l -t nfs4 -o TARGET,SOURCE", check=False)
        return [line for line in done.stdout.splitlines() if "/run/cdmi-attach/mnt/" in line]

    @contextmanager
    def dead(self) -> Iterator[None]:
        """The mortal server does not answer."""
        self.stage.guest.run("ip netns exec nfs-1 iptables -I INPUT -j DROP")
        try:
            yield
        finally:
            self.stage.guest.run("ip netns exec nfs-1 iptables -F INPUT")
