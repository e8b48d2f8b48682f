"""Chooses where tensors live, and says why."""

import torch
from gymnasium import Space, spaces

from rlrun.config import ConfigError, Problem


def choose_device(name: str, obs_space: Space[object]) -> tuple[torch.device, str]:
    """Return the device and the reason; ConfigError when CUDA is asked for and absent.

    `auto` takes CUDA only for images: a small network waits longer for a GPU than it computes.
    """
    if name == "cpu":
        return torch.device("cpu"), "as asked"
    if name == "cuda":
        check_device(name)
        return torch.device("cuda"), f"as asked: {torch.cuda.get_device_name()}"
    if not torch.cuda.is_available():
        return torch.device("cpu"), "no CUDA device was found"
    parts = obs_space.spaces.values() if isinstance(obs_space, spaces.Dict) else [obs_space]
    if any(len(part.shape or ()) >= 2 for part in parts):
        return torch.device("cuda"), f"images, and there is {torch.cuda.get_device_name()}"
    return torch.device("cpu"), "small networks are faster here; device=cuda overrides"


def check_device(name: str) -> None:
    """Raise ConfigError when a device is asked for that this machine does not have."""
    if name == "cuda" and not torch.cuda.is_available():
        built = "" if torch.backends.cuda.is_built() else " (this build of torch has no CUDA)"
        reason = f"no CUDA device was found{built}; use device=cpu or device=auto"
        raise ConfigError(Problem("device", reason))
