"""Which hosts an NFS export entry names, what each list gives them, and which of them this host has to be in. Pure.

CDMI 1.1 clause 13.4: `hosts` (default: all) get what `mode` says; `ro_hosts`, `rw_hosts`, `root_hosts` (default: none)
that very right. CDMI 2.0 clause 13.3 has the last three alone. In all of them there may be addresses, networks, names
with wildcards, and netgroups. An entry that has none of the lists leaves it to the NFS server who may mount it.
"""

import fnmatch
import ipaddress
from collections.abc import Mapping, Sequence
from typing import Any

HOSTS = "hosts"
LISTS = {"ro": "ro_hosts", "rw": "rw_hosts", "root": "root_hosts"}
"""The list that gives each right."""
MAX_HOSTS = 4096
MAX_NAME = 256
Rights = Mapping[str, tuple[str, ...]]
"""For each right the patterns of the hosts that have it; `root` only where the entry speaks of it."""


def named(entry: Mapping[str, Any]) -> tuple[str, ...] | None:
    """Every host with its list, as "rw_hosts 10.0.0.1"; None where the entry names none at all."""
    lists = _lists(entry)
    return tuple(f"{name} {host}" for name, hosts in lists.items() for host in hosts) if lists else None


def with_named(entry: Mapping[str, Any], wanted: Sequence[str]) -> dict[str, Any]:
    """The entry with these hosts in its lists, as `named` has them, and no others."""
    lists: dict[str, list[str]] = {name: [] for name in _lists(entry)}
    for one in wanted:
        name, _, host = one.partition(" ")
        lists.setdefault(name, []).append(host)
    return {**entry, **lists}


def rights(entry: Mapping[str, Any]) -> Rights | None:
    """Who has which right; None where the entry names no hosts."""
    lists = _lists(entry)
    if not lists:
        return None
    mode = str(entry.get("mode") or "rw").casefold()
    # A server that names some hosts, and leaves `hosts` out, may mean these alone: to be named besides harms nobody.
    everybody = "mode" in entry and not any(lists.values())
    usual = lists.get(HOSTS, ("*",) if everybody else ())
    ro, rw, root = (lists.get(LISTS[right], ()) for right in ("ro", "rw", "root"))
    found = {"ro": (*usual, *ro, *rw, *root), "rw": (*rw, *(usual if mode != "ro" else ()))}
    if LISTS["root"] in lists or mode == "root":
        found["root"] = (*root, *(usual if mode == "root" else ()))
    return found


def needed(*, disk: bool, read_only: bool) -> tuple[str, ...]:
    """The rights that an attachment needs. A disk is made of a file by root, which opens it for writing (LIO)."""
    if disk:
        return "rw", "root"
    return ("ro",) if read_only else ("rw",)


def name_of(right: str, address: str) -> str:
    """What this host is called in the list that gives a right, as `named` has it."""
    return f"{LISTS[right]} {address}"


def lacking(seen: Rights, wanted: Sequence[str], address: str, hostname: str) -> tuple[str, ...]:
    """The rights that no pattern gives this host. Where the entry does not speak of root, it is left as it is, unless
    it has to be changed anyway.
    """
    found = [right for right in wanted if right in seen and not _covers(seen[right], address, hostname)]
    return tuple(right for right in wanted if right in found or (found and right not in seen))


def _covers(patterns: Sequence[str], address: str, hostname: str) -> bool:
    return any(_matches(pattern.casefold(), address, hostname.casefold()) for pattern in patterns)


def _matches(pattern: str, address: str, hostname: str) -> bool:
    """Whether a pattern is this host for sure. Of a netgroup only the server knows who is in it."""
    if pattern.startswith("@") or len(pattern) > MAX_NAME:
        return False
    try:
        network = ipaddress.ip_network(pattern, strict=False)
        return ipaddress.ip_address(address) in network
    except ValueError:
        literal = pattern.replace("[", "[[]")  # only * and ? are wildcards in CDMI
        return any(fnmatch.fnmatchcase(name, literal) for name in (address, hostname) if name)


def normal(name: str) -> str:
    """The form in which two spellings of "rw_hosts 10.0.0.1" are equal."""
    member, _, host = name.casefold().partition(" ")
    try:
        return f"{member} {ipaddress.ip_address(host)}"
    except ValueError:
        return f"{member} {host}"


def _lists(entry: Mapping[str, Any]) -> dict[str, tuple[str, ...]]:
    """The lists that are there. What is neither a host's name nor a list of those is none, and stays as it is."""
    found = {name: _texts(entry.get(name)) for name in (HOSTS, *LISTS.values())}
    return {name: hosts for name, hosts in found.items() if hosts is not None}


def _texts(value: object) -> tuple[str, ...] | None:
    if isinstance(value, str):
        return (value,)
    if isinstance(value, list) and len(value) <= MAX_HOSTS and all(isinstance(one, str) for one in value):
        return tuple(value)
    return None
