"""An object's bytes for downloader.sh of any datastore: through a daemon, which proves them, and counted here."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence

from cdmi_one.allowed import registered
from cdmi_one.commands import cdmi
from cdmi_one.failure import Failure
from cdmi_one.hosts import reachable
from cdmi_one.places import Source
from cdmi_one.remote import stream
from cdmi_one.settings import load

READER_WENT = 141
"""The status of a program that SIGPIPE has ended: downloader.sh reads the beginning alone, to see what it is."""


def download(words: Sequence[str]) -> None:
    """`[--size] SOURCE`: its bytes (or how many they are) to standard output. Raises `Failure`."""
    if not words or list(words[:-1]) not in ([], ["--size"]):
        raise Failure("usage: cdmi_downloader [--size] cdmi://SERVER/PATH")
    settings = load()
    source, found = registered(words[-1], settings)
    if len(words) > 1:
        if found.size is None:
            raise Failure(f"the server does not tell the size of {source}", "give SIZE with the image")
        print(found.size)
        return
    counted = _poured(reachable(settings), source)
    if found.size not in (None, counted):
        raise Failure(f"{source} has {found.size} bytes, and {counted} came", "try again")


def _poured(place: str, source: Source) -> int:
    counted = 0

    def take(piece: bytes) -> None:
        nonlocal counted
        counted += len(piece)
        rest = memoryview(piece)
        while rest:
            rest = rest[os.write(sys.stdout.fileno(), rest) :]

    try:
        stream(place, [cdmi("cat", source)], take)
    except BrokenPipeError:
        raise SystemExit(READER_WENT) from None
    return counted
