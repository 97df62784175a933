# SPDX-License-Identifier: ISC
# shellcheck shell=bash
# bash completion for splicectl.

# Names that the daemon knows: frontends, or servers as BACKEND/NAME.
_splicectl_names() {
        COLUMNS=1000 "${_splicectl_call[@]}" show "$1" 2>/dev/null | sed '1d; s/  .*//'
}

# Offers those lines of standard input that begin with the word.  Not by compgen -W, which expands what it is given: names
# are the config's, and no commands.
_splicectl_offer() {
        local name

        while IFS= read -r name; do
                if [[ -n $name && $name == "$word"* ]]; then
                        printf -v name %q "$name"
                        COMPREPLY+=("$name")
                fi
        done
}

_splicectl() {
        local word=${COMP_WORDS[COMP_CWORD]} before=${COMP_WORDS[COMP_CWORD - 1]} command='' listed='' position=0 i
        local commands='status show server weight address frontend kill reload upgrade wait-ready top tap metrics'
        local -a _splicectl_call=(splicectl)

        for ((i = 1; i < COMP_CWORD; i++)); do
                case ${COMP_WORDS[i]} in
                -s | --socket)
                        _splicectl_call+=(-s "${COMP_WORDS[i + 1]}")
                        ((i++))
                        ;;
                --timeout | --source | --server | --frontend) ((i++)) ;;
                -*) ;;
                *)
                        if [[ -z $command ]]; then
                                command=${COMP_WORDS[i]}
                        else
                                listed=${COMP_WORDS[i]}
                                ((position++))
                        fi
                        ;;
                esac
        done
        COMPREPLY=()
        case $before in
        -s | --socket)
                mapfile -t COMPREPLY < <(compgen -f -- "$word")
                return
                ;;
        --server)
                _splicectl_offer < <(_splicectl_names servers)
                return
                ;;
        --frontend)
                _splicectl_offer < <(_splicectl_names frontends)
                return
                ;;
        --timeout | --source) return ;;
        esac
        case $command:$position in
        :*) mapfile -t COMPREPLY < <(compgen -W "$commands -s --socket --json -V --version -h --help" -- "$word") ;;
        show:0)
                mapfile -t COMPREPLY < <(compgen -W 'frontends listeners backends servers sessions config' -- "$word")
                ;;
        server:0 | weight:0 | address:0) _splicectl_offer < <(_splicectl_names servers) ;;
        server:1) mapfile -t COMPREPLY < <(compgen -W 'ready drain maint' -- "$word") ;;
        frontend:0) _splicectl_offer < <(_splicectl_names frontends) ;;
        frontend:1) mapfile -t COMPREPLY < <(compgen -W 'ready pause' -- "$word") ;;
        kill:0) mapfile -t COMPREPLY < <(compgen -W '--server --frontend --source' -- "$word") ;;
        show:1)
                [[ $listed != sessions ]] ||
                        mapfile -t COMPREPLY < <(compgen -W '--server --frontend --source' -- "$word")
                ;;
        wait-ready:0) mapfile -t COMPREPLY < <(compgen -W '--timeout' -- "$word") ;;
        tap:0) _splicectl_offer < <(echo --pcapng && _splicectl_names sessions) ;;
        esac
}
complete -F _splicectl splicectl
