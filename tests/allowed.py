"""What a test's configuration allows, where the test does not say: everything that a model of a network is at."""

from ipaddress import ip_network

from agent.engine.desk import Settings
from agent.host.allowed import Allowed, Place

ANYWHERE = tuple(ip_network(text) for text in ("10.0.0.0/8", "127.0.0.0/8", "fd00::/8"))


def anywhere(says: Settings | None = None) -> Allowed:
    """One server, whose storage may be anywhere, and the rest as the daemon has it."""
    says = says or Settings()
    place = Place("https://cdmi.example.org/", ANYWHERE, chap=True)
    return Allowed((place,), says.owner, says.iface, says.nfs_options, says.nfs_downgrade)
