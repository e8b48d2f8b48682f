import math

import pytest
import torch
from gymnasium import spaces

from rlrun.algos.crossq import CrossQ, CrossQConfig
from rlrun.config import ConfigError
from rlrun.nets.temperature import EntropyCoefficient
from tests.algos.linear import fragment
from tests.algos.off_policy import ACTION, MEMORY, actions_at, batch, learned_in, setting

CROSS = {
    **{"adam_beta1": 0.5, "policy_delay": 3, "critic_sizes": (8,), "batch_renorm": False},
    **{"renorm_warmup": 2, "ent_coef": EntropyCoefficient(True, 0.5), "target_entropy": "auto"},
}
PART = fragment([1.0], [1], [1.0], [0.0], [0], [0])._replace(action=torch.ones(1, 1, 1))


def build(action=ACTION, **changes) -> CrossQ:
    return CrossQ(CrossQConfig(**{**MEMORY, **CROSS, **changes}), setting(action))


def test_the_target_comes_from_the_same_normalised_batch_and_is_a_constant():
    algorithm = build(ent_coef=EntropyCoefficient(False, 0.5))
    rows = batch([1.0, 0.0], [3.0, 1.0], [1.0, 2.0], [5.0, 1.0], [0.5, 0.0])
    torch.manual_seed(4)
    loss, _ = algorithm.critic_loss(rows)
    gradient = torch.autograd.grad(loss, algorithm.critics.head.bias)[0]
    torch.manual_seed(4)
    action, log_prob = (each.detach() for each in algorithm.policy(rows.next_obs))
    unit = torch.tensor([[1.0], [0.0]])
    q, next_q = algorithm.critics.joint((rows.obs, unit), (rows.next_obs, action))
    target = rows.reward + rows.discount * (next_q.amin(0) - 0.5 * log_prob)
    expected = 0.5 * (q - target).square().sum(0).mean()
    assert loss.item() == pytest.approx(expected.item(), rel=1e-4)
    # through the target, the gradient would be smaller by the discount
    errors = (q - target).detach().mean(1)
    torch.testing.assert_close(gradient.flatten(), errors, rtol=1e-3, atol=1e-5)


def test_the_actor_and_the_coefficient_wait_for_the_critics():
    algorithm = build()
    for update in range(1, 7):
        before = {name: learner.flat.clone() for name, learner in algorithm.learners.items()}
        metrics = algorithm.update(PART)
        moved = {
            name: not torch.equal(learner.flat, before[name])
            for name, learner in algorithm.learners.items()
        }
        due = update % 3 == 0
        assert moved == {
            "actor_optimizer": due,
            "critic_optimizer": True,
            "ent_coef_optimizer": due,
        }
        assert ("train/ent_coef_loss" in metrics) == (update >= 3)


def test_the_actor_leaves_the_critics_and_their_moments_alone():
    algorithm = build()
    algorithm.update(PART)
    before = {
        key: each.clone()
        for key, each in algorithm.critics.state_dict().items()
        if torch.is_tensor(each)
    }
    rows = batch([1.0, 0.0], [3.0, 1.0], [1.0, 2.0], [5.0, 1.0], [0.5, 0.0])
    algorithm.learners["actor_optimizer"].minimize(algorithm.actor_loss, rows)
    after = algorithm.critics.state_dict()
    for key, value in before.items():
        assert torch.equal(after[key], value), key


@pytest.mark.parametrize("renorm", [False, True])
def test_renormalisation_begins_after_its_warmup(renorm):
    algorithm = build(batch_renorm=renorm)
    norm = algorithm.critics.norms[0]
    rows = torch.tensor([[0.0, 1.0], [2.0, 3.0]])
    plain = rows.sub(rows.mean(0)).sign()
    for batches in range(4):
        normed = norm.absorb(rows)
        same = torch.allclose(normed, plain, atol=0.01)
        assert same == (not renorm or batches < 2)


def test_adam_forgets_faster():
    for learner in build().learners.values():
        if learner.flat.numel() > 1:
            assert learner.optimizer.betas == (0.5, 0.999)


@pytest.mark.parametrize(
    ("space", "words"),
    [
        (spaces.Discrete(2), r"crossq needs Box actions; hand has Discrete\(2\)"),
        (spaces.Box(-math.inf, math.inf, (1,)), "not bounded.*algo=ppo"),
    ],
)
def test_what_it_cannot_act_in_is_named(space, words):
    with pytest.raises(ConfigError, match=words):
        build(space)


def test_it_learns_to_follow_what_it_sees():
    options = {"critic_sizes": (32,), "ent_coef": EntropyCoefficient(True, 0.1)}
    algorithm = learned_in("RewardByNearness", "crossq", 600, **options)
    assert actions_at(algorithm, -1.0, 1.0) == pytest.approx([-0.5, 0.5], abs=0.15)
