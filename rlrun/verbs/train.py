"""`rlrun train`: one run, or with -m a sweep."""

from pathlib import Path

from rlrun.config import ConfigError, Problem

HELP = """usage: rlrun train [GROUP=CHOICE ...] [KEY=VALUE ...] [-m [--jobs N]] [--config-dir DIR]

Train an agent. Groups: algo, env, network, device, logger, preset, experiment; `rlrun list` shows
the choices. env takes any Gymnasium id, also ALE/Pong-v5 and module:Env-v0. A tuned preset for the
algorithm and environment is applied by itself; preset=none turns it off.

  -m, --multirun     run every combination of comma-separated values and ranges
  --jobs N           with -m: jobs at a time (default 1)
  --config-dir DIR   a folder of your own YAML groups, searched too
  --cfg              print the configuration and stop

examples:
  rlrun train algo=ppo env=CartPole-v1
  rlrun train algo=ppo env=Pendulum-v1 algo.learning_rate=lin_1e-3 seed=3
  rlrun train algo=ppo env=CartPole-v1 seed=range(5) algo.gamma=0.95,0.99 -m"""


def main(arguments: list[str]) -> int:
    """Run the verb."""
    words, options = split_options(arguments)
    config_dirs = [Path(folder) for folder in options["--config-dir"]]
    if "-m" in options["flags"]:
        from rlrun.sweep import prepare_sweep, run_sweep

        jobs = options["--jobs"] or ["1"]
        if not jobs[-1].isdigit() or int(jobs[-1]) < 1:
            raise ConfigError(Problem("--jobs", f"{jobs[-1]!r} is not a whole number above 0"))
        if "--cfg" in options["flags"]:
            for job in prepare_sweep(words, config_dirs):
                print(f"# {job.name}\n{job.prepared.yaml}", end="")
            return 0
        return run_sweep(words, config_dirs, int(jobs[-1]))
    from rlrun.launch import launch, prepare

    prepared = prepare(words, config_dirs)
    if "--cfg" in options["flags"]:
        print(prepared.yaml, end="")
        return 0
    return launch(prepared, command=["rlrun", "train", *arguments])


def split_options(arguments: list[str]) -> tuple[list[str], dict[str, list[str]]]:
    """Separate overrides from options; ConfigError names an option that does not exist."""
    words: list[str] = []
    options: dict[str, list[str]] = {"--config-dir": [], "--jobs": [], "flags": []}
    rest = iter(arguments)
    for word in rest:
        name, has_value, value = word.partition("=")
        if word in ("-m", "--multirun"):
            options["flags"].append("-m")
        elif word == "--cfg":
            options["flags"].append(word)
        elif name in ("--config-dir", "--jobs"):
            value = value if has_value else next(rest, "")
            if not value:
                raise ConfigError(Problem(name, "needs a value"))
            options[name].append(value)
        elif word.startswith("-"):
            raise ConfigError(Problem(word, "unknown option (see `rlrun train --help`)"))
        else:
            words.append(word)
    return words, options
