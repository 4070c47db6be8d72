"""The frame of every script: one plain line on standard error when it fails, nothing on the way."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence

from cdmi_one.failure import Failure, one_line

USAGE = "cdmi_one tm|datastore|hook VERB ARGUMENTS"
_NEEDED = {
    "tm": {
        **dict.fromkeys(("ln", "clone", "mv", "mvds", "premigrate", "postmigrate", "failmigrate", "resize"), 3),
        **dict.fromkeys(("snap_create", "snap_create_live", "snap_revert", "snap_delete"), 3),
        **{"delete": 2, "cpds": 4},
    },
    "datastore": dict.fromkeys(
        ("cp", "stat", "mkfs", "clone", "rm", "monitor", "export", "snap_delete", "snap_revert"), 1
    ),
}
"""How many arguments a script is called with at least."""
Verb = Callable[[Sequence[str]], None]


def main(words: Sequence[str]) -> int:
    """Run one verb of one driver. Returns the exit status: 0, or 1 after the line."""
    try:
        _verb(words)(words[2:])
    except Failure as failure:
        return _fail(words, str(failure))
    except KeyboardInterrupt:
        return _fail(words, "interrupted; what was begun on the host goes on")
    except Exception as error:  # oned knows lines only: the cause is in the system's log
        _log()
        return _fail(words, f"internal error: {type(error).__name__}: {error}; see the system's log (cdmi_one)")
    return 0


def _verb(words: Sequence[str]) -> Verb:
    verbs = _driver(words[0] if words else "")
    if len(words) < 2 or words[1] not in verbs:
        raise Failure(f"there is no verb {' '.join(words[:2])}", f"usage: {USAGE}")
    given, needed = len(words) - 2, _NEEDED.get(words[0], {}).get(words[1], 0)
    if given < needed:
        raise Failure(f"{given} of {needed} arguments are there", "this script is run by OpenNebula")
    return verbs[words[1]]


def _driver(name: str) -> Mapping[str, Verb]:
    if name == "tm":
        from cdmi_one import tm

        return tm.VERBS
    if name == "datastore":
        from cdmi_one import datastore

        return datastore.VERBS
    if name == "hook":
        from cdmi_one import hook

        return hook.VERBS
    return {}


def _fail(words: Sequence[str], text: str) -> int:
    """The line names the script, so that it is no line of oned's own kinds (`ERROR: ...` would go to its log alone)."""
    print(one_line(f"cdmi/{words[1] if len(words) > 1 else '?'}: {text}"), file=sys.stderr)
    return 1


def _log() -> None:
    """The exception of the moment; what this needs is loaded for that alone: a script's start is a VM's wait."""
    import syslog
    import traceback

    syslog.openlog("cdmi_one")
    for line in traceback.format_exc().splitlines():
        syslog.syslog(syslog.LOG_ERR, line)
