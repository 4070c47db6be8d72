"""Logging: every line carries its attachment's name, goes to the journal with fields, and cannot forge another line."""

import contextvars
import importlib
import logging
import os
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, TextIO

attachment: contextvars.ContextVar[str] = contextvars.ContextVar("attachment", default="")
caller: contextvars.ContextVar[str] = contextvars.ContextVar("caller", default="")
"""Who asked for what this task does, as a sentence has it; empty where nobody did."""

Send = Callable[..., object]
"""systemd.journal.send(MESSAGE, **fields)."""

_PRIORITIES = ((logging.CRITICAL, 2), (logging.ERROR, 3), (logging.WARNING, 4), (logging.INFO, 6), (0, 7))
_ESCAPES = {code: f"\\x{code:02x}" for code in (*range(0x20), *range(0x7F, 0xA0))} | {
    0x2028: "\\u2028",
    0x2029: "\\u2029",
}


@contextmanager
def bound(name: str) -> Iterator[None]:
    """Within it, every line of this task (and of tasks started in it) carries the attachment's name."""
    token = attachment.set(name)
    try:
        yield
    finally:
        attachment.reset(token)


def escaped(text: str) -> str:
    """The text on one line, its control characters visible."""
    return text.translate(_ESCAPES)


def setup_logging(
    *, verbose: bool = False, identifier: str = "cdmi-attachd", environ: Mapping[str, str] = os.environ
) -> None:
    """Log to the journal under systemd, else to stderr: with `<N>` priorities, or plainly on a terminal.

    `verbose` adds what is being waited for. A record's `extra={"step": ...}` becomes the field CDMI_STEP; other
    fields are given as `extra={"CDMI_...": ...}`.
    """
    root = logging.getLogger()
    root.handlers[:] = [_handler(identifier, environ)]
    root.setLevel(logging.DEBUG if verbose else logging.INFO)
    logging.captureWarnings(True)


def _handler(identifier: str, environ: Mapping[str, str]) -> logging.Handler:
    under_systemd = _is_journal(environ.get("JOURNAL_STREAM", ""))
    if under_systemd and (send := _journal_send()) is not None:
        return JournalHandler(send, identifier)
    return StderrHandler(sys.stderr, prefixes=under_systemd or not sys.stderr.isatty())


def _is_journal(stream: str) -> bool:
    """Whether stderr is the journal's stream (systemd.exec(5), JOURNAL_STREAM): a child may have another stderr."""
    try:
        status = os.fstat(2)
    except OSError:
        return False
    return stream == f"{status.st_dev}:{status.st_ino}"


def _journal_send() -> Send | None:
    try:
        journal = importlib.import_module("systemd.journal")
    except ImportError:
        return None
    send: Send = journal.send
    return send


def _priority(levelno: int) -> int:
    return next(priority for level, priority in _PRIORITIES if levelno >= level)


def _traceback(record: logging.LogRecord) -> list[str]:
    """Its lines, each marked, since the text of an exception may be somebody else's."""
    if not record.exc_info:
        return []
    return [f"  | {escaped(line)}" for line in logging.Formatter().formatException(record.exc_info).splitlines()]


class StderrHandler(logging.Handler):
    """One line per record, and one per line of a traceback."""

    def __init__(self, stream: TextIO, *, prefixes: bool) -> None:
        super().__init__()
        self._stream = stream
        self._prefixes = prefixes

    def emit(self, record: logging.LogRecord) -> None:
        """Write it."""
        try:
            self._write(record)
        except (OSError, ValueError, TypeError):
            self.handleError(record)

    def _write(self, record: logging.LogRecord) -> None:
        name = attachment.get()
        prefix = f"<{_priority(record.levelno)}>" if self._prefixes else ""
        message = escaped(f"{name}: {record.getMessage()}" if name else record.getMessage())
        level = f"{record.levelname.lower()}: " if not self._prefixes and record.levelno >= logging.WARNING else ""
        lines = [f"{prefix}{level}{message}", *(prefix + line for line in _traceback(record))]
        self._stream.write("\n".join(lines) + "\n")
        self._stream.flush()


class JournalHandler(logging.Handler):
    """Each record with its fields (systemd.journal-fields(7)): CDMI_ATTACHMENT, CDMI_STEP, and any other CDMI_*."""

    def __init__(self, send: Send, identifier: str) -> None:
        super().__init__()
        self._send = send
        self._identifier = identifier

    def emit(self, record: logging.LogRecord) -> None:
        """Send it."""
        name = attachment.get()
        try:
            message = escaped(f"{name}: {record.getMessage()}" if name else record.getMessage())
            self._send("\n".join([message, *_traceback(record)]), **self._fields(record, name))
        except (OSError, ValueError, TypeError):
            self.handleError(record)

    def _fields(self, record: logging.LogRecord, name: str) -> dict[str, Any]:
        fields: dict[str, Any] = {
            "PRIORITY": str(_priority(record.levelno)),
            "SYSLOG_IDENTIFIER": self._identifier,
            "LOGGER": record.name,
            "CODE_FILE": record.pathname,
            "CODE_LINE": record.lineno,  # the one field that systemd.journal.send wants as a number
            "CODE_FUNC": record.funcName,
        }
        if name:
            fields["CDMI_ATTACHMENT"] = name
        if step := getattr(record, "step", ""):
            fields["CDMI_STEP"] = escaped(str(step))
        own = {
            key: escaped(str(value)) for key, value in vars(record).items() if key.startswith(("CDMI_", "MESSAGE_ID"))
        }
        return fields | own
