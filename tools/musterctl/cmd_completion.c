/* SPDX-License-Identifier: Apache-2.0 */
/* The scripts that carry words between a shell and `musterctl __complete`. */
#include "tools/musterctl/cmd.h"

/* bash takes words apart at = and : as well; they are put together again, and the candidates lose
 * what bash already has on the line. */
static const char bash_script[] =
    "# bash completion of musterctl\n"
    "_musterctl() {\n"
    "  local words=() cur= i w line first\n"
    "  for ((i = 1; i <= COMP_CWORD; i++)); do\n"
    "    w=${COMP_WORDS[i]}\n"
    "    if [[ ${#words[@]} -gt 0 && ( $w == [=:]* || ${words[-1]} == *[=:] ) && $i -gt 1 ]]; then\n"
    "      words[-1]+=$w\n"
    "    else\n"
    "      words+=(\"$w\")\n"
    "    fi\n"
    "  done\n"
    "  for ((i = 0; i < ${#words[@]}; i++)); do\n"
    "    w=${words[i]}\n"
    "    w=${w#[\\\"\\']} w=${w%[\\\"\\']}\n"
    "    words[i]=${w//\\\\/}\n"
    "  done\n"
    "  cur=${words[-1]}\n"
    "  first=\n"
    "  [[ $cur == --*=* ]] || [[ $cur != *:* ]] || first=${cur%:*}:\n"
    "  COMPREPLY=()\n"
    "  while IFS= read -r line; do\n"
    "    case $line in\n"
    "    :files) compopt -o filenames; mapfile -t COMPREPLY < <(compgen -f -- \"${cur#--*=}\") ;;\n"
    "    :dirs) compopt -o filenames; mapfile -t COMPREPLY < <(compgen -d -- \"${cur#--*=}\") ;;\n"
    "    *) line=${line%%$'\\t'*}; COMPREPLY+=(\"$(printf %q \"${line#\"$first\"}\")\") ;;\n"
    "    esac\n"
    "  done < <(\"${COMP_WORDS[0]}\" __complete \"${words[@]}\" 2>/dev/null)\n"
    "}\n"
    "complete -F _musterctl musterctl\n";

static const char zsh_script[] =
    "#compdef musterctl\n"
    "_musterctl() {\n"
    "  local -a lines names texts\n"
    "  local line text cur=${(Q)words[CURRENT]}\n"
    "  lines=(\"${(@f)$(${words[1]} __complete \"${(@Q)words[2,CURRENT]}\" 2>/dev/null)}\")\n"
    "  [[ $cur == --*=* ]] && compset -P '*='\n"
    "  for line in $lines; do\n"
    "    case $line in\n"
    "    :files) _files; return ;;\n"
    "    :dirs) _files -/; return ;;\n"
    "    '') ;;\n"
    "    *)\n"
    "      names+=(\"${line%%$'\\t'*}\")\n"
    "      text=${line%%$'\\t'*}\n"
    "      [[ $line == *$'\\t'* ]] && text+=\" -- ${line#*$'\\t'}\"\n"
    "      texts+=(\"$text\") ;;\n"
    "    esac\n"
    "  done\n"
    "  (( ${#names} )) && compadd -l -d texts -a names\n"
    "}\n"
    "if [[ $zsh_eval_context[-1] == loadautofunc ]]; then _musterctl \"$@\"; else compdef _musterctl musterctl; fi\n";

static const char fish_script[] =
    "# fish completion of musterctl\n"
    "function __musterctl_complete\n"
    "  set -l words (commandline -opc) (commandline -ct)\n"
    "  set -l cur $words[-1]\n"
    "  set -l front (string match -r -- '^--[^=]*=' $cur)\n"
    "  for line in (command $words[1] __complete $words[2..-1] 2>/dev/null)\n"
    "    switch $line\n"
    "    case ':files'\n"
    "      __fish_complete_path (string replace -- \"$front\" '' $cur)\n"
    "    case ':dirs'\n"
    "      __fish_complete_directories (string replace -- \"$front\" '' $cur) ''\n"
    "    case '*'\n"
    "      echo -- \"$front$line\"\n"
    "    end\n"
    "  end\n"
    "end\n"
    "complete -c musterctl -f -a '(__musterctl_complete)'\n";

int ctl_completion(struct ctl *c)
{
    const char *shell = c->p.args[0];
    fputs(strcmp(shell, "bash") == 0  ? bash_script
          : strcmp(shell, "zsh") == 0 ? zsh_script
                                      : fish_script,
          c->out.f);
    return CTL_OK;
}
