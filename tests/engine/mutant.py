"""One planted bug, as a value."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Mutant:
    """A bug: the text that is replaced in one file, and what stands there instead.

    `suite` are the tests that have to find it; none: those of the engine.
    """

    name: str
    file: str
    right: str
    wrong: str
    suite: tuple[str, ...] = ()
