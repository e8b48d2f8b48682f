"""From action values `[..., A]` to the probabilities of an exploring policy `[..., A]`."""

import torch
from torch import Tensor


def epsilon_greedy(q: Tensor, epsilon: float) -> Tensor:
    """Return epsilon / A everywhere plus (1 - epsilon) shared among the best actions.

    Ties share the greedy part equally, so that a table of zeros explores instead of repeating its
    first action. Source: Sutton & Barto 2018, section 2.2.
    """
    best = (q == q.max(-1, keepdim=True).values).to(q.dtype)
    greedy = best / best.sum(-1, keepdim=True)
    return (1.0 - epsilon) * greedy + epsilon / q.shape[-1]


def boltzmann(q: Tensor, temperature: float) -> Tensor:
    """Return softmax(q / temperature); a temperature of 0 gives the greedy policy.

    Source: Sutton & Barto 2018, section 2.8 (soft-max action preferences).
    """
    if temperature <= 0.0:
        return epsilon_greedy(q, 0.0)
    return torch.softmax(q / temperature, -1)
