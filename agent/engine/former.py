"""What the ledger keeps of a plan that was given up."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Former:
    """A plan that was given up, and what of it may be left on the host: see `Row`. `why` it is, as of the last try."""

    protocol: str
    uri: str
    key: str
    plan: Mapping[str, Any]
    why: str = ""
