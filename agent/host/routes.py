"""By which address this host reaches another one, as the kernel's routing says (rtnetlink(7), RTM_GETROUTE).

These functions run in workers: pyroute2 waits for its answers, which some of its versions cannot do inside an event
loop.
"""

import ipaddress
import os
import socket
from typing import Any

from attachers.problems import Code, Problem

_FAMILIES = {4: socket.AF_INET, 6: socket.AF_INET6}


def route_to(server: str) -> dict[str, Any]:
    """The route to an address, as the JSON of `RouteSight`. Nothing is sent to anybody.

    Raises `Problem`: target-timeout where there is none, unsupported-on-host without pyroute2.
    """
    try:
        from pyroute2 import IPRoute, NetlinkError
    except ImportError as error:
        what = f"this host cannot tell by which address it reaches {server}: {error}"
        hint = "install python3-pyroute2 (or pip install 'cdmi-attach[host]')"
        raise Problem(Code.UNSUPPORTED_ON_HOST, what, hint=hint) from None
    try:
        with IPRoute() as netlink:
            routes = netlink.route("get", dst=server, family=_FAMILIES[ipaddress.ip_address(server).version])
            found = [_as_json(route) for route in routes if route.get_attr("RTA_PREFSRC")]
    except NetlinkError as error:
        raise _no_route(server, os.strerror(error.code)) from None
    if not found:
        raise _no_route(server, "no address of this host's own leads there")
    return found[0]


def _as_json(route: Any) -> dict[str, Any]:
    index, gateway = route.get_attr("RTA_OIF"), route.get_attr("RTA_GATEWAY")
    address = str(ipaddress.ip_address(route.get_attr("RTA_PREFSRC")))
    return {"address": address, "interface": socket.if_indextoname(index) if index else "", "gateway": gateway or ""}


def _no_route(server: str, why: str) -> Problem:
    text = f"this host has no route to {server}: {why}"
    return Problem(Code.TARGET_TIMEOUT, text, hint=f"see: ip route get {server}")
