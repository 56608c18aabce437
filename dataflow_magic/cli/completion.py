"""Completion for shells: the lines that a shell evaluates once, and the words that they ask for at the Tab key.

These are the words that a notebook offers; a library for completion would know neither jobs nor runs, and needs a package.
"""

from __future__ import annotations

import argparse
import shlex
from collections.abc import Callable, Sequence

from dataflow_magic.cell.completion import Known, complete_words
from dataflow_magic.cli.parsers import COMMANDS, STARTS, take_parameters

__all__ = ["ASK", "SCRIPTS", "offered"]

ASK = "--complete"
"""The hidden command that prints the words for the line up to the cursor, one a line."""

SCRIPTS = {
    # Bash replaces only what follows the last = or : of a word, and takes what begins with @ for a host.
    "bash": f"""\
_dataflow_magic() {{
    local line=${{COMP_LINE:0:COMP_POINT}} word cut file IFS=$'\n'
    word=${{line##*[[:space:]]}}
    cut=${{word%"${{word##*[=:]}}"}}
    COMPREPLY=($(dataflow-magic {ASK} "$line" 2>/dev/null))
    COMPREPLY=("${{COMPREPLY[@]#"$cut"}}")
    [[ ${{COMPREPLY-}} != *= ]] || compopt -o nospace
    [[ -z ${{COMPREPLY-}} && $word == *=@* ]] || return 0
    COMPREPLY=()
    for file in $(compgen -f -- "${{word#*=@}}"); do
        if [[ -d $file ]]; then file+=/; compopt -o nospace; fi
        printf -v file %q "$file"
        COMPREPLY+=("@$file")
    done
}}
complete -o nosort -o default -F _dataflow_magic dataflow-magic 2>/dev/null ||
    complete -o default -F _dataflow_magic dataflow-magic
""",
    # Zsh has the words of this command alone, and adds a space unless an option forbids it.
    "zsh": f"""\
#compdef dataflow-magic
_dataflow_magic() {{
    local -a offered
    offered=(${{(f)"$(dataflow-magic {ASK} "${{(j: :)words[1,CURRENT-1]}} $PREFIX" 2>/dev/null)"}})
    if (( $#offered )); then
        compadd -V dataflow-magic -S '' -- ${{(M)offered:#*=}}
        compadd -V dataflow-magic -- ${{offered:#*=}}
    else
        compset -P '*=@'
        _files
    fi
}}
compdef _dataflow_magic dataflow-magic
""",
    "fish": f"""\
function __dataflow_magic_file
    set -l name (string match -r '^[^=]*=@' -- (commandline -ct))
    and string join \\n -- $name(__fish_complete_path (string replace -- $name '' (commandline -ct)))
end
complete -c dataflow-magic -f -k -a '(dataflow-magic {ASK} (commandline -cp) 2>/dev/null)'
complete -c dataflow-magic -f -n '__fish_seen_subcommand_from run' -a '(__dataflow_magic_file)'
complete -c dataflow-magic -F -n '__fish_seen_subcommand_from local demo'
""",
}
"""By shell."""


def offered(line: str, top: argparse.ArgumentParser, known: Callable[[], Known]) -> list[str]:
    """Return the words that may end a line, in the order to offer them; none where files may stand.

    Parameters
    ----------
    line
        The command line up to the cursor, with the name of the program.
    top
        The parser of the program, for the commands that it reads itself.
    known
        Returns the names of this machine; called only where they may stand.
    """
    try:
        words = shlex.split(line)
    except ValueError:  # inside quotes
        return []
    word = words.pop() if line[-1:].strip() else ""
    names = [*_choices(top), *COMMANDS] if len(words) < 2 else []
    if names:
        return [name for name in dict.fromkeys(names) if name.startswith(word)]
    command, *before = words[1:]
    if command not in COMMANDS:
        return _of_parser(top, words[1:], word)
    parser = COMMANDS[command][1]()
    if command == "completion":
        return [shell for shell in SCRIPTS if shell.startswith(word) and not before]
    found = [*complete_words(parser, before, word, known())]
    if command in STARTS:
        rest, given = take_parameters(parser, before)
        jobs = [each for each in rest if not each.startswith("-")]
        if jobs and not word.startswith("-") and not (before and parser.takes_value(before[-1])):
            names = [name for name in known().parameter_names(jobs[0]) if f"{name}=" not in "".join(given)]
            found = [f"{name}=" for name in names if name.startswith(word)]
    return found


def _of_parser(parser: argparse.ArgumentParser, words: Sequence[str], word: str) -> list[str]:
    """Return commands and options of argparse's own parsers."""
    for each in words:
        parser = _choices(parser).get(each, parser)
    flags = parser._option_string_actions if word.startswith("-") else _choices(parser)  # noqa: SLF001 - no other way
    return [flag for flag in flags if flag.startswith(word)]


def _choices(parser: argparse.ArgumentParser) -> dict[str, argparse.ArgumentParser]:
    actions = parser._actions  # noqa: SLF001 - argparse has no other way to list them
    return {
        name: found
        for action in actions
        if isinstance(action, argparse._SubParsersAction)  # noqa: SLF001
        for name, found in action.choices.items()
    }
