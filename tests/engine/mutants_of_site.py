"""Planted bugs in what stands around OpenNebula's drivers: each has the few tests of its own that have to find it."""

from tests.engine.mutant import Mutant

LOST = ("tests/opennebula/test_host_lost.py",)
STOCK = ("tests/opennebula/test_stock.py",)

OF_SITE = (
    Mutant(
        "a host is withdrawn when one of its names is",
        "opennebula/lib/cdmi_one/withdrawal.py",
        "            if normal(left) not in names.others:",
        "            if not normal(left):",
        LOST,
    ),
    Mutant(
        "a server that knows nothing of a persistent object has withdrawn its host",
        "opennebula/lib/cdmi_one/error_hook.py",
        "may_miss=disk.is_clone)",
        "may_miss=True)",
        LOST,
    ),
    Mutant(
        "a server is asked through the host that is lost",
        "opennebula/lib/cdmi_one/withdrawal.py",
        "(HERE, *settings.bridges, *well) if one != host.name",
        "(HERE, *settings.bridges, *well)",
        LOST,
    ),
    Mutant(
        "VMs are migrated to where their disks are not",
        "opennebula/tm/cdmi/stock",
        'if [ "$verb" = premigrate ] && [ $status -ne 0 ]; then exit $status; fi',
        "status=0",
        STOCK,
    ),
    Mutant(
        "a guest that was on its way to the lost host is started a second time",
        "opennebula/lib/cdmi_one/error_hook.py",
        "        if vm.lcm_state == MIGRATE:",
        "        if vm.lcm_state == MIGRATE and not vm.hosts:",
        LOST,
    ),
)
