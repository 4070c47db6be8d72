"""`python3 -m cdmi_one.setup`: what `opennebula/install` and `opennebula/patch-stock` are."""

import sys

from cdmi_one.setup.command import main

sys.exit(main(sys.argv[1:]))
