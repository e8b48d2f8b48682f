"""`rlrun completion`: words for the shell, from the same configuration that `train` composes."""

import os
import re
from pathlib import Path

from rlrun.conf_dir import GROUPS, choices, take_folders
from rlrun.config import ConfigError, Problem

HELP = """usage: rlrun completion bash|zsh

Print shell code that completes verbs, groups, keys and environment ids.

example (add the line to your shell's start-up file):
  eval "$(rlrun completion bash)\""""

BASH = """_rlrun() {
  local IFS=$'\\n'
  COMPREPLY=($(COMP_LINE="$COMP_LINE" COMP_POINT="$COMP_POINT" rlrun completion query "$2"))
}
complete -o nospace -o default -F _rlrun rlrun"""
ZSH = f"autoload -U +X compinit && compinit\nautoload -U +X bashcompinit && bashcompinit\n{BASH}"
CHOICE = re.compile(r"(?:algo|network)=[\w-]+")
"""Choices that decide which keys there are."""
CODE = {"bash": BASH, "zsh": ZSH}


def main(arguments: list[str]) -> int:
    """Run the verb."""
    if arguments[:1] == ["query"]:
        line = os.environ.get("COMP_LINE", "")[: int(os.environ.get("COMP_POINT", "9999"))]
        word = arguments[1] if len(arguments) > 1 else ""
        print("\n".join(suggest(line, word)))
        return 0
    if len(arguments) != 1 or arguments[0] not in CODE:
        raise ConfigError(Problem("completion", "name a shell: bash or zsh"))
    print(CODE[arguments[0]])
    return 0


def suggest(line: str, word: str) -> list[str]:
    """Return completions of the last word of a command line.

    `word` is the part of it that the shell replaces: bash breaks words at `=` and `:`.
    """
    from rlrun.cli import VERBS

    words = line.split()
    if len(words) < 2 or (len(words) == 2 and not line.endswith(" ")):
        return [f"{verb} " for verb in VERBS if verb.startswith(word)]
    if words[1] not in ("train", "check"):
        return _paths(word) if words[1] in ("eval", "resume") else []
    last = "" if line.endswith(" ") else words[-1]
    kept = last[: len(last) - len(word)] if last.endswith(word) else ""
    before = words[2:] if not last else words[2:-1]
    if before[-1:] == ["--config-dir"]:
        return _paths(word)
    found = [match for match in _hydra_matches(before, last) if match.startswith(last)]
    return [match.removeprefix(kept) for match in found]


def _hydra_matches(before: list[str], last: str) -> list[str]:
    """Return completions of a word, given those before it: their groups decide which keys exist."""
    from hydra.core.global_hydra import GlobalHydra
    from hydra.plugins.completion_plugin import DefaultCompletionPlugin

    from rlrun.compose import opened

    words, folders = take_folders(before)
    chosen = [each for each in words if CHOICE.fullmatch(each)]
    group, equals, _ = last.partition("=")
    with opened(folders) as places:
        if equals and group in GROUPS:
            names = choices(group, places.all)
            if group == "env":
                from rlrun.envs.registry import installed

                names += installed()
            return [f"{group}={name}" for name in names]
        plugin = DefaultCompletionPlugin(GlobalHydra.instance().config_loader())
        matches: list[str] = plugin._query(config_name="train", line=" ".join([*chosen, last]))
    return [match for match in matches if not re.match(r"hydra\b", match)]


def _paths(word: str) -> list[str]:
    place = Path(word).parent if not word.endswith("/") else Path(word)
    if not place.is_dir():
        return []
    return sorted(f"{path}/" for path in place.iterdir() if str(path).startswith(word))
