"""What is changed on servers through us at this moment: it is not attached meanwhile, nor changed by two at once."""

from collections import Counter
from collections.abc import Collection, Iterator, Set
from contextlib import contextmanager

from attachers.problems import Code, Problem


class Touched:
    """The keys (see `agent.uses.known_by`) of objects that are being written, deleted, moved, brought back, shrunk."""

    def __init__(self) -> None:
        self._now: Counter[str] = Counter()
        self._watches: list[set[str]] = []

    def among(self, keys: Set[str]) -> Set[str]:
        """Those of the keys that are held."""
        return keys & self._now.keys()

    @contextmanager
    def hold(self, keys: Collection[str]) -> Iterator[None]:
        """They are held until the end; whether another holds them is for the caller to look at before."""
        mine = frozenset(keys)
        self._now.update(mine)
        for watch in self._watches:
            watch |= mine
        try:
            yield
        finally:
            self._now -= Counter(mine)

    @contextmanager
    def watch(self) -> Iterator[Set[str]]:
        """All keys that are held, or come to be, until the end: what was read of these objects may be old."""
        seen = set(self._now)
        self._watches.append(seen)
        try:
            yield seen
        finally:
            self._watches = [one for one in self._watches if one is not seen]


def refuse_touched(touched: Touched, keys: Set[str], what: str) -> None:
    """Raises `Problem` (`busy`) where one of them is held. `what` names the object, with its field."""
    if touched.among(keys):
        detail = f"{what} is being written here, or deleted, moved, brought back or made smaller"
        raise Problem(Code.BUSY, detail, hint="try again when that is done")
