"""Who is at the other end of an accepted Unix socket, told by the kernel, and whether they may call."""

import errno
import grp
import os
import socket
import struct
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from aiohttp import web

from agent.caller import Caller
from agent.listening import credentials
from attachers.problems import Code, Problem

SO_PEERGROUPS = 0x3B
"""asm-generic/socket.h; the `socket` module has no name for it."""
MAX_GROUP_BYTES = 1024
"""The most that `getsockopt` of CPython 3.11 takes: 256 groups."""


@dataclass(frozen=True, slots=True)
class Peer:
    """A process as it was when it connected. `groups` are its supplementary groups, by number."""

    pid: int
    uid: int
    gid: int
    groups: frozenset[int] = frozenset()


class _Socket(Protocol):
    def getsockopt(self, level: int, optname: int, buflen: int, /) -> bytes: ...


PeerOf = Callable[[web.Request], Peer | None]
"""The peer of a request; None when it is not known, which is the same as not allowed."""


def peer_of_socket(sock: _Socket) -> Peer:
    """The peer of an accepted Unix socket (socket(7), SO_PEERCRED and SO_PEERGROUPS)."""
    pid, uid, gid = credentials(sock)
    return Peer(pid, uid, gid, _groups(sock))


def _groups(sock: _Socket) -> frozenset[int]:
    try:
        data = sock.getsockopt(socket.SOL_SOCKET, SO_PEERGROUPS, MAX_GROUP_BYTES)
    except OSError as error:
        if error.errno in (errno.ERANGE, errno.ENOPROTOOPT):
            return frozenset()  # more groups than fit: the primary one still counts
        raise
    return frozenset(struct.unpack(f"{len(data) // 4}I", data))


def peer_of_request(request: web.Request) -> Peer | None:
    """The peer of a request's connection; None when that is gone already or is no Unix socket."""
    sock = request.transport.get_extra_info("socket") if request.transport is not None else None
    if sock is None or sock.family != socket.AF_UNIX:
        return None
    try:
        return peer_of_socket(sock)
    except OSError:
        return None


@dataclass(frozen=True, slots=True)
class Gate:
    """Who may call: some users, and the members of one group (None: no group).

    The users, and the members of the group of admins, may change what others have attached, too.
    """

    uids: frozenset[int]
    group_gid: int | None
    admins_gid: int | None = None

    def check(self, peer: Peer | None) -> Peer:
        """The peer, when it may call. Raises `Problem` (`forbidden`)."""
        if peer is None:
            raise Problem(Code.FORBIDDEN, "the caller is not known", hint="call through the Unix socket")
        if self._is_admin(peer) or self.group_gid in peer.groups | {peer.gid}:
            return peer
        raise self._refusal(peer)

    def caller(self, peer: Peer | None) -> Caller:
        """The same, as the engine knows it. Raises `Problem` (`forbidden`)."""
        peer = self.check(peer)
        return Caller(peer.uid, peer.pid, admin=self._is_admin(peer))

    def _is_admin(self, peer: Peer) -> bool:
        return peer.uid in self.uids or self.admins_gid in peer.groups | {peer.gid}

    def _refusal(self, peer: Peer) -> Problem:
        if self.group_gid is None:
            detail = f"user {peer.uid} may not call cdmi-attachd: only root may"
            return Problem(Code.FORBIDDEN, detail, hint="name a group in [socket] group of config.toml")
        group = group_name(self.group_gid)
        detail = f"user {peer.uid} may not call cdmi-attachd: it is not a member of group {group}"
        return Problem(Code.FORBIDDEN, detail, hint=f"usermod -aG {group} USER, then log in again")


def gate_of(allow_uids: frozenset[int], group_gid: int | None, admins_gid: int | None = None) -> Gate:
    """These users, the daemon's own, this group, and that of the admins."""
    return Gate(allow_uids | {os.geteuid()}, group_gid, admins_gid)


def group_name(gid: int) -> str:
    """The group's name, or its number where it has none."""
    try:
        return grp.getgrgid(gid).gr_name
    except KeyError:
        return str(gid)
