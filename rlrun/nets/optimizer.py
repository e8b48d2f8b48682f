"""Adam and RMSprop over one flat vector of parameters, in as few operations as they take.

The classes of `torch.optim` serve lists of tensors and cost more at every step than the arithmetic
on a small network; building one also imports the compiler. The tests hold both to theirs.
"""

from collections.abc import Mapping

import torch
from torch import Tensor


class Adam:
    """Kingma & Ba 2015, "Adam: a method for stochastic optimization", algorithm 1."""

    def __init__(self, flat: Tensor, *, betas: tuple[float, float], epsilon: float) -> None:
        self.betas, self.epsilon = betas, epsilon
        self.state = {
            "step": torch.zeros((), device=flat.device),
            "exp_avg": torch.zeros_like(flat),
            "exp_avg_sq": torch.zeros_like(flat),
        }

    @torch.no_grad()
    def step(self, flat: Tensor, grad: Tensor, learning_rate: float) -> None:
        """Move the parameters `[P]` in place against the gradient `[P]`."""
        state = self.state
        state["step"] += 1
        torch._fused_adam_(  # what torch.optim.Adam(fused=True) calls
            [flat],
            [grad],
            [state["exp_avg"]],
            [state["exp_avg_sq"]],
            [],
            [state["step"]],
            lr=learning_rate,
            beta1=self.betas[0],
            beta2=self.betas[1],
            weight_decay=0.0,
            eps=self.epsilon,
            amsgrad=False,
            maximize=False,
        )

    def moved(self, flat: Tensor, grad: Tensor, learning_rate: Tensor, sound: Tensor) -> Tensor:
        """Return where a step leads to, for a compiler; only where `sound` does its state change.

        All is arithmetic on tensors, of which `learning_rate` and `sound` are scalars.
        """
        state, (beta1, beta2) = self.state, self.betas
        state["step"].add_(sound)
        step = state["step"].double()
        size = _once((learning_rate / (1.0 - beta1**step)).to(grad.dtype))
        unbias = _once((1.0 - beta2**step).rsqrt().to(grad.dtype))
        mean, square = state["exp_avg"], state["exp_avg_sq"]
        mean.copy_(torch.where(sound, torch.lerp(mean, grad, 1.0 - beta1), mean))
        square.copy_(torch.where(sound, beta2 * square + (1.0 - beta2) * grad * grad, square))
        step_taken = size * mean / (square.sqrt() * unbias + self.epsilon)
        return torch.where(sound, flat - step_taken, flat)

    def load(self, state: Mapping[str, Tensor]) -> None:
        """Take the moments back; an empty state is that of a fresh optimizer."""
        _load(self.state, state)


class RMSprop:
    """Tieleman & Hinton 2012, lecture 6.5, with PyTorch's place of epsilon: outside the root."""

    def __init__(self, flat: Tensor, *, alpha: float, epsilon: float) -> None:
        self.alpha, self.epsilon = alpha, epsilon
        self.state = {"square_avg": torch.zeros_like(flat)}

    @torch.no_grad()
    def step(self, flat: Tensor, grad: Tensor, learning_rate: float) -> None:
        """Move the parameters `[P]` in place against the gradient `[P]`."""
        square = self.state["square_avg"]
        square.mul_(self.alpha).addcmul_(grad, grad, value=1.0 - self.alpha)
        flat.addcdiv_(grad, square.sqrt().add_(self.epsilon), value=-learning_rate)

    def moved(self, flat: Tensor, grad: Tensor, learning_rate: Tensor, sound: Tensor) -> Tensor:
        """Return where a step leads to, as Adam's does."""
        square = self.state["square_avg"]
        new = self.alpha * square + (1.0 - self.alpha) * grad * grad
        square.copy_(torch.where(sound, new, square))
        step_taken = learning_rate.to(grad.dtype) * grad / (square.sqrt() + self.epsilon)
        return torch.where(sound, flat - step_taken, flat)

    def load(self, state: Mapping[str, Tensor]) -> None:
        """Take the mean squares back; an empty state is that of a fresh optimizer."""
        _load(self.state, state)


def _once(scalar: Tensor) -> Tensor:
    """Return a scalar that a compiler computes before a loop, not anew for each part of it.

    Inductor repeats in a loop whatever leads to it, even powers in float64 that are the same for
    all elements; it keeps apart what is asked for with strides.
    """
    return scalar.as_strided((), ())


def _load(held: dict[str, Tensor], state: Mapping[str, Tensor]) -> None:
    for name, tensor in held.items():
        tensor.copy_(state[name]) if name in state else tensor.zero_()
