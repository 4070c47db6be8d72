"""The `chap` table of a server: who we are at its targets, and where the helper, and it alone, finds the passwords."""

from dataclasses import dataclass

from agent import config_secrets
from agent.config_secrets import NOTHING, Named
from agent.config_table import Table


@dataclass(frozen=True, slots=True)
class Chap:
    """`chap` of a server: users, and where the helper finds the passwords. The daemon reads none of them."""

    server: str
    user: str
    password: Named
    mutual_user: str = ""
    mutual_password: Named = NOTHING


def read_chap(table: Table | None, server: str) -> Chap | None:
    """The table as a value, None where there is none; what is wrong is noted in the table."""
    if table is None:
        return None
    table.require("user", "give the name that this host uses at the target")
    chap = Chap(
        server=server,
        user=table.text("user", check=_name),
        password=config_secrets.named(table, "password"),
        mutual_user=table.text("mutual_user", check=_name),
        mutual_password=config_secrets.named(table, "mutual_password"),
    )
    if not chap.password:
        table.complain("password_credential", "is missing", "give password_credential or password_file")
    if bool(chap.mutual_user) != bool(chap.mutual_password):
        table.complain("mutual_user", "goes together with mutual_password_credential", "give both or neither")
    table.finish()
    return chap


def _name(text: str) -> str:
    """A value of a node record: it has one line of 255 characters, and blanks around it are lost."""
    if not is_value(text):
        raise ValueError("a name of 1 to 255 printable ASCII characters, without blanks around it")
    return text


def is_value(text: str) -> bool:
    """Whether a text can be a value in a node record (open-iscsi: usr/idbm.c, VALUE_MAXVAL)."""
    return 0 < len(text) <= 255 and text.isascii() and text.isprintable() and text == text.strip()
