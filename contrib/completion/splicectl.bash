# SPDX-License-Identifier: ISC
# shellcheck shell=bash
# bash completion for splicectl.

# Names that the daemon knows: frontends, or servers as BACKEND/NAME.
_splicectl_names() {
        "${_splicectl_call[@]}" show "$1" 2>/dev/null | awk 'NR > 1 { print $1 }'
}

_splicectl() {
        local word=${COMP_WORDS[COMP_CWORD]} before=${COMP_WORDS[COMP_CWORD - 1]} command='' i
        local commands='status show server weight address frontend kill reload upgrade wait-ready top tap metrics'
        local -a _splicectl_call=(splicectl)
        local position=0

        for ((i = 1; i < COMP_CWORD; i++)); do
                case ${COMP_WORDS[i]} in
                -s | --socket)
                        _splicectl_call+=(-s "${COMP_WORDS[i + 1]}")
                        ((i++))
                        ;;
                --timeout | --source) ((i++)) ;;
                -*) ;;
                *)
                        if [[ -z $command ]]; then
                                command=${COMP_WORDS[i]}
                        else
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
                mapfile -t COMPREPLY < <(compgen -W "$(_splicectl_names servers)" -- "$word")
                return
                ;;
        --frontend)
                mapfile -t COMPREPLY < <(compgen -W "$(_splicectl_names frontends)" -- "$word")
                return
                ;;
        --timeout | --source) return ;;
        esac
        local words=''
        case $command:$position in
        :*) words="$commands -s --json -V -h" ;;
        show:0) words='frontends listeners backends servers sessions config' ;;
        server:0 | weight:0 | address:0) words=$(_splicectl_names servers) ;;
        server:1) words='ready drain maint' ;;
        frontend:0) words=$(_splicectl_names frontends) ;;
        frontend:1) words='ready pause' ;;
        kill:0) words='--server --frontend --source' ;;
        wait-ready:0) words='--timeout' ;;
        tap:0) words="--pcapng $(_splicectl_names sessions)" ;;
        esac
        mapfile -t COMPREPLY < <(compgen -W "$words" -- "$word")
}
complete -F _splicectl splicectl
