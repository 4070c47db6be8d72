"""A contender as a warm process: one JSON request a line on stdin, one JSON answer a line on stdout."""

import json
import os
import sys
import threading
import time
import traceback
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Protocol

from bench.inside.lun import Lun, check_stamp, lun_of

AT_ONCE = 16


class Contender(Protocol):
    """One way to attach."""

    def attach(self, lun: Lun) -> str:
        """Attach; returns the path that is handed out."""

    def detach(self, lun: Lun) -> None:
        """Undo it; returns when it is gone."""


def serve(make: Callable[[Mapping[str, Any]], Contender]) -> None:
    """Answer until stdin ends. The first line holds the contender's options. What libraries print goes to stderr."""
    answers = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)
    contender = make(json.loads(sys.stdin.readline()))
    with ThreadPoolExecutor(AT_ONCE) as pool:
        together = threading.Barrier(AT_ONCE)
        list(pool.map(lambda _: together.wait(), range(AT_ONCE)))  # all threads are there before the first request
        answers.write(json.dumps({"ready": os.getpid()}) + "\n")
        for line in sys.stdin:
            answers.write(json.dumps(_answer(contender, pool, json.loads(line))) + "\n")


def _answer(contender: Contender, pool: ThreadPoolExecutor, request: Mapping[str, Any]) -> dict[str, Any]:
    """Do what is asked with all its LUNs at once; `ms` runs from the first call to the last proof."""
    work = {"attach": _attach, "detach": _detach}[request["verb"]]
    luns = [lun_of(values) for values in request["luns"]]
    began = time.monotonic()
    try:
        _all(work, contender, pool, luns)
    except Exception as error:
        return {"error": f"{type(error).__name__}: {error}", "trace": traceback.format_exc()}
    return {"ms": (time.monotonic() - began) * 1e3}


def _all(
    work: Callable[[Contender, Lun], None], contender: Contender, pool: ThreadPoolExecutor, luns: Sequence[Lun]
) -> None:
    if len(luns) == 1:
        work(contender, luns[0])
        return
    for future in [pool.submit(work, contender, lun) for lun in luns]:
        future.result()


def _attach(contender: Contender, lun: Lun) -> None:
    check_stamp(contender.attach(lun), lun)


def _detach(contender: Contender, lun: Lun) -> None:
    contender.detach(lun)
