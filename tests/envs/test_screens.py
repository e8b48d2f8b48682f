"""Atari's screens, fetched and made gray by the house, against those that ale-py draws."""

import gymnasium as gym
import numpy as np
import pytest

from rlrun.envs.adapter import make_single
from rlrun.envs.wrappers import areas, observations, screens
from rlrun.envs.wrappers.games import EpisodicLife, FireReset, NoopStart
from rlrun.envs.wrappers.observations import MaxAndSkip, Resize
from rlrun.envs.wrappers.screens import ScreensEnv
from tests.recipes import recipe

pytest.importorskip("ale_py")
pytest.importorskip("cv2")
pytest.importorskip("numba")

PONG = ("env=ALE/Pong-v5", "preset=none", "env.vectorization=sync")


def both_ways(*words, skip=4):
    """Return Pong with its screens fetched where somebody looks, and with every one drawn."""
    games = [make_single(recipe(*PONG, "env.wrappers=[]", *words).run.env) for _ in range(2)]
    inner = [NoopStart(noop_max=30).wrap(game) for game in games]
    return MaxAndSkip(skip=skip).wrap(inner[0]), gym.wrappers.MaxAndSkipObservation(inner[1], skip)


@pytest.mark.parametrize(("skip", "sticky"), [(2, 0.25), (3, 0), (4, 0)])
def test_screens_fetched_where_somebody_looks_are_those_of_gymnasium(skip, sticky):
    # held frames behind a game's end still draw whether the action sticks, so 0 where there are any
    ours, theirs = both_ways(f"env.kwargs.repeat_action_probability={sticky}", skip=skip)
    assert isinstance(ours, ScreensEnv)
    assert ours.observation_space == theirs.observation_space
    rng, ends, rewards = np.random.default_rng(0), 0, set()
    assert (ours.reset(seed=3)[0] == theirs.reset(seed=3)[0]).all()
    for _ in range(1500):
        action = rng.integers(6)
        (seen, *ours_told), (drawn, *theirs_told) = ours.step(action), theirs.step(action)
        assert ours_told == theirs_told
        rewards.add(ours_told[0])
        if ours_told[1]:
            ends += 1
            seen, drawn = ours.reset()[0], theirs.reset()[0]
        assert (seen == drawn).all()
    assert rewards >= {-1.0, 0.0}
    assert ends > 0 or skip == 2


@pytest.mark.parametrize(
    "words", [("env.kwargs.obs_type=rgb",), ("env.kwargs.max_episode_steps=9",)]
)
def test_colours_and_limits_in_steps_are_left_to_gymnasium(words):
    ours, _ = both_ways(*words)
    assert isinstance(ours, gym.wrappers.MaxAndSkipObservation)


def test_a_changed_screen_is_the_one_that_is_skipped_over():
    game = make_single(recipe(*PONG, "env.wrappers=[]").run.env)
    dark = gym.wrappers.TransformObservation(game, lambda seen: seen // 2, game.observation_space)
    assert isinstance(MaxAndSkip(skip=4).wrap(dark), gym.wrappers.MaxAndSkipObservation)


def test_a_game_that_ends_on_the_way_shows_its_last_frame():
    env = make_single(recipe(*PONG, "env.wrappers=[max_and_skip]").run.env)
    env.reset(seed=0)
    ale = env.unwrapped.ale
    while not (told := env.step(0))[2]:
        pass
    assert (told[0] == ale.getScreenGrayscale()).all()
    assert env.unwrapped._frameskip == 1


def bare(game):
    return make_single(recipe(f"env=ALE/{game}-v5", "preset=none", "env.wrappers=[]").run.env)


@pytest.mark.parametrize("game", ["Pong", "Enduro", "Asteroids", "Riverraid"])
def test_a_look_shows_what_the_emulator_draws(game):
    env, rng = bare(game), np.random.default_rng(0)
    env.reset(seed=0)
    ale = env.unwrapped.ale
    often, seldom = screens.Screens(ale), screens.Screens(ale)
    for step in range(400):
        if env.step(rng.integers(env.action_space.n))[2]:
            env.reset()
        drawn = ale.getScreenGrayscale()
        assert (often.look() == drawn).all()
        if step % 7 == 0:
            assert (seldom.look() == drawn).all()
    known = often._table[often._table < screens.UNKNOWN]
    assert 4 <= len(known) < 128
    assert len(np.unique(known)) > 3


class Emulator:
    """What a look asks of ale-py, on a screen of one's own; a colour is half as bright."""

    def __init__(self, *rows):
        self.screen, self.drawn = np.array(rows, np.uint8), 0

    def getScreen(self):  # noqa: N802
        return self.screen

    def getScreenGrayscale(self):  # noqa: N802
        self.drawn += 1
        return self.screen // 2


def test_only_a_colour_not_met_before_is_asked_for():
    ale = Emulator([2, 2], [4, 4])
    kept = screens.Screens(ale)
    drawn = ale.drawn
    assert (kept.look().tolist(), ale.drawn) == ([[1, 1], [2, 2]], drawn)  # as it was
    ale.screen[0] = 4, 6
    assert (kept.look().tolist(), ale.drawn) == ([[2, 3], [2, 2]], drawn + 1)
    ale.screen[0] = 6, 4
    assert (kept.look().tolist(), ale.drawn) == ([[3, 2], [2, 2]], drawn + 1)
    kept.gray[0] = 9  # a row that stays is not written
    ale.screen[1] = 6
    assert kept.look().tolist() == [[9, 9], [3, 3]]


def test_a_resized_game_shows_the_average_of_each_frame():
    ours, theirs = Resize(shape=(84, 84)).wrap(bare("Pong")), bare("Pong")
    assert isinstance(ours, ScreensEnv)
    average, rng = areas.averager((210, 160), (84, 84)), np.random.default_rng(0)
    first = shown = ours.reset(seed=3)[0]
    assert shown.shape == ours.observation_space.shape == (84, 84)
    drawn = theirs.reset(seed=3)[0]
    kept = shown.copy()
    for _ in range(300):
        assert (shown == average(drawn)).all()
        action = rng.integers(6)
        (shown, *ours_told), (drawn, *theirs_told) = ours.step(action), theirs.step(action)
        assert ours_told == theirs_told
    assert (first == kept).all()  # nothing that was shown is written over
    assert not (first == shown).all()


LIVES = (NoopStart(noop_max=30), MaxAndSkip(skip=4), EpisodicLife(), FireReset())


@pytest.mark.parametrize("game", ["Breakout", "Enduro", "Alien"])
@pytest.mark.parametrize("size", [84, 230])  # the latter by OpenCV, which makes pictures larger
def test_a_list_shows_what_its_wrappers_show_one_after_the_other(game, size, monkeypatch):
    def listed():
        env = bare(game)
        for each in (*(LIVES if game == "Breakout" else LIVES[:3]), Resize(shape=(size, size))):
            env = each.wrap(env)
        return env

    ours, of_last = listed(), areas.averager((210, 160), (size, size))
    monkeypatch.setattr(observations, "has_screens", lambda env: False)
    theirs = listed()
    inside = ours if game != "Breakout" else ours.env
    assert isinstance(inside.env, ScreensEnv) == (size == 84)
    assert ours.observation_space == theirs.observation_space
    rng, ends = np.random.default_rng(0), 0
    (seen, _), (drawn, _) = (env.reset(seed=3) for env in (ours, theirs))
    for step in range(1000):
        assert (seen == drawn).all(), step
        action = rng.integers(ours.action_space.n)
        (seen, *ours_told), (drawn, *theirs_told) = ours.step(action), theirs.step(action)
        assert ours_told[:3] == theirs_told[:3]
        if ours_told[1]:
            ends += 1
            shown = [drawn]
            if ours.unwrapped.ale.game_over():  # before an action's end, Gymnasium mixes in more
                shown.append(of_last(ours.unwrapped.ale.getScreenGrayscale()))
            assert any((seen == each).all() for each in shown), step
            (seen, _), (drawn, _) = ours.reset(), theirs.reset()
    assert ends >= 3 or game == "Enduro"


def test_a_screen_made_smaller_late_is_shown_whole():
    late, whole = (MaxAndSkip(skip=4).wrap(bare("Pong")) for _ in range(2))
    for env in (late, whole):
        env.reset(seed=0)
        for _ in range(20):
            env.step(2)
    average = areas.averager((210, 160), (84, 84))
    assert (Resize(shape=(84, 84)).wrap(late).step(2)[0] == average(whole.step(2)[0])).all()


def test_what_is_smaller_already_is_not_made_smaller_inside():
    once = Resize(shape=(84, 84)).wrap(bare("Pong"))
    twice = Resize(shape=(42, 42)).wrap(once)
    seen = twice.reset(seed=0)[0]
    assert seen.shape == (42, 42)
    assert once.observation_space.shape == (84, 84)
    assert (seen == areas.averager((84, 84), (42, 42))(once.step(0)[0])).mean() > 0.9


@pytest.mark.parametrize("skip", [1, 4])
def test_an_end_is_the_last_thing_that_happens_and_its_screen_stays(skip):
    lives = recipe("env=ALE/Breakout-v5", "preset=none", "env.wrappers=[episodic_life]").run.env
    env = ScreensEnv(make_single(lives), skip)
    env.reset(seed=0)
    taken, shown = set(), []
    for step in range(1200):
        before = env.unwrapped.ale.getEpisodeFrameNumber()
        screen, _, ended, *_ = env.step(step % 2)
        if ended:
            taken.add(env.unwrapped.ale.getEpisodeFrameNumber() - before)
            shown.append((screen, screen.copy()))
            env.reset()
    assert len(shown) > 4
    assert skip == 1 or taken & {1, 2, 3}  # of four frames, those after a lost life are not played
    assert all((screen == copy).all() for screen, copy in shown)


@pytest.mark.parametrize("skip", [1, 2])
def test_screens_that_were_shown_stay(skip):
    env = ScreensEnv(bare("Pong"), skip)
    shown = [env.reset(seed=0)[0], *(env.step(2)[0] for _ in range(40)), env.reset()[0]]
    copies = [each.copy() for each in shown]
    for _ in range(30):
        env.step(3)
    assert all((old == copy).all() for old, copy in zip(shown, copies, strict=True))
    assert len({each.tobytes() for each in shown}) > 5


def test_without_numba_gymnasium_draws_them(monkeypatch):
    monkeypatch.setattr(screens, "compiled_once", lambda loop: None)
    ours, _ = both_ways()
    assert isinstance(ours, gym.wrappers.MaxAndSkipObservation)
