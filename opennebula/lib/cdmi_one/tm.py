"""The verbs of the transfer driver, by the names of their scripts."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from cdmi_one import deploying, migrating, moving, releasing

VERBS: Mapping[str, Callable[[Sequence[str]], None]] = {
    "ln": deploying.ln,
    "clone": deploying.clone,
    "mvds": releasing.mvds,
    "delete": releasing.delete,
    "mv": moving.mv,
    "premigrate": migrating.premigrate,
    "postmigrate": migrating.postmigrate,
    "failmigrate": migrating.failmigrate,
}
