"""The journal's catalogue explains every message that has an ID, and nothing else."""

import logging
import re
from pathlib import Path

from agent.log import JournalHandler, bound
from agent.messages import Message, fields

CATALOG = Path(__file__).resolve().parents[2] / "systemd" / "cdmi-attach.catalog"
KNOWN = {
    "CDMI_UID",
    "CDMI_PID",
    "CDMI_OPERATION",
    "CDMI_ATTACHMENT",
    "CDMI_WWID",
    "CDMI_SERVER",
    "CDMI_STEP",
    "CDMI_RESULT",
}


def test_the_catalogue_has_every_message_once() -> None:
    text = CATALOG.read_text()
    assert sorted(re.findall(r"^-- ([0-9a-f]{32})$", text, re.MULTILINE)) == sorted(Message)
    for entry in text.split("-- ")[1:]:
        head, _, body = entry.partition("\n\n")
        assert re.search(r"^Subject: \S", head, re.MULTILINE) and body.strip(), entry
        assert set(re.findall(r"@(\w+)@", entry)) <= KNOWN, "a field that no line has"


def test_a_line_carries_its_id_and_fields() -> None:
    sent: list[dict[str, object]] = []
    handler = JournalHandler(lambda text, **more: sent.append({"MESSAGE": text, **more}), "cdmi-attachd")
    record = logging.LogRecord("agent", logging.INFO, "f.py", 1, "attached", (), None)
    vars(record).update(fields(Message.ATTACHED, wwid="naa.6001405", server=None))
    with bound("one-42-0"):
        handler.emit(record)
    (line,) = sent
    assert line["MESSAGE"] == "one-42-0: attached" and line["MESSAGE_ID"] == str(Message.ATTACHED)
    assert line["CDMI_ATTACHMENT"] == "one-42-0" and line["CDMI_WWID"] == "naa.6001405" and "CDMI_SERVER" not in line
