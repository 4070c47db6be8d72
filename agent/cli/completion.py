"""Completion for bash, made from the table of words; names of attachments are asked of the daemon."""

from agent.cli.verbs import COMMON, VERBS, Word

HELP = Word("--help", action="store_true")

SHELL = """\
# bash completion for cdmi-attach, made by: cdmi-attach completion bash
_cdmi_attach_names() {
    local socket=() i
    for ((i = 1; i < COMP_CWORD; i++)); do
        [[ ${COMP_WORDS[i]} == --socket ]] && socket=(--socket "${COMP_WORDS[i + 1]}")
    done
    "${COMP_WORDS[0]}" "${socket[@]}" status --json 2>/dev/null | sed -n 's/^      "name": "\\(.*\\)",$/\\1/p'
}
_cdmi_attach() {
    local cur=${COMP_WORDS[COMP_CWORD]} prev=${COMP_WORDS[COMP_CWORD - 1]} verb="" options="" words="" kind="" i
    COMPREPLY=()
    for ((i = 1; i < COMP_CWORD; i++)); do
        case ${COMP_WORDS[i]} in
        --socket) ((i++)) ;;
        -*) ;;
        *) verb=${COMP_WORDS[i]} && break ;;
        esac
    done
    case $verb in
@verbs@
    esac
    case $verb:$prev in
@values@
    *) if [[ $cur == -* ]]; then kind="" words=$options; fi ;;
    esac
    case $kind in
    attachment) words=$(_cdmi_attach_names) ;;
    domain) words=$(virsh -q list --name 2>/dev/null) ;;
    file)
        mapfile -t COMPREPLY < <(compgen -f -- "$cur")
        return
        ;;
    value) return ;;
    esac
    mapfile -t COMPREPLY < <(compgen -W "$words" -- "$cur")
}
complete -F _cdmi_attach cdmi-attach
"""


def bash() -> str:
    """The script; `source` it, or install it as /usr/share/bash-completion/completions/cdmi-attach."""
    values = [_value("*", word) for word in COMMON if _takes_value(word)]
    for name, verb in VERBS.items():
        values += [_value(name, word) for word in verb.words if _takes_value(word)]
    verbs = [_line('""', COMMON, "", " ".join(VERBS))]
    for name, verb in VERBS.items():
        first = next((word for word in verb.words if not word.name.startswith("-")), HELP)
        choices = " ".join(first.keywords.get("choices", ()))
        verbs.append(_line(name, (*verb.words, *COMMON), first.completes, choices))
    return SHELL.rstrip("\n").replace("@verbs@", "\n".join(verbs)).replace("@values@", "\n".join(values))


def _line(verb: str, options: tuple[Word, ...], kind: str, words: str) -> str:
    names = " ".join(word.name for word in (*options, HELP) if word.name.startswith("-"))
    return f'    {verb}) options="{names}" kind="{kind}" words="{words}" ;;'


def _takes_value(word: Word) -> bool:
    return word.name.startswith("-") and word.keywords.get("action") != "store_true"


def _value(verb: str, word: Word) -> str:
    return f"    {verb}:{word.name}) kind={word.completes or 'value'} ;;"
