"""The NFS export of a container, as CDMI 1.1 clause 13.4 writes it, for a container whose metadata says where it is."""

import json
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from tests.cdmi_server.records import Kind, Record
from tests.cdmi_server.wire import CdmiError, strings

KEY = "nfs"
PATH, PROTOCOL, HOSTS = "x_nfs_path", "x_nfs_protocol", "x_nfs_hosts"
"""Metadata of a container that is exported: [server:]/path, and NFSv4, NFSv4.1 (default), ...; and the JSON object of
its lists of hosts (rw_hosts, ...), where it is not for all.
"""
LISTS = ("hosts", "rw_hosts", "ro_hosts", "root_hosts")


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
            **hosts_of(record),
        }
    }


def hosts_of(record: Record) -> dict[str, list[str]]:
    """Return its lists of hosts, {} where the container is exported to all."""
    lists: dict[str, list[str]] = json.loads(str(record.metadata.get(HOSTS, "{}")))
    return lists


def with_hosts(record: Record, entries: Any) -> Record:
    """Return the record with the lists of hosts of the container's own NFS export; 400 for what is no list of names."""
    entry = entries.get(KEY) if isinstance(entries, dict) and described(record) else None
    if not isinstance(entry, Mapping) or HOSTS not in record.metadata:
        return record
    try:
        lists = {name: strings(entry[name]) for name in LISTS if name in entry}
    except ValueError as error:
        raise CdmiError(400, f"hosts: {error}") from error
    return replace(record, metadata={**record.metadata, HOSTS: json.dumps(lists)})


def without(record: Record, entries: Any) -> Any:
    """Return the entries without the one of the container's own NFS export: only its hosts change."""
    if not isinstance(entries, dict) or not described(record):
        return entries
    return {key: entry for key, entry in entries.items() if key != KEY}
