"""One target under fire, in this process: by atheris where it is there (guided by coverage), else by our own loop."""

import hashlib
import importlib.util
import json
import logging
import random
import resource
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

NAMES = (
    *("exports", "objects", "sources", "redirects", "json", "vpd83", "requests", "changes", "messages", "answers"),
    "helper",
)
"""The targets; what they import is imported last, so that atheris can see which of its lines run."""
MOST_BYTES = 4096
STALL_S = 0.1
"""What one input may take of the processor: the event loop stands still for so long."""
OF_MANY_S = 20.0
"""What an input may take that stands for many messages, each of which has its own turn."""
MOST_KIB = 256 << 10
"""What the process may grow to."""


@dataclass
class Result:
    """What was done to one target."""

    target: str
    engine: str
    seed: int
    executions: int = 0
    messages: int = 0
    seconds: float = 0.0
    slowest_ms: float = 0.0
    peak_mib: float = 0.0
    failure: str = ""


class Fire:
    """Runs one input after the other, and holds each to its bounds."""

    def __init__(self, name: str, run: Callable[[bytes], int | None], result: Result) -> None:
        self.name, self.result = name, result
        self._run = run

    def __call__(self, data: bytes) -> None:
        """Run one input. Raises whatever the target lets through, and `AssertionError` where it takes too long."""
        began = time.thread_time()
        said = self._run(data)
        took = time.thread_time() - began
        self.result.executions += 1
        self.result.messages += said or 1
        self.result.slowest_ms = max(self.result.slowest_ms, took * 1000)
        assert took < (OF_MANY_S if said else STALL_S), f"{took:.3f} s of the processor for one input"


def run(name: str, engine: str, *, seconds: float, seed: int, folder: Path) -> Result:
    """Fire at one target for so long; what makes it fail is kept in the folder."""
    logging.disable(logging.CRITICAL)
    folder.mkdir(parents=True, exist_ok=True)
    guided = engine != "own" and importlib.util.find_spec("atheris") is not None
    result = Result(name, "atheris" if guided else "own", seed)
    (_atheris if guided else _own)(name, result, seconds, folder)
    return result


def replay(name: str, file: Path) -> None:
    """Run one input that was kept."""
    Fire(name, _target(name), Result(name, "replay", 0))(file.read_bytes())


def report(result: Result, began: float, folder: Path) -> None:
    """Write down what was done; the parent reads it."""
    result.seconds = round(time.monotonic() - began, 1)
    result.peak_mib = round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024, 1)
    if result.peak_mib * 1024 > MOST_KIB and not result.failure:
        result.failure = f"the process has grown to {result.peak_mib} MiB"
    (folder / f"{result.target}.json").write_text(json.dumps(asdict(result)))


def _target(name: str) -> Callable[[bytes], int | None]:
    if name == "answers":
        from tests.fuzz.answers import Answers

        return Answers().run
    if name == "helper":
        from tests.fuzz.hostile import Hostile

        return Hostile().run
    from tests.fuzz.targets import TARGETS

    return TARGETS[name]


def _own(name: str, result: Result, seconds: float, folder: Path) -> None:
    """Random bytes, and changes of those that were tried before."""
    fire, dice, began = Fire(name, _target(name), result), random.Random(result.seed), time.monotonic()
    kept = [b""]
    data = b""
    try:
        while time.monotonic() - began < seconds:
            data = _next(dice, kept)
            fire(data)
            if len(kept) < 500:
                kept.append(data)
            else:
                kept[dice.randrange(len(kept))] = data
    except Exception as error:
        result.failure = f"{type(error).__name__}: {ascii(str(error))[:300]}"
        (folder / f"{name}-{hashlib.sha256(data).hexdigest()[:12]}.bin").write_bytes(data)
    report(result, began, folder)


def _next(dice: random.Random, kept: list[bytes]) -> bytes:
    data = bytearray(dice.choice(kept) if dice.random() < 0.5 else dice.randbytes(dice.randrange(300)))
    for _ in range(dice.randrange(4)):
        at = dice.randrange(len(data) + 1)
        match dice.randrange(3):
            case 0:
                data[at:at] = dice.randbytes(dice.randrange(8))
            case 1:
                del data[at : at + dice.randrange(8)]
            case _:
                data[at : at + 1] = dice.randbytes(1)
    return bytes(data[:MOST_BYTES])


def _atheris(name: str, result: Result, seconds: float, folder: Path) -> None:
    import atheris

    with atheris.instrument_imports(include=["agent", "attachers"]):
        fire = Fire(name, _target(name), result)
    began = time.monotonic()

    def one(data: bytes) -> None:
        """Libfuzzer ends the process at its limit without a word to us: so we do, a moment before."""
        try:
            fire(data)
        except Exception as error:
            result.failure = f"{type(error).__name__}: {ascii(str(error))[:300]}"
            report(result, began, folder)
            raise
        if time.monotonic() - began >= seconds:
            report(result, began, folder)
            sys.stdout.flush()
            raise SystemExit(0)

    corpus = folder / "corpus" / name
    corpus.mkdir(parents=True, exist_ok=True)
    options = [f"-seed={result.seed}", f"-max_len={MOST_BYTES}", "-timeout=30", f"-artifact_prefix={folder}/{name}-"]
    atheris.Setup([sys.argv[0], str(corpus), *options, "-verbosity=0"], one)
    atheris.Fuzz()
