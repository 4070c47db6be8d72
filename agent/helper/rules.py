"""Root's own configuration, as the helper believes it: only files that root alone can have written."""

import logging
from pathlib import Path

from agent.config import ConfigError, load_config
from agent.host import root_files
from agent.host.allowed import Allowed, allowed_by
from agent.messages import Message, fields
from attachers.problems import Code, Problem

log = logging.getLogger(__name__)
Signature = tuple[tuple[str, int, int, int, int, int, int], ...]
"""Of each file and directory: its path, and what changes with it."""


class Rules:
    """What the files at `path` allow: read again whenever they have changed, and when told to.

    A mistake in them changes nothing that was allowed before; without any that is right, nothing is allowed.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._read: Signature | None = None
        self._allowed: Allowed | None = None
        self._flaw = "it has not been read yet"

    def __call__(self) -> Allowed:
        """What is allowed now. Raises `Problem` (`unavailable`) where there is no usable configuration."""
        if self._read != self._signature():
            self.load()
        if self._allowed is None:
            text = f"the helper has no usable configuration: {self._flaw}"
            raise Problem(Code.UNAVAILABLE, text, hint="correct it: see cdmi-attachd.conf(5)")
        return self._allowed

    def load(self) -> None:
        """Read the files now; what is wrong with them is logged."""
        self._read = self._signature()
        try:
            self._insist_on_root()
            # Its secrets are the daemon's, and none of the helper's business.
            self._allowed = allowed_by(load_config(self._path, read_secrets=False))
        except (ConfigError, OSError) as error:
            self._flaw = str(error).partition("\n")[0]
            kept = "nothing is attached until it is right" if self._allowed is None else "what it allowed before stays"
            log.error("the configuration is not used, %s: %s", kept, error, extra=fields(Message.CONFIG_REFUSED))
        else:
            log.info("the configuration was read: %d servers", len(self._allowed.places))

    def _insist_on_root(self) -> None:
        for place in root_files.places(self._path):
            if found := root_files.flaw(place, place.stat()):
                raise ConfigError(("; ".join(found),))

    def _signature(self) -> Signature:
        found = []
        for place in root_files.places(self._path):
            try:
                seen = place.stat()
            except OSError:
                continue
            changed = (seen.st_mtime_ns, seen.st_ctime_ns)
            found.append((str(place), seen.st_ino, seen.st_size, seen.st_mode, seen.st_uid, *changed))
        return tuple(found)
