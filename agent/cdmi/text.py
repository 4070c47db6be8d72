"""What others wrote, made fit for a sentence of ours: printable ASCII, short, and without our secrets."""

import base64
import json
from urllib.parse import quote

from agent.cdmi.server import Server
from agent.secret import SHOWN


def shown(text: str, limit: int = 200) -> str:
    """The text with everything else than printable ASCII escaped, cut to the limit."""
    plain = text if text.isascii() and text.isprintable() else ascii(text)[1:-1]
    return plain[:limit]


def basic(server: Server) -> str:
    """The server's user and password as Basic authentication sends them (RFC 7617); only with both configured."""
    assert server.user is not None and server.password is not None
    return base64.b64encode(f"{server.user}:{server.password.reveal()}".encode()).decode()


def redacted(server: Server, text: str) -> str:
    """The text without this server's password and token, in the forms in which a server could have echoed them."""
    for secret in (server.password, server.token):
        if secret:
            value = secret.reveal()
            for form in (value, json.dumps(value)[1:-1], quote(value, safe="")):
                text = text.replace(form, SHOWN)
    return text.replace(basic(server), SHOWN) if server.password else text
