"""The helper's side of the workers: hand out messages, wait with a deadline, leave stuck ones behind and count them."""

import array
import asyncio
import contextlib
import json
import os
import signal
import socket
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from agent.workers.zygote import MESSAGE_BYTES, Functions, run_zygote
from attachers.base import Uncertain
from attachers.problems import Code, Problem

AT_WORK = 16  # messages being worked on at a time, without the stragglers
STRAGGLERS = 64  # more stuck processes than this, and no new one is made
IDLE = 4  # idle workers that are kept
KILLED_S = 2.0  # how long a worker that was killed may take to end: what waits for a file server does so at once
END_S = 5.0  # the zygote has nothing to finish: it ends at once when its socket closes


@dataclass(frozen=True, slots=True)
class Straggler:
    """A worker that outlived its deadline: what it does, its pid (0: not known yet), and since when (monotonic)."""

    what: str
    pid: int
    since: float


class Abandoned(Uncertain):
    """A deadline passed. `ended` is done (with whatever result) when what was begun has really come to an end."""

    def __init__(self, what: str, ended: asyncio.Future[Any]) -> None:
        super().__init__(what)
        self.ended = ended


@dataclass(slots=True, eq=False)
class _Worker:
    sock: socket.socket
    pid: int = 0
    job: asyncio.Future[Any] | None = None
    straggling: Straggler | None = field(default=None)
    killed: str = ""


class Pool:
    """Workers for a fixed table of functions. Make it with `Pool.start`, use it from one event loop."""

    def __init__(self, control: socket.socket, zygote_pid: int) -> None:
        self._control = control
        self._zygote_pid = zygote_pid
        self._workers: set[_Worker] = set()
        self._idle: list[_Worker] = []
        self._slots = asyncio.Semaphore(AT_WORK)
        self.on_end: Callable[[], None] = lambda: None
        """Called whenever a straggler has come to its end."""

    @classmethod
    def start(cls, functions: Functions) -> "Pool":
        """Fork the zygote. To be called first of all: before threads, the event loop, and any open database."""
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        pid = os.fork()
        if pid == 0:
            run_zygote(theirs, functions)
        theirs.close()
        ours.setblocking(False)
        return cls(ours, pid)

    @property
    def zygote_pid(self) -> int:
        """The pid of the zygote, whose children are the workers."""
        return self._zygote_pid

    @property
    def stragglers(self) -> tuple[Straggler, ...]:
        """The workers that outlived their deadline and still have not come to an end."""
        return tuple(worker.straggling for worker in self._workers if worker.straggling)

    async def call(
        self, name: str, args: dict[str, Any], *, timeout_s: float, what: str = "", kill: bool = False
    ) -> Any:
        """Run one function of the table in a worker; `args` and the result are JSON values.

        Raises what the function raised as `Problem` (`unavailable` for an `OSError`, `internal` for a defect), or
        `Abandoned` when `timeout_s` ran out: the worker then goes on alone. Cancelling abandons it as well.

        With `kill`, for what may be broken off anywhere, the worker is killed then: once it has ended, nothing of it
        can take effect any more, and `Problem` (`target-timeout`) is raised. `Abandoned` only where it does not end.
        """
        deadline = time.monotonic() + timeout_s
        try:
            async with asyncio.timeout(timeout_s):
                await self._slots.acquire()
        except TimeoutError:
            raise Problem(Code.BUSY, f"{what or name}: no worker became free in {timeout_s:g} s") from None
        try:
            return await self._call(name, args, what or name, deadline, kill=kill)
        finally:
            self._slots.release()

    async def _call(self, name: str, args: dict[str, Any], what: str, deadline: float, *, kill: bool) -> Any:
        worker = self._idle.pop() if self._idle else self._spawn()
        job: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        job.add_done_callback(_look_at)
        worker.job = job
        try:
            worker.sock.send(json.dumps({"call": name, "args": args}).encode())
            await asyncio.wait({job}, timeout=deadline - time.monotonic())
            if kill and not job.done():
                await self._kill(worker, job, what)
        except OSError as error:
            self._gone(worker)
            raise Problem(Code.UNAVAILABLE, f"{what}: the worker is gone: {error}") from None
        finally:
            if not job.done():
                worker.straggling = Straggler(what, worker.pid, time.monotonic())
        if not job.done():
            raise Abandoned(what, job)
        return job.result()

    async def break_off(self, what: str) -> None:
        """End what outlived its deadline under that name, as `call` does with `kill`: what can be broken off, is."""
        stuck = [w for w in self._workers if w.straggling and w.straggling.what == what and w.job is not None]
        await asyncio.gather(*(self._kill(w, w.job, what) for w in stuck if w.job is not None))

    async def _kill(self, worker: _Worker, job: asyncio.Future[Any], what: str) -> None:
        """End a worker in the middle of its job, and wait a moment for that. Its pid is its own as long as it lives."""
        if worker.pid:  # else it has not even begun
            with contextlib.suppress(ProcessLookupError):
                fd = os.pidfd_open(worker.pid)
                try:
                    if _is_alive(worker.sock):
                        worker.killed = what
                        signal.pidfd_send_signal(fd, signal.SIGKILL)
                finally:
                    os.close(fd)
        await asyncio.wait({job}, timeout=KILLED_S)

    def _spawn(self) -> _Worker:
        if len(self.stragglers) >= STRAGGLERS:
            detail = f"{STRAGGLERS} operations are stuck in the kernel on this host"
            raise Problem(Code.UNAVAILABLE, detail, hint="see `cdmi-attach host`; a reboot ends processes in D state")
        try:
            worker = _Worker(_ask_for_worker(self._control))
        except OSError as error:
            hint = "restart cdmi-attach-helperd.service"
            raise Problem(Code.UNAVAILABLE, f"no new worker: {error}", hint=hint) from None
        self._workers.add(worker)
        asyncio.get_running_loop().add_reader(worker.sock, self._readable, worker)
        return worker

    def _readable(self, worker: _Worker) -> None:
        try:
            data = worker.sock.recv(MESSAGE_BYTES)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if not data:
            self._gone(worker)
            return
        message = json.loads(data)
        if "pid" in message:
            worker.pid = message["pid"]
            if worker.straggling:
                worker.straggling = Straggler(worker.straggling.what, worker.pid, worker.straggling.since)
            return
        _settle(worker.job, message)
        worker.job = None
        if worker.straggling or len(self._idle) >= IDLE:
            self._gone(worker)
        else:
            self._idle.append(worker)

    def _gone(self, worker: _Worker) -> None:
        """The worker has ended, or ends now that its socket closes."""
        if worker not in self._workers:
            return
        self._workers.discard(worker)
        asyncio.get_running_loop().remove_reader(worker.sock)
        worker.sock.close()
        if worker in self._idle:
            self._idle.remove(worker)
        if worker.job is not None:
            died = Problem(Code.UNAVAILABLE, f"the worker (pid {worker.pid}) died")
            if worker.killed:
                died = Problem(Code.TARGET_TIMEOUT, f"{worker.killed}: no answer in time")
            _settle(worker.job, {"problem": {"code": died.code, "detail": died.detail, "hint": ""}})
        if worker.straggling:
            self.on_end()

    def watch(self, lost: Callable[[], None]) -> None:
        """Call `lost` when the zygote has ended: no new worker comes of it any more. The helper has to start again."""
        loop = asyncio.get_running_loop()

        def end() -> None:
            loop.remove_reader(self._control)
            lost()

        loop.add_reader(self._control, end)  # it never says anything: this is its end

    async def close(self) -> None:
        """Let all workers go and end the zygote. Stragglers go on alone and end after what they are at."""
        for worker in list(self._workers):
            self._gone(worker)
        asyncio.get_running_loop().remove_reader(self._control)
        self._control.close()
        if not await _ended(self._zygote_pid, timeout_s=END_S):
            os.kill(self._zygote_pid, signal.SIGKILL)
        _reap(self._zygote_pid)


def _ask_for_worker(control: socket.socket) -> socket.socket:
    """Our end of a new worker's socket. Raises `OSError`."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with theirs:
        ours.setblocking(False)
        rights = (socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [theirs.fileno()]))
        try:
            control.sendmsg([b"fork"], [rights])
        except OSError:
            ours.close()
            raise
    return ours


def _is_alive(sock: socket.socket) -> bool:
    """Whether the process at the other end has not ended: only it holds that end."""
    try:
        return bool(sock.recv(1, socket.MSG_PEEK))
    except BlockingIOError:
        return True
    except OSError:
        return False


def _settle(job: asyncio.Future[Any] | None, message: dict[str, Any]) -> None:
    if job is None or job.done():
        return
    if problem := message.get("problem"):
        job.set_exception(Problem(Code(problem["code"]), problem["detail"], hint=problem["hint"]))
    else:
        job.set_result(message["value"])


def _look_at(job: asyncio.Future[Any]) -> None:
    """An abandoned job may fail without anybody asking: that is no defect, so asyncio need not complain."""
    if not job.cancelled():
        job.exception()


def _reap(pid: int) -> None:
    with contextlib.suppress(ChildProcessError):
        os.waitpid(pid, 0)


async def _ended(pid: int, *, timeout_s: float) -> bool:
    """Wait until a child has ended, without reaping it."""
    try:
        fd = os.pidfd_open(pid)
    except ProcessLookupError:
        return True
    loop = asyncio.get_running_loop()
    ended = asyncio.Event()
    loop.add_reader(fd, ended.set)
    try:
        async with asyncio.timeout(timeout_s):
            await ended.wait()
    except TimeoutError:
        return False
    finally:
        loop.remove_reader(fd)
        os.close(fd)
    return True
