"""The daemon of multipath by its socket: texts with their length before them; no process of its tools.

libmpathcmd/mpath_cmd.c (mpath_process_cmd): a native size_t, then that many bytes, of which the last is NUL. It is
never asked to `reconfigure`, which disturbs every map of the host (attach.md, case 50).
"""

import asyncio
import os
import socket
import struct
from dataclasses import dataclass

from agent.host import sysfs
from agent.host.roots import Roots
from attachers.problems import Code, Problem

ABSTRACT = "\0/org/kernel/linux/storage/multipathd"
REPLY_S = 6.0  # above multipathd's own limit (uxsock_timeout, 4 s), after which it says "timeout"
REPLY_BYTES = 32 << 20  # as libmpathcmd has it (MAX_REPLY_LEN)
_LENGTH = struct.Struct("@N")
_CREDENTIALS = struct.Struct("=iII")  # struct ucred: pid, uid, gid
_HINT = 'see: systemctl status multipathd; or set multipath = "never" in [attach]'


@dataclass(frozen=True, slots=True)
class Known:
    """A path that multipathd knows: the kernel's name, and the LUN as multipath names it (a digit, then hex)."""

    node: str
    wwid: str


class Multipathd:
    """The one that runs on this host. Every call raises `Problem`: unavailable, or what it refused."""

    def __init__(self, roots: Roots) -> None:
        self._roots = roots

    def missing(self) -> str:
        """Why maps cannot be made on this host; empty when they can. Asks nobody."""
        if self._place() != ABSTRACT or f" @{ABSTRACT[1:]}\n" in _sockets(self._roots):
            return ""
        return "multipathd does not run on this host: systemctl enable --now multipathd"

    async def add_path(self, node: str) -> None:
        """Take notice of a disk (sda); it joins its map where there is one."""
        await self._do(f"add path {node}")

    async def del_path(self, node: str) -> None:
        """Take a disk out of its map, and forget it."""
        await self._do(f"del path {node}")

    async def add_map(self, wwid: str) -> None:
        """Make the map of a LUN (multipath's name of it) of the paths that are known, whatever find_multipaths says."""
        await self._do(f"add map {wwid}")

    async def del_map(self, name: str) -> None:
        """Flush and remove a map by its dm name; refused while it is open."""
        await self._do(f"del map {name}")

    async def resize_map(self, name: str) -> None:
        """Give a map the size that its paths have."""
        await self._do(f"resize map {name}")

    async def disable_queueing(self, name: str) -> None:
        """From here on, I/O to a map without a usable path fails."""
        await self._do(f"disablequeueing map {name}")

    async def restore_queueing(self, name: str) -> None:
        """As it was configured."""
        await self._do(f"restorequeueing map {name}")

    async def paths(self) -> tuple[Known, ...]:
        """Every path that it knows."""
        reply = await self.ask('show paths raw format "%d %w"')
        lines = (line.split() for line in reply.splitlines())
        return tuple(Known(line[0], line[1]) for line in lines if len(line) == 2)

    async def _do(self, command: str) -> None:
        said = (await self.ask(command)).split()
        if "ok" in said and "blacklisted" not in said:
            return
        if "blacklisted" in said:
            hint = 'correct the blacklist in /etc/multipath.conf, or set multipath = "never" in [attach]'
            raise Problem(Code.UNSUPPORTED_ON_HOST, f"multipathd: {command}: blacklisted", hint=hint)
        raise Problem(Code.UNAVAILABLE, f"multipathd: {command}: {ascii(' '.join(said))[:200]}", hint=_HINT)

    async def ask(self, command: str, *, timeout_s: float = REPLY_S) -> str:
        """One command and its reply, on a connection of its own."""
        try:
            async with asyncio.timeout(timeout_s):
                return await self._ask(command)
        except (OSError, EOFError, TimeoutError) as error:
            text = "no answer" if isinstance(error, TimeoutError) else str(error)
            raise Problem(Code.UNAVAILABLE, f"multipathd: {command}: {text}", hint=_HINT) from None

    async def _ask(self, command: str) -> str:
        reader, writer = await asyncio.open_unix_connection(self._place())
        try:
            if (uid := _uid_of(writer)) not in (0, os.geteuid()):  # anybody may listen there while it does not run
                raise OSError(f"uid {uid} listens in its place")
            text = command.encode() + b"\0"
            writer.write(_LENGTH.pack(len(text)) + text)
            await writer.drain()
            (length,) = _LENGTH.unpack(await reader.readexactly(_LENGTH.size))
            if not 0 < length <= REPLY_BYTES:
                raise OSError(f"a reply of {length} bytes")
            reply = await reader.readexactly(length)
            return reply.rstrip(b"\0").decode(errors="replace")
        finally:
            writer.close()

    def _place(self) -> str:
        """The socket in the file system where there is one (newer versions), else the abstract one."""
        path = self._roots.run / "multipathd.socket"
        return str(path) if path.exists() else ABSTRACT


def _uid_of(writer: asyncio.StreamWriter) -> int:
    """Who listens at the other end (unix(7), SO_PEERCRED)."""
    given = writer.get_extra_info("socket").getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
    return int(_CREDENTIALS.unpack(given)[1])


def _sockets(roots: Roots) -> str:
    return (sysfs.text(str(roots.proc / "net/unix")) or "") + "\n"
