"""What root's configuration allows the daemon to ask for, as values: servers, networks, ports, and the rest. Pure."""

import ipaddress
from collections.abc import Sequence
from dataclasses import dataclass

from agent.cdmi.server import Network, allows
from agent.config import Config
from attachers import checks
from attachers.problems import Code, Problem
from attachers.steps import CreateRecord, Login, Step

HINT = "see what the configuration says, and have it read by all: systemctl reload cdmi-attachd"
NETWORKS_HINT = "add the network to storage_networks of its [[server]], if it is a storage network of yours"


@dataclass(frozen=True, slots=True)
class Place:
    """One configured server: where its storage may be, and whether it has a CHAP entry. No `wwpns` means any."""

    url: str
    networks: tuple[Network, ...] = ()
    wwpns: tuple[str, ...] = ()
    chap: bool = False

    def has(self, host: str) -> bool:
        """Whether a host is an address inside its storage networks. A name is none: it could become any address."""
        try:
            return allows(self.networks, ipaddress.ip_address(host))
        except ValueError:
            return False


@dataclass(frozen=True, slots=True)
class Allowed:
    """All of it. `owner` is `user:group` or empty, `iface` an interface of open-iscsi or empty, as in the steps."""

    places: tuple[Place, ...] = ()
    owner: str = ""
    iface: str = ""
    nfs_options: str = ""
    nfs_downgrade: bool = False

    def reaches(self, target: str, portal: str) -> bool:
        """Whether a target at a portal (or a remote FC port, from any local one) may be a configured server's."""
        if checks.is_wwpn(target):
            return any(not place.wwpns or target in place.wwpns for place in self.places)
        return _inside(self.places, portal)

    def insist_on_nexus(self, step: Step, target: str, portal: str) -> None:
        """Raises `Problem` (`forbidden`) unless a configured server may be behind that target and portal."""
        if self.reaches(target, portal):
            return
        if checks.is_wwpn(target):
            text = f"target port {checks.with_colons(target)} is not among storage_wwpns of any configured server"
            raise refused(step, text, "add the port to storage_wwpns of its [[server]], if it is one of your arrays'")
        raise refused(step, f"{portal} is outside storage_networks of every configured server", NETWORKS_HINT)

    def insist_on_login(self, step: CreateRecord | Login) -> None:
        """Raises `Problem` unless the portal may be dialled, by that interface, and be shown those CHAP secrets."""
        self.insist_on_nexus(step, step.target, step.portal)
        if step.iface != self.iface:
            raise refused(step, f"interface of [iscsi] is {self.iface or 'default'}, not {step.iface or 'default'}")
        if not step.chap:
            return
        own = [place for place in self.places if place.url == step.chap and place.chap]
        if not own:
            raise refused(step, f"no configured server {step.chap} has chap")
        if not _inside(own, step.portal):
            text = f"{step.portal} is outside storage_networks of {step.chap}, whose CHAP secrets are for these alone"
            raise refused(step, text, NETWORKS_HINT)

    def insist_on_share(self, step: Step, server: str) -> None:
        """Raises `Problem` unless that address may be a configured server's NFS server."""
        if not any(place.has(server) for place in self.places):
            text = f"NFS server {server} is outside storage_networks of every configured server"
            raise refused(step, text, NETWORKS_HINT)

    def insist_on_owner(self, step: Step, owner: str) -> None:
        """Raises `Problem` unless it is the configured one, or none: then whoever has the device keeps it."""
        if owner not in ("", self.owner):
            raise refused(step, f"device_owner of [attach] is {self.owner or 'not set'}, not {owner}")


def allowed_by(config: Config) -> Allowed:
    """What a configuration allows."""
    chap = {one.server for one in config.chap}
    servers = config.servers
    interface = config.iscsi.interface
    return Allowed(
        tuple(Place(one.url, one.storage_networks, one.storage_wwpns, one.url in chap) for one in servers),
        config.attach.device_owner,
        "" if interface == "default" else interface,
        config.nfs.options,
        config.nfs.allow_downgrade,
    )


def refused(step: Step, text: str, hint: str = HINT) -> Problem:
    """The refusal of what the configuration does not allow."""
    return Problem(
        Code.FORBIDDEN, f"not allowed by the configuration of this host: {text}", hint=hint, step=step.describe()
    )


def _inside(places: Sequence[Place], portal: str) -> bool:
    host, _ = checks.split_portal(portal)
    return any(place.has(host) for place in places)
