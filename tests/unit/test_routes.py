"""By which address this host reaches another: asked of this kernel's routing, where pyroute2 is."""

import sys

import pytest

from agent.host.routes import route_to
from attachers.problems import Code, Problem


@pytest.mark.parametrize("address", ["127.0.0.1", "127.0.0.53"])
def test_the_way_to_oneself(address: str) -> None:
    pytest.importorskip("pyroute2", reason="this environment was made before pyroute2 was needed")
    found = route_to(address)
    assert (found["interface"], found["gateway"]) == ("lo", "") and found["address"] in ("127.0.0.1", address)


def test_without_pyroute2_it_is_said_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pyroute2", None)
    with pytest.raises(Problem) as refused:
        route_to("127.0.0.1")
    assert refused.value.code is Code.UNSUPPORTED_ON_HOST and "python3-pyroute2" in refused.value.hint
