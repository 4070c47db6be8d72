"""`python3 -m cdmi_one tm|datastore VERB ARGUMENTS`: what each script of the drivers is."""

import sys

from cdmi_one.main import main

sys.exit(main(sys.argv[1:]))
