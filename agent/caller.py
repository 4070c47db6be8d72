"""Who asks the daemon for something, and what they may change."""

import os
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Caller:
    """Who asks: a user and a process (SO_PEERCRED); `admin`: it may change what other users have attached, too."""

    uid: int
    pid: int = 0
    admin: bool = False


DAEMON = Caller(os.geteuid(), os.getpid(), admin=True)
"""The daemon itself."""
