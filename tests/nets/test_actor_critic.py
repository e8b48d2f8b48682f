import numpy as np
import pytest
import torch
from gymnasium import spaces

from rlrun.nets.actor_critic import ActorCritic, PolicyConfig
from rlrun.types import EnvSpec
from tests.nets.networks import mlp

BOX = spaces.Box(-np.inf, np.inf, (3,), np.float32)
SPEC = EnvSpec("test", 2, BOX, spaces.Discrete(4))


def build(shared=False, spec=SPEC, **changes) -> ActorCritic:
    options = {"normalize_observation": False, "normalize_reward": False, "log_std_init": 0.0}
    options |= {"action_distribution": "gaussian", "sde_sample_freq": 4, **changes}
    return ActorCritic(PolicyConfig(**options), spec, mlp(8, shared=shared), gamma=0.5)


@pytest.mark.parametrize("shared", [False, True])
@pytest.mark.parametrize("leading", [(2,), (5, 2)])
def test_one_pass_equals_its_halves(shared, leading):
    policy = build(shared)
    obs = torch.randn(*leading, 3)
    distribution, value = policy(obs)
    assert value.shape == leading
    torch.testing.assert_close(value, policy.value(obs))
    torch.testing.assert_close(distribution.logits, policy.distribution(obs).logits)


def weights_behind(policy: ActorCritic, output: torch.Tensor) -> torch.Tensor:
    """Return which of all weights an output depends on, one flag each."""
    grads = torch.autograd.grad(output.sum(), list(policy.parameters()), materialize_grads=True)
    return torch.cat([grad.reshape(-1) for grad in grads]) != 0


def test_a_shared_trunk_is_one_and_separate_trunks_are_two():
    obs, trunk = torch.randn(20, 3), 3 * 8 + 8
    for shared, common in ((True, trunk), (False, 0)):
        policy = build(shared)
        chosen = policy.distribution(obs).log_prob(torch.ones(20).long())
        actor, critic = (weights_behind(policy, out) for out in (chosen, policy.value(obs)))
        assert (actor & critic).sum() == common
        assert (actor | critic).all()


def test_acting_without_exploration_takes_the_most_likely_action():
    policy, obs = build(), torch.randn(50, 3)
    decision = policy.act(obs, (), explore=False)
    assert torch.equal(decision.action, policy.distribution(obs).mode())
    assert len(set(policy.act(obs, (), explore=True).action.tolist())) == 4


def test_acting_computes_nothing_of_the_critic():
    policy, calls = build(), []
    policy.value_head.register_forward_hook(lambda *_: calls.append("value"))
    policy.torsos.register_forward_hook(lambda *_: calls.append("both torsos"))
    policy.act(torch.randn(2, 3), (), explore=True)
    assert calls == []
    policy(torch.randn(2, 3))
    assert calls == ["both torsos", "value"]


def test_everything_sees_the_normalised_observation():
    policy = build(normalize_observation=True)
    fragment = 5.0 * torch.randn(20, 2, 3) + 100.0
    policy.absorb(fragment)
    plain = build()
    state = {k: v for k, v in policy.state_dict().items() if not k.startswith("normalizer")}
    plain.load_state_dict(state)
    obs = fragment[0]
    scaled = policy.normalizer(obs)
    assert scaled.abs().max() < 5
    assert torch.equal(policy.value(obs), plain.value(scaled))
    assert torch.equal(policy.distribution(obs).logits, plain.distribution(scaled).logits)
    assert torch.equal(policy(obs)[1], plain(scaled)[1])
    action = policy.act(obs, (), explore=False).action
    assert torch.equal(action, plain.act(scaled, (), explore=False).action)


def test_without_normalisers_nothing_changes():
    policy = build()
    before = policy.state_dict()
    policy.absorb(torch.randn(20, 2, 3))
    reward = torch.randn(20, 2)
    assert policy.scale_reward(reward, torch.zeros(20, 2, dtype=torch.bool)) is reward
    assert policy.state_dict().keys() == before.keys()


def test_rewards_are_scaled_with_the_algorithms_discount():
    policy = build(normalize_reward=True)
    reward, done = torch.tensor([[1.0, 1.0], [2.0, 2.0]]), torch.zeros(2, 2, dtype=torch.bool)
    # returns 1 and 2 + 1/2 in both environments: deviation 3/4
    expected = (reward / 0.75).flatten().tolist()
    assert policy.scale_reward(reward, done).flatten().tolist() == pytest.approx(expected)


def test_the_carry_of_gsde_goes_in_and_out():
    spec = EnvSpec("test", 2, BOX, spaces.Box(-1, 1, (1,), np.float32))
    policy = build(spec=spec, action_distribution="gsde")
    carry = policy.initial_carry(2)
    decision = policy.act(torch.randn(2, 3), carry, explore=True)
    assert decision.carry[1].tolist() == [1, 1]
    assert build().initial_carry(2) == ()
