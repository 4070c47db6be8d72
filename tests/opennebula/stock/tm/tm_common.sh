# What the tests' own system datastores share: the fan-out to the drivers of the other disks, which swallows failures.

# The drivers of a VM's disks, in their order: of the XML, in base64, on standard input.
drivers_of() {
    base64 -d | grep -o '<TM_MAD><!\[CDATA\[[^]]*' | sed 's/.*\[//'
}

# As `migrate_other`: the same script of each other driver, once, with this driver's name as the last argument. What it
# says goes where this script's words go; how it ends is not asked. Who is called like that calls nobody.
migrate_other() {
    template=$(cat)
    [ -z "${6-}" ] || return 0
    done=" $TM "
    for tm in $(printf '%s\n' "$template" | drivers_of); do
        case $done in *" $tm "*) continue ;; esac
        done="$done$tm "
        echo "INFO: $SCRIPT: Call $tm/$SCRIPT" >&2
        printf '%s\n' "$template" | "$REMOTES/tm/$tm/$SCRIPT" "$@" "$TM" || :
    done
}

# The system datastore that a VM was on before, by the last record but one of its history.
ds_before() {
    onevm show -x "$1" | grep -o '<DS_ID>[0-9]*' | tail -n 2 | head -n 1 | tr -dc 0-9
}

TM=$(basename "$(dirname "$0")")
SCRIPT=$(basename "$0")
REMOTES=$(cd "$(dirname "$0")/../.." && pwd)
