"""Logging: the attachment's name on every line, the journal's fields, and no forged lines."""

import asyncio
import io
import logging
from typing import Any

from agent.log import JournalHandler, StderrHandler, attachment, bound, escaped


def logger(handler: logging.Handler) -> logging.Logger:
    """A logger of its own."""
    log = logging.Logger("test")
    log.addHandler(handler)
    return log


def test_the_name_is_on_every_line_of_its_task_and_on_no_other() -> None:
    stream = io.StringIO()
    log = logger(StderrHandler(stream, prefixes=True))

    async def work(name: str) -> None:
        with bound(name):
            log.info("begin")
            await asyncio.gather(inner())
        log.info("end")

    async def inner() -> None:
        log.warning("inside")

    async def both() -> None:
        await asyncio.gather(work("a"), work("b"))

    asyncio.run(both())
    assert sorted(stream.getvalue().splitlines()) == sorted(
        ["<6>a: begin", "<6>b: begin", "<4>a: inside", "<4>b: inside", "<6>end", "<6>end"]
    )
    assert attachment.get() == ""


def test_no_value_can_forge_a_line_or_move_the_cursor() -> None:
    stream = io.StringIO()
    log = logger(StderrHandler(stream, prefixes=True))
    log.info("said %s", "a\n<0>forged\r\x1b[2J\x9b\u2028")
    assert stream.getvalue() == "<6>said a\\x0a<0>forged\\x0d\\x1b[2J\\x9b\\u2028\n"


def test_a_traceback_is_marked_line_by_line() -> None:
    stream = io.StringIO()
    log = logger(StderrHandler(stream, prefixes=True))
    try:
        raise ValueError("bad\n<0>forged")
    except ValueError:
        log.exception("failed")
    lines = stream.getvalue().splitlines()
    assert lines[0] == "<3>failed"
    assert all(line.startswith("<3>  | ") for line in lines[1:])


def test_a_terminal_gets_words() -> None:
    stream = io.StringIO()
    log = logger(StderrHandler(stream, prefixes=False))
    log.info("fine")
    log.error("bad")
    assert stream.getvalue() == "fine\nerror: bad\n"


def test_the_journal_gets_fields() -> None:
    sent: list[tuple[str, dict[str, Any]]] = []
    log = logger(JournalHandler(lambda message, **fields: sent.append((message, fields)), "cdmi-attachd"))
    with bound("one-42-0"):
        log.info("%s took %d ms", "log in", 41, extra={"step": "log in to iqn.x\n", "CDMI_TOOK_MS": 41})
    ((message, fields),) = sent
    assert message == "one-42-0: log in took 41 ms"
    assert fields["CDMI_ATTACHMENT"] == "one-42-0"
    assert (fields["CDMI_STEP"], fields["CDMI_TOOK_MS"]) == ("log in to iqn.x\\x0a", "41")
    assert (fields["PRIORITY"], fields["SYSLOG_IDENTIFIER"]) == ("6", "cdmi-attachd")


def test_escaping_leaves_words_alone() -> None:
    assert escaped("Größe 1 MiB") == "Größe 1 MiB"
