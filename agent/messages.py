"""What the journal says often enough to have a name: message IDs, explained in systemd/cdmi-attach.catalog."""

from enum import StrEnum


class Message(StrEnum):
    """MESSAGE_ID of each (systemd.journal-fields(7)); `journalctl -x` shows the explanation beside the line."""

    ATTACHED = "8aae1f70aad65afc9a813679cb97443b"
    DETACHED = "ae0977c093525d98bca1139a1c8d4acc"
    ATTACH_FAILED = "f851f27b84805020bd5229cd000d974c"
    DETACH_FAILED = "47afe7aa67c75021bc021ac6012dd149"
    WRONG_DEVICE = "cf351c3617255adeaa9c2838be134315"
    UNCERTAIN = "034a8badc42b5eaebbe9d5b177bef75a"
    QUARANTINED = "96e7fc67cf4e5adfa207e5ba1aa14d1f"
    DEGRADED = "5566bb122a9a509386a70ceeff93efa9"
    CHANGED = "3d0f2c8a069a48808c8ed7232a5806c3"
    REFUSED = "75ff5161c0e94dfd8687e4e755b578bd"
    FORCED = "adb76d4e626640d0a0072b453905ec4b"
    CONFIG_REFUSED = "a7c507fce3345cccbe2be8dd7643332f"


def fields(message: Message, **values: str | None) -> dict[str, str]:
    """The journal's fields for one line, as `extra` of a logging call: `wwid` becomes CDMI_WWID, and so on."""
    return {"MESSAGE_ID": str(message)} | {f"CDMI_{name.upper()}": value for name, value in values.items() if value}
