"""Planted bugs of the names of units, and of what has not proved itself."""

from tests.engine.mutant import Mutant

OF_NAMES = (
    Mutant(
        "the kernel's name of another kind contradicts",
        "attachers/scsi.py",
        "    return remembered is not None and unit_names.is_name(remembered) and remembered not in path.designators",
        "    return remembered is not None and remembered not in path.designators",
    ),
    Mutant(
        "udev's word of an unproved disk taken",
        "agent/host/simulated_kernel.py",
        "            if device.hctl not in self.claims:\n",
        "            self.device_links[device.wwid] = device.hctl\n            if True:\n",
    ),
    Mutant(
        "a link that udev does not keep is left",
        "attachers/lun.py",
        "sight.device_link == path.node and sight.kept\n",
        "sight.device_link == path.node\n",
    ),
    Mutant(
        "another object's unit under its other name",
        "attachers/naming.py",
        "    taken = is_taken(text, wwid, sight.main, context)\n",
        "    taken = None\n",
    ),
)
