"""``estiva completion``: scripts for shells.  They ask ``estiva __complete`` for the words, so they never grow old."""

from __future__ import annotations

import sys

from estiva.cli.parser import Command, Option
from estiva.errors import Invalid

TYPE_CHECKING = False
if TYPE_CHECKING:
    from estiva.cli.globals import Globals
    from estiva.cli.parser import Parsed

_BASH = r"""# bash completion for estiva
__estiva_complete() {
    local line words kind="" candidates=() current="${COMP_WORDS[COMP_CWORD]}"
    words=("${COMP_WORDS[@]:1:COMP_CWORD}")
    # the shell splits words at = and :, the program does not
    if declare -F _get_comp_words_by_ref >/dev/null; then
        local cword
        _get_comp_words_by_ref -n "=:" -c current -w words -i cword
        words=("${words[@]:1:cword}")
    fi
    while IFS= read -r line; do
        case "$line" in
            :file | :directory | :none) kind="$line" ;;
            *) candidates+=("${line%%$'\t'*}") ;;
        esac
    done < <("${COMP_WORDS[0]}" __complete "${words[@]}" 2>/dev/null)
    case "$kind" in
        :file) mapfile -t COMPREPLY < <(compgen -f -- "$current"); compopt -o filenames 2>/dev/null ;;
        :directory) mapfile -t COMPREPLY < <(compgen -d -- "$current"); compopt -o filenames 2>/dev/null ;;
        *) COMPREPLY=("${candidates[@]}") ;;
    esac
    if [[ ${#COMPREPLY[@]} -eq 1 && ${COMPREPLY[0]} == *= ]]; then compopt -o nospace 2>/dev/null; fi
    if declare -F __ltrim_colon_completions >/dev/null; then __ltrim_colon_completions "$current"; fi
}
complete -F __estiva_complete estiva
"""
_ZSH = r"""#compdef estiva
# zsh completion for estiva
_estiva() {
    local line kind="" text
    local -a candidates
    while IFS= read -r line; do
        case "$line" in
            :file | :directory | :none) kind="$line" ;;
            *)
                text="${line%%$'\t'*}"
                text="${text//:/\\:}"
                if [[ "$line" == *$'\t'* ]]; then text="$text:${line#*$'\t'}"; fi
                candidates+=("$text") ;;
        esac
    done < <("${words[1]}" __complete "${(@)words[2,CURRENT]}" 2>/dev/null)
    case "$kind" in
        :file) _files ;;
        :directory) _files -/ ;;
        *) _describe estiva candidates ;;
    esac
}
if [ "$funcstack[1]" = "_estiva" ]; then _estiva "$@"; else compdef _estiva estiva; fi
"""
_FISH = r"""# fish completion for estiva
function __estiva_complete
    set -l words (commandline -opc)
    set -l current (commandline -ct)
    for line in ($words[1] __complete $words[2..-1] "$current" 2>/dev/null)
        switch $line
            case :file
                __fish_complete_path "$current"
            case :directory
                __fish_complete_directories "$current"
            case ':none'
            case '*'
                echo $line
        end
    end
end
complete -c estiva -f -a '(__estiva_complete)'
"""
SCRIPTS = {"bash": _BASH, "fish": _FISH, "zsh": _ZSH}


def completion(parsed: Parsed, settings: Globals) -> int:
    shell = parsed.args[0]
    if shell not in SCRIPTS:
        raise Invalid(f'invalid argument "{shell}": no script for this shell', f"there are {', '.join(SCRIPTS)}")
    path = parsed.text("file")
    if path:
        with open(path, "w", encoding="utf-8") as file:
            file.write(SCRIPTS[shell])
    else:
        sys.stdout.write(SCRIPTS[shell])
    return 0


COMMAND = Command(
    "completion",
    usage="[options] {bash|fish|zsh}",
    summary="Print the completion script of a shell",
    examples=(
        "completion bash > /etc/bash_completion.d/estiva",
        "completion -f ~/.config/fish/completions/estiva.fish fish",
    ),
    options=(Option("file", "f", "string", "file", "Write to this file instead", complete="file"),),
    run=completion,
    minimum=1,
    maximum=1,
    operands="shell",
)
