"""The hashes that servers tell of values, as hashlib calls them. Pure."""

import hashlib
import re
from collections.abc import Mapping

from agent.cdmi.text import shown

_HASH = re.compile(r"[0-9a-f]{8,256}", re.ASCII)
_KNOWN = {"md5": 16, "sha1": 20, "sha224": 28, "sha256": 32, "sha384": 48, "sha512": 64}


def told(metadata: Mapping[str, str]) -> tuple[str, str] | None:
    """Algorithm and digest, where the server computes one (CDMI 1.1 clause 16.4: cdmi_value_hash, cdmi_hash)."""
    digest = metadata.get("cdmi_hash", "").strip().lower()
    if not _HASH.fullmatch(digest):
        return None
    named = metadata.get("cdmi_value_hash_provided") or metadata.get("cdmi_value_hash") or ""
    return shown(named, 40), digest


def usable(metadata: Mapping[str, str]) -> tuple[str, str] | None:
    """The same where it can be computed here, the algorithm as hashlib has it: SHA-256 and sha256 are one."""
    named, digest = told(metadata) or ("", "")
    name = named.casefold().replace("-", "").replace("_", "")
    fits = _KNOWN.get(name) == len(digest) // 2 and name in hashlib.algorithms_available
    return (name, digest) if fits else None
