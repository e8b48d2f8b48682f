"""Exploring policies over action values `[..., A]`: their probabilities, and samples of them.

The samplers draw from the same distributions with fewer operations than the probabilities need.
"""

from typing import Literal, TypeAlias

import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812 - the name every torch user knows

Ties: TypeAlias = Literal["random", "first"]
"""Of equally good actions, take any, or the one of the lowest number."""


def epsilon_greedy(q: Tensor, epsilon: float, ties: Ties) -> Tensor:
    """Return epsilon / A everywhere plus (1 - epsilon) for the best action, `[..., A]`.

    With random ties the best actions share that part equally, so that a table of zeros explores
    instead of repeating its first action. Source: Sutton & Barto 2018, section 2.2.
    """
    best = best_actions(q, ties).to(q.dtype)
    greedy = best / best.sum(-1, keepdim=True)
    return (1.0 - epsilon) * greedy + epsilon / q.shape[-1]


def boltzmann(q: Tensor, temperature: float, ties: Ties) -> Tensor:
    """Return softmax(q / temperature), `[..., A]`; a temperature of 0 gives the greedy policy.

    Source: Sutton & Barto 2018, section 2.8 (soft-max action preferences).
    """
    if temperature <= 0.0:
        return epsilon_greedy(q, 0.0, ties)
    return torch.softmax(q / temperature, -1)


def sample_epsilon_greedy(q: Tensor, epsilon: float, ties: Ties) -> Tensor:
    """Draw actions `[...]` with the probabilities of `epsilon_greedy`.

    Each allowed action gets a uniform number and the largest wins: all actions are allowed with
    probability epsilon, else only the best.
    """
    allowed = best_actions(q, ties)
    if epsilon > 0.0:
        allowed |= torch.rand((*q.shape[:-1], 1), device=q.device) < epsilon
    return torch.where(allowed, torch.rand(q.shape, device=q.device), -1.0).argmax(-1)


def sample_boltzmann(q: Tensor, temperature: float, ties: Ties) -> Tensor:
    """Draw actions `[...]` with the probabilities of `boltzmann`.

    The argmax of q / temperature plus Gumbel noise is such a draw, and -log of an exponential
    number is Gumbel noise. Source: Maddison et al. 2014, "A* sampling", section 2.
    """
    if temperature <= 0.0:
        return sample_epsilon_greedy(q, 0.0, ties)
    return (q / temperature - torch.empty_like(q).exponential_().log()).argmax(-1)


def best_actions(q: Tensor, ties: Ties) -> Tensor:
    """Return where the greedy policy may act, `[..., A]` bool: all the best, or the first."""
    if ties == "first":
        return F.one_hot(q.argmax(-1), q.shape[-1]).bool()
    return q == q.amax(-1, keepdim=True)


def random_or_best(q: Tensor, epsilon: Tensor) -> Tensor:
    """Draw the first of the best actions `[...]` or, with probability epsilon, a scalar, any.

    The same as `sample_epsilon_greedy` with the first of ties, in half the operations.
    """
    best = q.argmax(-1)
    action = torch.randint(q.shape[-1], best.shape, device=q.device)
    return torch.where(torch.rand(best.shape, device=q.device) < epsilon, action, best)
