import copy

import torch

from rlrun.functional.returns import v_trace_advantage
from rlrun.types import Fragment
from tests.algos.linear import policy_config
from tests.algos.trust_region import BOX, acted, build, deep


def flowing(algorithm) -> Fragment:
    """Return rows as `acted` does, in which few steps end an episode."""
    part = acted(algorithm)
    ends = torch.rand(16, 4)
    return part._replace(
        next_obs=torch.randn_like(part.obs), terminated=ends < 0.1, truncated=ends > 0.9
    )


def judged(algorithm, part) -> dict:
    """Return what an algorithm makes of rows before it learns from them."""
    policy = algorithm.policy
    with torch.no_grad():
        return {
            "log_prob": policy.distribution(part.obs).log_prob(part.action),
            "value": policy.value(part.obs),
            "next_value": policy.value(part.next_obs),
        }


def test_an_update_learns_from_the_fragments_before_with_what_they_are_worth_now():
    torch.manual_seed(0)
    policy = policy_config(normalize_reward=True, normalize_observation=True)
    options = {"n_steps": 16, "batch_size": 64, "n_fragments": 3, "normalize_advantage": True}
    algorithm = build(deep(BOX), policy, **options)
    parts, then, rewards = [], [], []
    seen, fitted = [], []
    surrogate, value_loss = algorithm.surrogate, algorithm.value_loss
    algorithm.surrogate = lambda batch: seen.append(batch) or surrogate(batch)
    algorithm.value_loss = lambda batch: fitted.append(batch) or value_loss(batch)
    for _ in range(2):
        part = flowing(algorithm)
        parts.insert(0, part)
        then.insert(0, judged(algorithm, part)["log_prob"])
        rewards.insert(0, copy.deepcopy(algorithm.policy.reward_scaler)(part.reward, part.done))
        now = [judged(algorithm, each) for each in parts]
        seen.clear()
        fitted.clear()
        algorithm.update(part)

    both = {name: torch.cat([each[name] for each in now], 1) for name in now[0]}
    ratio = (both["log_prob"] - torch.cat(then, 1)).exp()
    assert ratio.min() < 0.9  # the first update moved the policy
    assert ratio.max() > 1.1
    weight = ratio.clamp(max=1.0)
    terminated = torch.cat([part.terminated for part in parts], 1)
    done = torch.cat([part.done for part in parts], 1)
    delta = torch.cat(rewards, 1) + 0.5 * both["next_value"] * ~terminated - both["value"]
    advantage = v_trace_advantage(delta, done, weight, 0.5, 0.5)
    expected = (ratio * (advantage - advantage.mean()) / advantage.std()).flatten()
    assert torch.allclose(seen[0]["advantage"], expected, atol=1e-4)
    assert torch.allclose(seen[0]["old_log_prob"], both["log_prob"].flatten(), atol=1e-5)
    targets = torch.cat([batch["target"] for batch in fitted]).sort().values
    wanted = (weight * advantage + both["value"]).flatten().sort().values
    assert torch.allclose(targets, wanted, atol=1e-5)
    # what was observed counts once
    assert algorithm.policy.normalizer.moments[0].count == 2 * 64


def test_a_checkpoint_holds_the_fragments_that_are_used_again():
    def built():
        return build(deep(BOX), n_steps=16, batch_size=64, n_fragments=2)

    torch.manual_seed(0)
    first, second, fresh = built(), built(), built()
    first.update(acted(first))
    for name, part in first.parts().items():
        second.parts()[name].load_state_dict(part.state_dict())
    second.actor.target_kl = first.actor.target_kl
    fresh.policy.load_state_dict(first.policy.state_dict())
    part = acted(first)
    moved = []
    for algorithm in (first, second, fresh):
        torch.manual_seed(1)
        algorithm.update(part)
        moved.append(algorithm.actor.flat.clone())
    assert torch.equal(moved[0], moved[1])
    assert not torch.allclose(moved[0], moved[2])
