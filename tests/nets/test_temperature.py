import math

import pytest
from gymnasium import spaces

from rlrun.nets.temperature import EntropyCoefficient, Temperature, default_target_entropy


@pytest.mark.parametrize(
    ("written", "learned", "first"),
    [("auto", True, 1.0), ("auto_0.1", True, 0.1), (0.2, False, 0.2), ("0.2", False, 0.2)],
)
def test_the_coefficient_is_read_and_written(written, learned, first):
    coefficient = EntropyCoefficient.parse(written)
    assert coefficient == EntropyCoefficient(learned, first)
    assert EntropyCoefficient.parse(coefficient.plain()) == coefficient
    temperature = Temperature(coefficient)
    assert temperature().item() == pytest.approx(first)
    assert len(list(temperature.parameters())) == int(learned)
    assert not temperature().requires_grad


@pytest.mark.parametrize("written", ["atuo", "auto_", "auto_x", True, "nan", None])
def test_a_coefficient_that_is_none_is_refused(written):
    with pytest.raises(ValueError, match="is not a number, auto or auto_<first value>"):
        EntropyCoefficient.parse(written)


@pytest.mark.parametrize("written", ["auto_0", "auto_-1"])
def test_a_learned_coefficient_starts_above_zero(written):
    with pytest.raises(ValueError, match="starts above 0"):
        EntropyCoefficient.parse(written)


def test_the_usual_targets():
    assert default_target_entropy(spaces.Box(-1, 1, (2, 3))) == -6.0
    assert default_target_entropy(spaces.Discrete(4)) == pytest.approx(0.98 * math.log(4))
