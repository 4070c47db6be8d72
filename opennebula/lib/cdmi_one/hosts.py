"""Where something is done: on the host that oned names, on the front-end, or through any host with a daemon."""

from __future__ import annotations

import os
from collections.abc import Sequence

from cdmi_one.failure import Failure
from cdmi_one.remote import HERE, LONG_S, MISSING, UNREACHABLE, RemoteFailure, run
from cdmi_one.settings import Settings

NO_DAEMON = 3
ELSEWHERE = (NO_DAEMON, MISSING, UNREACHABLE)
"""Statuses after which another host may be asked, where nothing was begun."""
BEGUN = "begun"
AWAY = f"cdmi-attach host >/dev/null || {{ s=$?; case $s in {NO_DAEMON}|{MISSING}) exit $s;; esac; }}"


def is_front_end(host: str, settings: Settings) -> bool:
    """Whether that name is the front-end's."""
    return host in {os.uname().nodename, "localhost", *settings.front_end}


def detach_at(host: str, settings: Settings, lines: Sequence[str]) -> str:
    """What takes disks away from a host. A front-end without the command has none. Raises `Failure`."""
    if not is_front_end(host, settings):
        return run(host, lines)
    try:
        return run(HERE, ["command -v cdmi-attach >/dev/null || exit 127", *lines])
    except RemoteFailure as failure:
        if failure.status != MISSING:
            raise
        return ""


def reachable(settings: Settings) -> str:
    """The first host with a daemon, the front-end before all others. Raises `Failure`."""
    said = []
    for one in dict.fromkeys((HERE, *settings.bridges)):
        try:
            run(one, ["cdmi-attach host >/dev/null"])
            return one
        except RemoteFailure as failure:
            said.append(failure.detail)
    raise Failure("; ".join(said), "name a host with a daemon in BRIDGE_LIST of cdmi.conf, and retry")


def through(host: str, settings: Settings, lines: Sequence[str]) -> str:
    """What a server is asked for, through that host's daemon, or another's where it has none. Raises `Failure`.

    What has begun may go on though the daemon, or the way to the host, was lost: nobody else is asked for it then.
    """
    first = HERE if host == HERE or is_front_end(host, settings) else host
    failures: list[RemoteFailure] = []
    for one in dict.fromkeys((first, *settings.bridges)):
        try:
            return run(one, [AWAY, f"echo {BEGUN}", *lines], limit_s=LONG_S).removeprefix(f"{BEGUN}\n")
        except RemoteFailure as failure:
            if failure.status not in ELSEWHERE or failure.printed.startswith(BEGUN):
                raise
            failures.append(failure)
    said = "; ".join(failure.detail for failure in failures)
    raise Failure(said, "name a host with a daemon in BRIDGE_LIST of cdmi.conf, and retry")
