#!/bin/sh
# What this host is called on the storage network, for oned to know when the host is lost and cannot be asked any more.
timeout 20 cdmi-attach host --json 2>/dev/null | python3 -sS -c '
import json, sys
try:
    host = json.load(sys.stdin)
except ValueError:
    sys.exit()
names = [host.get("initiator_name"), *host.get("wwpns", ())]
print("CDMI_INITIATORS=\"" + ",".join(name for name in names if name) + "\"")
'
exit 0
