"""Containers exported over NFS to the hosts that they name, by this machine's own NFS server: exportfs(8), as root."""

import subprocess
from collections.abc import Iterator
from pathlib import Path

from tests.cdmi_server.nfs import PATH, hosts_of
from tests.cdmi_server.records import Kind, Record
from tests.cdmi_server.store import Store

COMMON = "insecure,no_subtree_check"


def wanted(store: Store, root: Path) -> dict[str, str]:
    """The options by HOST:DIRECTORY, for every container that is exported below `root` and names hosts."""
    return dict(line for record in store.everything() for line in _lines(record, root))


def _lines(record: Record, root: Path) -> Iterator[tuple[str, str]]:
    where, lists = Path(str(record.metadata.get(PATH, "")).rpartition(":")[2]), hosts_of(record)
    if record.kind is not Kind.CONTAINER or root not in where.parents:
        return
    for host in dict.fromkeys(host for hosts in lists.values() for host in hosts):
        rw = "rw" if host in lists.get("rw_hosts", []) + lists.get("hosts", []) else "ro"
        root_ = "no_root_squash" if host in lists.get("root_hosts", []) else "root_squash"
        yield f"{host}:{where}", f"{rw},{root_},{COMMON}"


def change(before: dict[str, str], after: dict[str, str]) -> None:
    """Export what is new or another way, and withdraw what is no more."""
    for place in before.keys() - after.keys():
        _run("exportfs", "-u", place)
    for place, options in after.items():
        if before.get(place) != options:
            Path(place.partition(":")[2]).mkdir(parents=True, exist_ok=True)
            _run("exportfs", "-o", options, place)
    if before != after:
        _run("exportfs", "-f")


def _run(*command: str) -> None:
    subprocess.run(command, check=True)
