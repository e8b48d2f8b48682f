"""The command line: splits off the verb, hands the rest on, and turns faults into exit codes.

0 done; 2 the user's mistake, said in one message; 3 diverged; 130 and 143 interrupted; 1 the rest,
but for 120 where nobody could be told, which is Python's.
"""

import gc
import importlib
import io
import sys
from contextlib import suppress

VERBS = {
    "train": "train an agent; -m runs a sweep",
    "resume": "continue a run in its own folder",
    "eval": "replay a run or a checkpoint",
    "check": "build what train would, and report: network, memory, time ahead, doubts",
    "bench": "measure steps a second and where the time goes",
    "list": "show algorithms, networks, presets and environments",
    "completion": "print the shell code that completes rlrun's words",
}

HELP = """rlrun - reinforcement-learning experiments from one command

usage: rlrun VERB [ARGUMENT ...]

{verbs}

examples:
  rlrun train algo=ppo env=CartPole-v1
  rlrun train algo=ppo env=CartPole-v1 seed=range(5) algo.gamma=0.95,0.99 -m
  rlrun eval runs/ppo/CartPole-v1/<run> episodes=20 --video

`rlrun VERB --help` tells more about each."""


def command() -> int:
    """Run `main` as a process of its own, and spare Python the search for what it need not free.

    Ending, Python looks several times through all objects for those that only hold each other;
    torch makes half a million, and that takes half a second. Without the search a file that a
    plug-in left open could stay unwritten, so what is open is written here.
    """
    try:
        return main()
    finally:
        for each in gc.get_objects():
            if issubclass(type(each), io.IOBase):  # its class, for `isinstance` would wake proxies
                with suppress(Exception):  # closed, or nobody there to take it
                    each.flush()
        gc.freeze()


def main(argv: list[str] | None = None) -> int:
    """Run one command and return its exit code."""
    words = sys.argv[1:] if argv is None else argv
    if not words or words[0] in ("-h", "--help", "help"):
        rows = [f"  {verb:<11} {meaning}" for verb, meaning in VERBS.items()]
        print(HELP.format(verbs="\n".join(rows)))
        return 0 if words else 2
    if words[0] in ("-V", "--version"):
        from rlrun import __version__

        print(f"rlrun {__version__}")
        return 0
    verb, *arguments = words
    if verb not in VERBS:
        from rlrun.config import near_miss

        print(
            f"rlrun: unknown verb {verb!r}{near_miss(verb, VERBS)} (see `rlrun --help`)",
            file=sys.stderr,
        )
        return 2
    module = importlib.import_module(f"rlrun.verbs.{verb}")
    if any(word in ("-h", "--help") for word in arguments):
        print(module.HELP)
        return 0
    return guarded(module.main, arguments)


def guarded(action: "object", arguments: list[str]) -> int:
    """Run a verb; a ConfigError becomes one message and exit code 2."""
    from rlrun.config import ConfigError

    assert callable(action)
    try:
        return int(action(arguments))
    except ConfigError as fault:
        print(f"rlrun: {fault}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:
        return 1


if __name__ == "__main__":
    sys.exit(command())
