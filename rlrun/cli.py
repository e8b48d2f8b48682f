"""The command line: splits off the verb, hands the rest on, and turns faults into exit codes.

0 done; 2 the user's mistake, said in one message; 3 diverged; 130 and 143 interrupted; 1 the rest.
"""

import atexit
import importlib
import os
import sys

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
    """Run `main` as a process of its own, which ends without taking its memory apart.

    For what torch loads that takes half a second, a tenth of a short run.
    """
    codes: list[int] = []
    atexit.register(_end, codes)  # the first to register is called last, after all else is closed
    codes.append(main())
    return codes[0]


def _end(codes: list[int]) -> None:
    if not codes:  # an exception is on its way out, which Python reports
        return
    try:
        for stream in (sys.stdout, sys.stderr):
            stream.flush()
    except OSError:  # nobody reads any more; Python has a code for that
        return
    os._exit(codes[0])


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
