import numpy as np
import pytest

from rlrun.build import make_env
from rlrun.config import ConfigError
from rlrun.replay import _picture
from rlrun.video import shown
from tests.recipes import recipe


def test_floats_become_bytes_and_few_pixels_many():
    frame = np.zeros((10, 20, 3))
    frame[3, 4] = (1.0, 0.5, 2.0)
    picture = shown(frame)
    assert (picture.shape, picture.dtype) == ((100, 200, 3), np.uint8)
    assert picture[30:40, 40:50].reshape(-1, 3).tolist() == [[255, 128, 255]] * 100
    assert picture.sum() == 100 * (255 + 128 + 255)


def test_a_picture_large_enough_stays_as_it_is():
    frame = np.arange(100 * 120 * 3, dtype=np.uint32).reshape(100, 120, 3) % 256
    assert np.array_equal(shown(frame.astype(np.uint8)), frame)


def test_what_cannot_draw_is_told_in_one_line():
    class Blind:
        def render(self):
            raise RuntimeError("no OpenGL context\nand more")

    with pytest.raises(
        ConfigError, match=r"--video: no picture can be drawn here: no OpenGL conte"
    ):
        _picture(Blind())


def test_driving_is_drawn_without_a_screen(monkeypatch):
    pytest.importorskip("highway_env")
    monkeypatch.setenv("SDL_VIDEODRIVER", "offscreen")
    env = make_env(recipe("algo=ppo", "env=highway-fast-v0", "algo.batch_size=64"), 1, "rgb_array")
    env.reset(0)
    assert env.render().std() > 5.0
    env.close()
