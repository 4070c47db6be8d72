# What the tests' own system datastores share: the fan-out to the drivers of the other disks, which swallows failures.

# The drivers of a VM's disks, each once: of the XML, in base64, on standard input.
drivers_of() {
    base64 -d | grep -o '<TM_MAD><!\[CDATA\[[a-z]*' | sed 's/.*\[//' | sort -u
}

# As `migrate_other`: the same script of each other driver, with this driver's name as the last argument.
migrate_other() {
    template=$(cat)
    for tm in $(printf %s "$template" | drivers_of); do
        if [ "$tm" != "$TM" ]; then
            printf %s "$template" | "$REMOTES/tm/$tm/$SCRIPT" "$@" "$TM" >/dev/null 2>&1
        fi
    done
    return 0
}

TM=$(basename "$(dirname "$0")")
SCRIPT=$(basename "$0")
REMOTES=$(cd "$(dirname "$0")/../.." && pwd)
