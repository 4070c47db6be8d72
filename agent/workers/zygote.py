"""The zygote and its workers: the processes that run, one message at a time, what may sleep in the kernel.

The zygote is forked before the helper has a ledger, an event loop or a thread, so a worker forked from it inherits
none of them. Nothing here runs in the helper itself. A worker lives as long as its socket: it ends at end of file,
that is when the helper lets it go or dies, but never in the middle of a message.
"""

import array
import json
import os
import signal
import socket
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Never

from attachers.problems import Code, Problem

Functions = Mapping[str, Callable[..., Any]]
MESSAGE_BYTES = 160 * 1024  # below the default limit of one SOCK_SEQPACKET message (net.core.wmem_default, 208 KiB)
_KEPT_FD = 3


def run_zygote(control: socket.socket, functions: Functions) -> Never:
    """The body of the zygote: fork a worker for each socket that arrives on `control`; end when that closes."""
    status = 1
    try:
        control = _leave_parent(control)
        os.setsid()
        _rename("cdmi-zygote")
        signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # the kernel reaps: the helper learns of an end by end of file
        while (sockets := _receive(control)) is not None:
            for sock in sockets:
                _fork_worker(sock, functions)
        status = 0
    finally:
        os._exit(status)


def _leave_parent(control: socket.socket) -> socket.socket:
    """Keep standard output and error and this one socket; stop listening to the parent's signals."""
    for name in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(name, signal.SIG_IGN)
    signal.set_wakeup_fd(-1)
    null = os.open(os.devnull, os.O_RDONLY)
    os.dup2(null, 0)
    return _keep_only(control)


def _keep_only(kept: socket.socket) -> socket.socket:
    os.dup2(kept.detach(), _KEPT_FD, inheritable=False)
    os.closerange(_KEPT_FD + 1, os.sysconf("SC_OPEN_MAX"))
    return socket.socket(fileno=_KEPT_FD)


def _rename(name: str) -> None:
    Path("/proc/self/comm").write_text(name)


def _fork_worker(sock: socket.socket, functions: Functions) -> None:
    """Fork, or not where there is no room: the helper sees the worker's socket close, and may ask again later."""
    with sock:
        try:
            pid = os.fork()
        except OSError as error:
            sys.stderr.write(f"no new worker: {error}\n")
            return
        if pid == 0:
            _run_worker(sock, functions)


def _receive(control: socket.socket) -> list[socket.socket] | None:
    """The worker's socket, or none where there was no room for its descriptor; None at the end."""
    fds = array.array("i")
    data, ancillary, _, _ = control.recvmsg(16, socket.CMSG_SPACE(fds.itemsize), socket.MSG_CMSG_CLOEXEC)
    if not data:
        return None
    for _, _, payload in ancillary:
        fds.frombytes(payload[: len(payload) - len(payload) % fds.itemsize])
    return [socket.socket(fileno=fd) for fd in fds]


def _run_worker(sock: socket.socket, functions: Functions) -> Never:
    """The body of a worker: say hello, then answer one message after the other until end of file."""
    status = 1
    try:
        sock = _keep_only(sock)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        _rename("cdmi-worker")
        sock.send(json.dumps({"pid": os.getpid()}).encode())
        while data := sock.recv(MESSAGE_BYTES):
            sock.send(_answer(data, functions))
        status = 0
    except (BrokenPipeError, ConnectionResetError):
        status = 0  # let go while at work: nobody waits for the answer
    finally:
        sys.stderr.flush()
        os._exit(status)


def _answer(data: bytes, functions: Functions) -> bytes:
    message = json.loads(data)
    try:
        answer: dict[str, Any] = {"value": functions[message["call"]](**message["args"])}
    except Problem as problem:
        answer = _refusal(problem)
    except OSError as error:
        answer = _refusal(Problem(Code.UNAVAILABLE, f"{message['call']}: {error}"))
    except Exception as error:  # the process boundary: whatever went wrong is told on the other side
        answer = _refusal(Problem(Code.INTERNAL, f"{message['call']}: {type(error).__name__}: {error}"))
    encoded = json.dumps(answer).encode()
    if len(encoded) > MESSAGE_BYTES:
        encoded = json.dumps(_refusal(Problem(Code.INTERNAL, f"{message['call']}: the answer is too long"))).encode()
    return encoded


def _refusal(problem: Problem) -> dict[str, Any]:
    return {"problem": {"code": str(problem.code), "detail": problem.detail[:2000], "hint": problem.hint[:2000]}}
