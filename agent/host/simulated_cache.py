"""The cache of a simulated disk: what is written stays on the host until it is written out, and may be lost.

As in Linux, an error of a write-out is told once: what could not be written is forgotten, and the next one succeeds.
"""

from agent.host.simulated_kernel import Kernel
from attachers.problems import REMEDY_OF_DIRTY, Code, Problem
from attachers.steps import RemoveDevice, RemoveDisk, RemoveMap, WriteOutFile

WritesOut = RemoveDevice | RemoveDisk | RemoveMap | WriteOutFile


def write_out(kernel: Kernel, step: WritesOut, wwid: str, cached: list[str]) -> None:
    """Have the logical unit get what is cached of it. Raises `Problem` dirty, unless the step knows of the loss."""
    if wwid in kernel.unwritten and not step.lost:
        raise _dirty(step, f"an earlier write-out of {wwid} failed, or was not seen to succeed")
    fails = kernel.san.failing.get(wwid, 0)
    lost, cached[:] = list(cached), []
    if fails:
        kernel.san.failing[wwid] = fails - 1
        kernel.unwritten.add(wwid)
        if not step.lost:
            raise _dirty(step, f"what was written to {wwid} could not be written out: Input/output error")
    else:
        kernel.san.stored.setdefault(wwid, []).extend(lost)


def _dirty(step: WritesOut, text: str) -> Problem:
    return Problem(Code.DIRTY, text, hint=REMEDY_OF_DIRTY, step=step.describe())
