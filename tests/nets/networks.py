"""Small networks for tests."""

from rlrun.nets.torso import Network
from rlrun.nets.torsos.mlp import MLP


def mlp(*sizes: int, **changes) -> Network:
    """Return fully connected layers, as plain as they can be, with changes to their options."""
    plain = {"activation": "tanh", "layer_norm": False, "spectral_norm": False}
    options = {**plain, "init": "orthogonal", "shared": False, **changes}
    return Network(MLP, MLP.Config(sizes=sizes, **options))
