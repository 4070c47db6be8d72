"""The options that an NFS export is mounted with: constants and configuration, and nothing that a server says. Pure."""

import re
from dataclasses import dataclass

from attachers.problems import Code, Problem

ALWAYS = ("nosuid", "nodev", "noexec", "nosymfollow")
"""What every mount of ours has: no guest's or server's file is a program, a device or a way to elsewhere here."""
CONSTANT = ("lookupcache=none",)
"""Each look asks the server which file lies at a name, and how large it is: one that was just made is found at once,
and one in another's place is not taken for that for as long as a directory's attributes are remembered, a minute
(nfs(5)). Names are only looked up by looks and opens, a few an hour; reading and writing an open file needs none.
"""
_FLAGS = {
    "nosuid": 2,
    "nodev": 4,
    "noexec": 8,
    "sync": 16,
    "nosymfollow": 256,
    "noatime": 1 << 10,
    "nodiratime": 1 << 11,
    "relatime": 1 << 21,
    "strictatime": 1 << 24,
    "lazytime": 1 << 25,
}
"""What mount(2) takes as flags (include/uapi/linux/mount.h); the rest is text for the file system."""
_WORDS = frozenset(
    {"hard", "soft", "softerr", "softreval", "ac", "noac", "cto", "nocto", "acl", "noacl", "fsc", "migration"}
    | {"nomigration", "resvport", "noresvport", "sharecache", "nosharecache"}
)
_VALUED = frozenset(
    {"timeo", "retrans", "rsize", "wsize", "nconnect", "max_connect", "acregmin", "acregmax", "acdirmin", "acdirmax"}
    | {"actimeo", "proto", "port", "sec", "local_lock", "xprtsec", "write"}
)
_VALUE = re.compile(r"[a-z0-9_-]{1,32}", re.ASCII)


@dataclass(frozen=True, slots=True)
class Options:
    """Mount options as mount(2) takes them: the flags together, and the file system's own."""

    flags: int
    words: tuple[str, ...]


def parse(text: str, *, field: str = "options") -> Options:
    """The configured options and those that are always there.

    Raises `Problem` (`invalid-request`) for one that is not known, or that would undo what is always there.
    """
    flags, words = sum(_FLAGS[name] for name in ALWAYS), list(CONSTANT)
    for option in text.split(",") if text else []:
        name, equals, value = option.partition("=")
        if not equals and name in _FLAGS:
            flags |= _FLAGS[name]
        elif (not equals and name in _WORDS) or (equals and name in _VALUED and _VALUE.fullmatch(value)):
            words.append(option)
        else:
            detail = f"{field}: {ascii(option)[:80]} is not a mount option that may be set here"
            hint = "give options with commas between them, such as hard,noatime: see cdmi-attachd.conf(5)"
            raise Problem(Code.INVALID_REQUEST, detail, hint=hint)
    return Options(flags, tuple(words))


def missing(effective: str) -> tuple[str, ...]:
    """Which of what is always there a mount does not have, by its options in the mount table."""
    return tuple(name for name in ALWAYS if name not in effective.split(","))


def can_discard(effective: str) -> bool:
    """Whether holes can be made in files of that mount: with NFS 4.2 (DEALLOCATE, RFC 7862), and not below."""
    return version_in(effective) == "4.2"


def version_in(effective: str) -> str:
    """The NFS version that a mount really runs, by its options in the mount table; empty where it has none."""
    return next((option.removeprefix("vers=") for option in effective.split(",") if option.startswith("vers=")), "")
