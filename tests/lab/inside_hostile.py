"""Runs in a guest, as the daemon's user: ask the real helper for what configuration and record do not allow.

    runuser -u cdmi-attach -- python3 -m tests.lab.inside_hostile '{"target": ..., "portal": ..., "hctl": ..., ...}'

Prints one line of JSON: what each request came to.
"""

import json
import os
import socket
import sys
from typing import Any

from agent import wire
from agent.shown_memory import Memory, made
from attachers.nfs_share import Share
from attachers.sights import BlocksQuery, IscsiQuery, Query
from attachers.steps import (
    STEPS,
    AnnounceMap,
    CreateRecord,
    GiveDisk,
    Login,
    Logout,
    Mount,
    Own,
    Publish,
    RemoveDevice,
    Rescan,
    Scan,
    Step,
    Unpublish,
)

HELPER = "/run/cdmi-attach/helper.sock"
LIMIT_S = 20
ABROAD = "192.0.2.1"
"""Of no configured server (RFC 5737)."""


class Helper:
    """One connection to the helper, without a line of the daemon's."""

    def __init__(self) -> None:
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._socket.settimeout(2 * LIMIT_S)
        self._socket.connect(HELPER)
        self._said = self._socket.makefile("rb")
        self._last = 0

    def ask(self, said: Step | Query, **instead: object) -> str:
        """What came of one request: `done`, or the code of its problem. `instead` are other values of its fields."""
        self._last += 1
        value: Any = wire.encode(said) | instead
        verb = "act" if isinstance(said, STEPS) else "observe"
        if verb == "act":
            value = {"step": value, "then": None}
        asked = {"id": self._last, "verb": verb, "value": value, "timeout_s": LIMIT_S, "attachment": ""}
        self._socket.sendall(wire.pack(asked))
        while (answer := self._next()).get("id") != self._last:
            pass  # news of the host
        return str(answer["problem"]["code"]) if "problem" in answer else "done" if "value" in answer else "uncertain"

    def _next(self) -> dict[str, Any]:
        return wire.parse(self._said.read(int.from_bytes(self._said.read(4), "big")))


def plot(scene: dict[str, str]) -> dict[str, Step | Query]:
    """What is asked for, by what it is: an administrator's disk, its session, his links; other hosts, other owners."""
    target, portal, hctl, wwid = scene["target"], scene["portal"], scene["hctl"], scene["wwid"]
    lun = int(hctl.rpartition(":")[2])
    return {
        "record elsewhere": CreateRecord(target, f"{ABROAD}:3260"),
        "secrets elsewhere": CreateRecord(target, f"{ABROAD}:3260", chap=scene["server"]),
        "login with others' secrets": Login(target, portal, chap=f"https://{ABROAD}/"),
        "login with secrets": Login(target, portal, chap=scene["server"]),
        "look": IscsiQuery("hostile", target, (portal,), lun, wwid),
        "own": Own((target,), lun),
        "scan": Scan(f"{hctl.rpartition(':')[0]}:77", target, portal),
        "publish": Publish("hostile", hctl, wwid, True, ""),
        "publish to write": Publish("hostile", hctl, wwid, False, ""),
        "publish to root": Publish("hostile", hctl, wwid, False, "root:root"),
        "a map of root's": AnnounceMap(wwid, "root:root"),
        "rescan": Rescan(hctl, wwid),
        "give": GiveDisk("hostile", "web", "sda", "scsi", False),
        "give somebody's link": GiveDisk("theirs", "web", "sda", "scsi", True),
        "take somebody's link": Unpublish("theirs", wwid),
        "remove": RemoveDevice(hctl, wwid),
        "log out": Logout(target, portal),
        "mount": Mount(Share(ABROAD, "/", "4.2"), ""),
    }


def run(scene: dict[str, str], memory: Memory) -> dict[str, str]:
    """All of them, and to read a disk that is not handed out, and one that is no object's at all."""
    helper = Helper()
    said = {what: helper.ask(one) for what, one in plot(scene).items()}
    blocks = BlocksQuery(scene["wwid"], 0, 4096, os.getpid(), memory.fd, memory.inode)
    return said | {"read": helper.ask(blocks), "read /dev/vda": helper.ask(blocks, wwid="/dev/vda")}


if __name__ == "__main__":
    with made(4096) as shown:
        print(json.dumps(run(json.loads(sys.argv[1]), shown)))
        assert not any(shown.view), "and nothing was written into our memory"
