"""Runs in a guest: attach and detach one LUN many times, while another host does the same, and look at its permissions.

    python3 -m tests.lab.inside_grants ROUNDS < '{"source": ..., "stamp": ..., "us": ..., "third": ..., ...}'

Prints one line of JSON: how long it took, and every round in which something was not as it has to be.
"""

import base64
import http.client
import json
import mmap
import os
import ssl
import sys
import time
from typing import Any

from tests.lab.inside_soak import SETTLE_S, Unix

NAME = "contested"


class Server:
    """What the CDMI server says of the permissions, over one connection that is not the daemon's."""

    def __init__(self, scene: dict[str, str]) -> None:
        context = ssl.create_default_context(cafile=scene["ca_file"])
        self._connection = http.client.HTTPSConnection(scene["server"], 8443, timeout=SETTLE_S, context=context)
        self._path = scene["exports"]
        login = base64.b64encode(scene["login"].encode()).decode()
        self._headers = {"Authorization": f"Basic {login}", "X-CDMI-Specification-Version": "1.1.1"}

    def permissions(self) -> list[str]:
        """Who is let in now."""
        self._connection.request("GET", self._path, headers=self._headers)
        names: list[str] = json.load(self._connection.getresponse())["exports"]["Network/iSCSI"]["permissions"]
        return names


def call(method: str, body: Any = None) -> str:
    """One request for the attachment. Returns what is wrong with the answer, if anything."""
    connection = Unix("localhost", timeout=SETTLE_S)
    connection.request(method, f"/v1/attachments/{NAME}", None if body is None else json.dumps(body))
    answer = connection.getresponse()
    text = answer.read().decode()
    connection.close()
    return "" if answer.status in (201, 204) else f"{method}: {answer.status} {text}"


def read_stamp(length: int) -> str:
    """The first bytes of the disk, past every cache."""
    disk = os.open(f"/run/cdmi-attach/disk/{NAME}", os.O_RDONLY | os.O_DIRECT)
    try:
        with mmap.mmap(-1, mmap.PAGESIZE) as page:  # where direct I/O may write
            os.preadv(disk, [page], 0)
            return page[:length].decode(errors="replace")
    finally:
        os.close(disk)


def round_trip(scene: dict[str, str], server: Server) -> list[str]:
    """Attach, look, detach, look. Returns what was wrong."""
    wrong = [call("PUT", {"source": scene["source"]})]
    there = server.permissions()
    if scene["us"] not in there:
        wrong.append(f"attached, but the permissions are {there}")
    try:
        if (stamp := read_stamp(len(scene["stamp"]))) != scene["stamp"]:
            wrong.append(f"the disk says {stamp!r}")
    except OSError as error:
        wrong.append(f"the disk says {error}")
    wrong.append(call("DELETE"))
    after = server.permissions()
    if scene["us"] in after:
        wrong.append(f"detached, but the permissions are {after}")
    if not {scene["third"]} <= {*there} & {*after}:
        wrong.append(f"the third host is not in {there} or {after}")
    return [text for text in wrong if text]


def main() -> int:
    """Make the rounds. Returns 0; whoever reads the line judges it."""
    rounds, scene = int(sys.argv[1]), json.load(sys.stdin)
    server = Server(scene)
    wrong = []
    began, clock = time.time(), time.monotonic()
    for number in range(1, rounds + 1):
        wrong += [f"round {number}: {text}" for text in round_trip(scene, server)]
    told = {"rounds": rounds, "began": began, "seconds": round(time.monotonic() - clock, 1), "wrong": wrong}
    print(json.dumps(told))
    return 0


if __name__ == "__main__":
    sys.exit(main())
