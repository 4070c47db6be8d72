"""`cat`: the bytes of an object, to standard output or into a file, taken up where the connection broke, and proved."""

import binascii
import os
import shutil
import sys
import time
from urllib.parse import quote

from agent.cli import client, show
from agent.cli.partial import Partial

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from agent.cli.verbs import Words

RECEIVE = 1 << 20
TRIES = 3
"""How often in a row a connection may break without a byte; the daemon itself is patient with its server."""
STARTS = 3
"""How often a file is begun anew, when the object changes meanwhile."""
ALGORITHMS = {"sha-256": "sha256", "sha-512": "sha512", "sha-384": "sha384", "sha-224": "sha224", "sha": "sha1"}
TICK_S = 0.1
BROKEN = "journalctl -u cdmi-attachd says why; a repeated cat -o goes on there"
DAMAGED = "read it again; if it stays so, it is damaged on the server"


class Output:
    """Standard output: what is written there cannot be taken back."""

    def __init__(self) -> None:
        self.at = 0
        self.tag = ""

    def begin(self, tag: str) -> None:
        """Start from nothing."""
        if self.at:
            hint = "begin again, when nobody writes to it"
            raise client.Failure(client.CONFLICT, "the object has changed while it was read", hint)
        self.tag = tag

    def digest(self, name: str) -> "Any":
        """The hash of nothing."""
        import hashlib

        return hashlib.new(name, usedforsecurity=False)

    def write(self, piece: bytes) -> None:
        """Append."""
        rest = memoryview(piece)
        while rest:
            rest = rest[os.write(sys.stdout.fileno(), rest) :]
        self.at += len(piece)

    def finish(self) -> None:
        """Nothing is left to do."""

    def discard(self) -> None:
        """It is there for good."""

    def close(self) -> None:
        """It stays open."""


class Fetch:
    """One object on its way into a sink."""

    def __init__(self, args: "Words", sink: "Output | Partial") -> None:
        self._args = args
        self._sink = sink
        self._algorithm = self._wanted = ""
        self._digest: Any = None
        self._starts = 0
        self._bar = Bar(args.source)
        self.total = 0
        self.verified = ""

    def run(self) -> None:
        """All of it. Raises `Failure`."""
        left = TRIES
        while True:
            before = self._sink.at
            try:
                self._once()
                break
            except client.Failure as failure:
                left = TRIES if self._sink.at > before else left - 1
                broke = failure.problem is None and failure.status == client.UNREACHABLE
                if not broke or not self._starts:
                    raise
                if not (self._sink.tag and left):
                    what = f"it broke off after {self._sink.at} of {self.total} bytes"
                    raise client.Failure(client.FAILED, what, BROKEN) from None
            finally:
                self._bar.clear()
        self._prove()

    def _once(self) -> None:
        """One connection, from where we are."""
        connection = client.Connection(self._args.socket, client.LONGEST_S)
        try:
            at, tag = self._sink.at, self._sink.tag
            headers = f'Range: bytes={at - 1}-\r\nIf-Range: "{tag}"\r\n' if at and tag else ""
            connection.send("GET", f"/v1/objects/content?uri={quote(self._args.source, safe='')}", headers=headers)
            first = b""
            while not connection.status:
                first = connection.receive(RECEIVE)
            if connection.refused:
                connection.result(first)
            self._take_head(connection)
            skip = connection.status == 206  # one byte more was asked for: a range can never be empty
            piece = first
            while piece or not connection.done:
                if piece:
                    self._take(piece[1:] if skip else piece)
                    skip = False
                piece = b"" if connection.done else connection.receive(RECEIVE)
        finally:
            connection.close()

    def _take_head(self, connection: client.Connection) -> None:
        """What is coming: the rest of what we have, or all of it."""
        tag, length = connection.header("etag").strip('"'), int(connection.header("content-length") or 0)
        algorithm, _, digest = connection.header("repr-digest").partition("=")
        self._algorithm = ALGORITHMS.get(algorithm, algorithm)
        self._wanted = binascii.a2b_base64(digest.strip(":")).hex() if digest else ""
        if connection.status == 206:
            self._starts = max(self._starts, 1)
            self.total = length + self._sink.at - 1
            fresh = self._digest is None
        else:
            self._starts += 1
            if self._starts > STARTS:
                hint = "read it when nobody writes to it"
                raise client.Failure(client.CONFLICT, "the object changes all the time", hint)
            self._sink.begin(tag)
            self.total, fresh = length, True
        if fresh and self._wanted:
            self._digest = self._sink.digest(self._algorithm)

    def _take(self, piece: bytes) -> None:
        self._sink.write(piece)
        if self._digest is not None:
            self._digest.update(piece)
        self._bar.draw(self._sink.at, self.total)

    def _prove(self) -> None:
        if self._sink.at != self.total or (self._digest is not None and self._digest.hexdigest() != self._wanted):
            self._sink.discard()
            what = f"what was read is not what the server has: its {self._algorithm or 'size'} differs"
            raise client.Failure(client.FAILED, what, DAMAGED)
        self.verified = self._algorithm if self._digest is not None else ""


class Bar:
    """How far it is, on a terminal: one line, written over and gone in the end."""

    def __init__(self, name: str) -> None:
        self._name = show.visible(name.rstrip("/").rpartition("/")[2])
        self._on = sys.stderr.isatty()
        self._began = self._drawn = time.monotonic()
        self._from = -1

    def draw(self, at: int, total: int) -> None:
        """Write over what is there, now and then."""
        now = time.monotonic()
        self._from = at if self._from < 0 else self._from
        if not self._on or now - self._drawn < TICK_S:
            return
        self._drawn = now
        pace = (at - self._from) / (now - self._began)
        room = max(10, min(30, shutil.get_terminal_size().columns - 60))
        full = room * at // total if total else room
        left = f", {(total - at) / pace:.0f} s left" if pace else ""
        text = f"[{'#' * full}{'.' * (room - full)}] {100 * at // (total or 1)} % of {show.size(total)}"
        sys.stderr.write(f"\r{show.cut(self._name, 20)} {text}, {show.size(int(pace))}/s{left}\033[K")
        sys.stderr.flush()

    def clear(self) -> None:
        """Leave an empty line."""
        if self._on:
            sys.stderr.write("\r\033[K")
            sys.stderr.flush()


def cat(args: "Words") -> int:
    """Prints the object's bytes; nothing with -o."""
    to_file = args.o not in (None, "-")
    sink = Partial(args.o) if to_file else Output()
    try:
        fetch = Fetch(args, sink)
        fetch.run()
        sink.finish()
    finally:
        sink.close()
    if to_file:
        how = (
            f"proved by its {fetch.verified}" if fetch.verified else "its size is right; the server tells no hash of it"
        )
        show.say(show.visible(f"{args.o}: {show.size(fetch.total)}, {how}"))
        if args.json:
            print(show.as_json({"file": args.o, "size": fetch.total, "verified": fetch.verified or None}))
    return 0
