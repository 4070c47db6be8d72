"""Secrets that the configuration names: a systemd credential or a file, never the value itself."""

import os
import re
import stat
from dataclasses import dataclass
from pathlib import Path

from agent.config_table import Table
from agent.secret import Secret

MAX_BYTES = 4096
_CREDENTIAL = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,127}", re.ASCII)


@dataclass(frozen=True, slots=True)
class Named:
    """Where a secret is: a credential of a unit, or a file. At most one is set."""

    credential: str = ""
    file: str = ""

    def __bool__(self) -> bool:
        return bool(self.credential or self.file)


NOTHING = Named()


def named(table: Table, key: str) -> Named:
    """`KEY_credential` or `KEY_file` of a table; at most one of them."""
    found = Named(
        credential=table.text(f"{key}_credential", check=_credential), file=table.text(f"{key}_file", check=_absolute)
    )
    if found.credential and found.file:
        table.complain(f"{key}_file", f"and {key}_credential are both given", "keep one of them")
    return found


@dataclass(frozen=True, slots=True)
class Reader:
    """Reads what is named; an error is noted in the table, without the secret. `opens` False: it only reads names."""

    credentials: str | None
    need_credentials: bool = True
    opens: bool = True

    def read(self, table: Table, key: str) -> Secret | None:
        """The secret that `KEY_credential` or `KEY_file` names, None when neither is there or it cannot be read."""
        found = named(table, key)
        if found and not self.opens:
            return Secret("unread")
        if found.credential:
            return self._credential(table, key, found.credential)
        return _read_file(table, f"{key}_file", Path(found.file)) if found.file else None

    def path(self, table: Table, key: str) -> str | None:
        """Where the secret is that `KEY_credential` or `KEY_file` names, for who reads it as a file (TLS keys)."""
        found = named(table, key)
        if found and not self.opens:
            return found.file or found.credential
        if found.credential:
            path = self._credential_path(table, key, found.credential)
            return str(path) if path else None
        if found.file and _is_private(table, f"{key}_file", Path(found.file)):
            return found.file
        return None

    def _credential(self, table: Table, key: str, name: str) -> Secret | None:
        if self.credentials is None and not self.need_credentials:
            return Secret(name)  # a stand-in: a shell has no credentials, and the rest can be checked all the same
        path = self._credential_path(table, key, name)
        return _read_file(table, f"{key}_credential", path, private=True) if path else None

    def _credential_path(self, table: Table, key: str, name: str) -> Path | None:
        path = Path(self.credentials or "/run/credentials/cdmi-attachd.service") / name
        if self.need_credentials and (self.credentials is None or not path.exists()):
            remedy = f"put LoadCredential={name}:/etc/cdmi-attach/credentials/{name} into cdmi-attachd.service"
            table.complain(f"{key}_credential", f"there is no systemd credential {name}", remedy)
            return None
        return path


def _is_private(table: Table, key: str, path: Path) -> bool:
    """Whether the file can be read by us, and by nobody else."""
    try:
        with path.open("rb") as file:
            mode = stat.S_IMODE(os.fstat(file.fileno()).st_mode)
    except OSError as error:
        what = f"{path} cannot be read ({error.strerror})"
        table.complain(key, what, f"create it: install -m 0400 -o cdmi-attach /dev/stdin {path}")
        return False
    if mode & 0o077:
        table.complain(key, f"{path} is open to others", f"chown cdmi-attach {path} && chmod 0400 {path}")
    return not mode & 0o077


def _read_file(table: Table, key: str, path: Path, *, private: bool = False) -> Secret | None:
    """`private`: the directory is nobody else's, whatever the file's own mode."""
    try:
        with path.open("rb") as file:
            mode = 0 if private else stat.S_IMODE(os.fstat(file.fileno()).st_mode)
            text = file.read(MAX_BYTES + 1).decode("utf-8").removesuffix("\n").removesuffix("\r")
    except OSError as error:
        what = f"{path} cannot be read ({error.strerror})"
        table.complain(key, what, f"create it: install -m 0400 -o cdmi-attach /dev/stdin {path}")
        return None
    except UnicodeDecodeError:
        table.complain(key, f"{path} is not text", "write the secret alone into it, as UTF-8")
        return None
    if mode & 0o077:  # the daemon's group is that of its callers
        table.complain(key, f"{path} is open to others", f"chown cdmi-attach {path} && chmod 0400 {path}")
    elif not 0 < len(text) <= MAX_BYTES or not text.isprintable():
        table.complain(key, f"{path} has no usable secret", "write the secret alone into it, on one line")
    else:
        return Secret(text)
    return None


def _credential(text: str) -> str:
    if not _CREDENTIAL.fullmatch(text):
        raise ValueError("the name of a systemd credential")
    return text


def _absolute(text: str) -> str:
    if not text.startswith("/") or not text.isprintable():
        raise ValueError("an absolute path")
    return text
