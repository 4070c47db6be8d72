"""`put`: a file, a device or standard input into an object: all of it, or the object is as it was."""

import os
import stat
import sys
from pathlib import Path
from urllib.parse import quote

from agent.cli import client, show
from agent.cli.content import Bar

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

    from agent.cli.verbs import Words

READ = 1 << 20


def put(args: "Words") -> int:
    """Prints the object's address."""
    fd = sys.stdin.fileno() if args.file == "-" else _opened(args.file)
    connection = client.Connection(args.socket, client.LONGEST_S)
    try:
        answer = _sent(args, connection, fd)
    finally:
        connection.close()
        if args.file != "-":
            os.close(fd)
    print(show.as_json(answer) if args.json else show.visible(answer.get("uri") or ""))
    show.say(show.visible(f"{args.destination}: {show.size(answer.get('size'))} written"))
    return 0


def _sent(args: "Words", connection: client.Connection, fd: int) -> "dict[str, Any]":
    size = _size(args.file, fd)
    how = "Transfer-Encoding: chunked\r\n" if size is None else f"Content-Length: {size}\r\n"
    only = "" if args.replace else "If-None-Match: *\r\n"
    even_if = "&even_if_permitted_to_others=1" if args.even_if_permitted_to_others else ""
    route = f"/v1/objects/content?uri={quote(args.destination, safe='')}{even_if}"
    connection.begin("PUT", route, f"Content-Type: application/octet-stream\r\n{how}{only}")
    bar, at = Bar(args.destination), 0
    try:
        for piece in _pieces(args.file, fd, size):
            at += len(piece)
            framed = f"{len(piece):x}\r\n".encode() + piece + b"\r\n" if size is None else piece
            if not connection.give(framed):
                break
            bar.draw(at, size or at)
        else:
            if size is None:
                connection.give(b"0\r\n\r\n")
    finally:
        bar.clear()
    return connection.result()


def _pieces(name: str, fd: int, size: int | None) -> "Iterator[bytes]":
    """All of the file, just as large as it was and unchanged; whatever is wrong is found before the last piece."""
    before, left = os.fstat(fd), size
    while left is None or left:
        try:
            piece = os.read(fd, READ if left is None else min(READ, left))
        except OSError as error:
            raise client.Failure(client.FAILED, f"{name}: {error.strerror}", "nothing was written") from None
        if left is None and not piece:
            return
        left = None if left is None else left - len(piece)
        now = os.fstat(fd)
        changed = stat.S_ISREG(now.st_mode) and (now.st_mtime_ns, now.st_size) != (before.st_mtime_ns, before.st_size)
        if not piece or (left is not None and changed):
            hint = "nothing was written; try again, when nobody writes to it"
            raise client.Failure(client.CONFLICT, f"{name} has changed while it was read", hint)
        yield piece


def _opened(name: str) -> int:
    try:
        return os.open(Path(name), os.O_RDONLY | os.O_CLOEXEC)
    except OSError as error:
        raise client.Failure(client.FAILED, f"{name}: {error.strerror}", "give a file or a device") from None


def _size(name: str, fd: int) -> int | None:
    """Bytes, also of a device; None of a pipe."""
    mode = os.fstat(fd).st_mode
    if stat.S_ISDIR(mode):
        raise client.Failure(client.FAILED, f"{name} is a folder", "give a file or a device")
    if not (stat.S_ISREG(mode) or stat.S_ISBLK(mode)):
        return None
    at = os.lseek(fd, 0, os.SEEK_CUR)
    size = os.lseek(fd, 0, os.SEEK_END) - at
    os.lseek(fd, at, os.SEEK_SET)
    return size
