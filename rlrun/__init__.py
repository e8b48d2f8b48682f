"""rlrun: reinforcement-learning experiments from one command.

Importing the package is cheap on purpose: nothing heavy is loaded until a verb needs it.
"""

from importlib.metadata import PackageNotFoundError, version

try:
    __version__ = version("rlrun")
except PackageNotFoundError:  # a source tree that was never installed
    __version__ = "0.0.0"
