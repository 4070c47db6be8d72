"""The NFS export of a container, as CDMI 1.1 clause 13.4 writes it, for a container whose metadata says where it is."""

from typing import Any

from tests.cdmi_server.records import Kind, Record

KEY = "nfs"
PATH, PROTOCOL = "x_nfs_path", "x_nfs_protocol"
"""Metadata of a container that is exported: [server:]/path, and NFSv4, NFSv4.1 (default), ..."""


def described(record: Record) -> dict[str, Any]:
    """Return the entry under its key, {} where the container is not exported over NFS."""
    where = record.metadata.get(PATH)
    if record.kind is not Kind.CONTAINER or not where:
        return {}
    return {
        KEY: {
            "protocol": record.metadata.get(PROTOCOL, "NFSv4.1"),
            "exportpath": where,
            "exportdomain": ".",
            "mode": "rw",
            "control": "on",
            "usermap": [["*", "<-->", "*"]],
        }
    }


def without(record: Record, entries: Any) -> Any:
    """Return the entries without the one of the container's own NFS export: it is written back, and never changes."""
    if not isinstance(entries, dict) or not described(record):
        return entries
    return {key: entry for key, entry in entries.items() if key != KEY}
