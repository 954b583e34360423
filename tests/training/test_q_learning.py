"""FrozenLake against what can be known exactly: value iteration, evaluation of a policy, and the real environment."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from fastapi.testclient import TestClient
from torch import nn

from app.main import create_app
from app.settings import Settings
from tests.conftest import ROOT
from training import export, figures
from training.frozenlake import (
    ACTION_NAMES,
    GOAL,
    MOST_STEPS,
    START,
    STATES,
    Lake,
    ManyLakes,
    Steps,
    best_success_within,
    lake,
    optimal_q,
    play,
    success_within,
)
from training.q_learning import (
    DISCOUNT,
    ROLLOUT,
    Curves,
    Replay,
    WithRollout,
    WithSuccess,
    epsilon_greedy,
    greedy,
    he,
    learn_online,
    learn_with_replay,
    q_of,
    q_tables,
    q_values,
    sequential,
    td_targets,
    without_denormals,
)

LEFT, DOWN, RIGHT, UP = range(4)
HOLES = [5, 7, 11, 12]
CALM, SLIPPERY = lake(False), lake(True)
STATE_ROWS = np.arange(STATES, dtype=np.float32)[:, None]


def generator() -> torch.Generator:
    return torch.Generator().manual_seed(0)


# --- the lake --------------------------------------------------------------------------------------------------------


def test_lake_is_the_map_of_the_course() -> None:
    assert CALM.tiles == "SFFFFHFHFFFHHFFG"
    assert np.flatnonzero(CALM.over).tolist() == [*HOLES, GOAL]


def test_actions_go_where_their_names_say() -> None:
    goes = CALM.chances[9].argmax(1)

    assert dict(zip(ACTION_NAMES, goes.tolist(), strict=True)) == {"left": 8, "down": 13, "right": 10, "up": 5}


def test_slippery_ice_goes_to_either_side_as_often() -> None:
    np.testing.assert_allclose(SLIPPERY.chances.sum(2), 1, atol=1e-15)
    assert SLIPPERY.chances[9, RIGHT, [13, 10, 5]] == pytest.approx(1 / 3)
    assert SLIPPERY.chances[0, LEFT, [0, 4]] == pytest.approx([2 / 3, 1 / 3])


def test_only_the_step_onto_the_goal_is_rewarded() -> None:
    assert np.argwhere(CALM.rewards).tolist() == [[14, RIGHT, GOAL]]
    assert {tuple(where) for where in np.argwhere(SLIPPERY.rewards)[:, [0, 2]]} == {(14, GOAL)}


# --- value iteration and evaluation ----------------------------------------------------------------------------------


def test_optimal_q_discounts_by_the_steps_to_the_goal() -> None:
    q = optimal_q(CALM, DISCOUNT)

    assert q[START] == pytest.approx([0.99**6, 0.99**5, 0.99**5, 0.99**6], abs=1e-12)
    assert q[14] == pytest.approx([0.99**2, 0.99, 1, 0.99**2], abs=1e-12)
    assert not q[CALM.over].any()


@pytest.mark.parametrize("known", [CALM, SLIPPERY], ids=["calm", "slippery"])
def test_optimal_q_agrees_with_the_equations_of_its_policy(known: Lake) -> None:
    """V = r + γ P V of the greedy policy, solved as linear equations."""
    q = optimal_q(known, DISCOUNT)
    policy, states = q.argmax(1), np.arange(STATES)
    chances = known.chances[states, policy]
    reward = (chances * known.rewards[states, policy]).sum(1)
    chances = np.where(known.over[:, None], 0, chances)

    np.testing.assert_allclose(q.max(1), np.linalg.solve(np.eye(STATES) - DISCOUNT * chances, reward), atol=1e-10)


def test_success_of_the_optimal_policy_is_what_is_known_of_it() -> None:
    policy = optimal_q(SLIPPERY, DISCOUNT).argmax(1)

    assert success_within(SLIPPERY, policy, 10_000)[START] == pytest.approx(14 / 17, abs=1e-9)
    assert success_within(SLIPPERY, policy)[START] == pytest.approx(0.7402, abs=1e-4)
    assert success_within(SLIPPERY, policy)[[*HOLES, GOAL]].tolist() == [0, 0, 0, 0, 1]


def test_no_policy_does_better_than_the_one_that_counts_the_steps() -> None:
    best = best_success_within(SLIPPERY)
    policies = np.random.default_rng(0).integers(0, 4, (200, STATES))

    assert best[START] == pytest.approx(0.7442, abs=1e-4)
    assert all((success_within(SLIPPERY, policy) <= best + 1e-12).all() for policy in policies)


@pytest.mark.parametrize("policy", [optimal_q(SLIPPERY, DISCOUNT).argmax(1), np.full(STATES, RIGHT)])
def test_exact_success_is_what_real_episodes_give(policy: np.ndarray) -> None:
    reached, lengths = play(True, policy, 1_000, seed=3)
    chance = success_within(SLIPPERY, policy)[START]

    assert abs(reached.mean() - chance) < 4 * np.sqrt(chance * (1 - chance) / 1_000)
    assert lengths.max() <= MOST_STEPS


def test_real_episodes_of_the_optimal_policy_take_six_steps() -> None:
    reached, lengths = play(False, optimal_q(CALM, DISCOUNT).argmax(1), 10, seed=0)

    assert reached.all()
    assert (lengths == 6).all()


# --- many lakes ------------------------------------------------------------------------------------------------------


def test_many_lakes_go_as_often_where_the_real_one_goes() -> None:
    lakes = ManyLakes(SLIPPERY, (30_000,), generator())
    lakes.states[:] = 9
    steps = lakes.step(torch.full((30_000,), RIGHT))

    assert torch.bincount(steps.following, minlength=STATES)[[5, 10, 13]].tolist() == pytest.approx(
        [10_000] * 3, abs=350
    )
    assert torch.equal(steps.terminated, steps.following == 5)
    assert torch.equal(lakes.states == START, steps.terminated)
    assert torch.equal(lakes.episodes, steps.terminated.long())


def test_many_lakes_reward_the_goal() -> None:
    lakes = ManyLakes(CALM, (2,), generator())
    lakes.states[:] = torch.tensor([14, 13])
    steps = lakes.step(torch.tensor([RIGHT, RIGHT]))

    assert steps.rewards.tolist() == [1, 0]
    assert steps.terminated.tolist() == [True, False]
    assert lakes.states.tolist() == [START, 14]


def test_running_out_of_time_ends_an_episode_and_is_not_told_as_its_end() -> None:
    lakes = ManyLakes(CALM, (1,), generator())
    lakes.states[:] = 1
    for _ in range(MOST_STEPS):
        assert lakes.episodes.tolist() == [0]
        steps = lakes.step(torch.tensor([UP]))

    assert steps.terminated.tolist() == [False]
    assert (lakes.episodes.tolist(), lakes.states.tolist()) == ([1], [START])


# --- learning --------------------------------------------------------------------------------------------------------


def test_nothing_follows_a_hole_or_the_goal_in_the_targets() -> None:
    """By hand: a step on ice, one onto the goal, one into a hole. The network thinks 0.5 of all that follows."""
    rewards, following = torch.tensor([[0.0, 1.0, 0.0]]), torch.full((1, 3), 0.5)
    targets = td_targets(rewards, following, torch.tensor([[False, True, True]]))

    assert targets[0].tolist() == pytest.approx([0.495, 1.0, 0.0])


def test_q_of_picks_the_action_taken_in_each_state() -> None:
    tables = torch.arange(2 * STATES * 4.0).view(2, STATES, 4)

    assert q_of(tables, torch.tensor([[3, 0], [15, 15]]), torch.tensor([[2, 1], [0, 3]])).tolist() == [
        [14, 1],
        [124, 127],
    ]


def test_epsilon_greedy_takes_the_best_action_except_when_it_explores() -> None:
    q = torch.tensor([0.0, 0.3, 0.1, 0.2]).expand(40_000, 4)
    counts = torch.bincount(epsilon_greedy(q, 0.1, generator()), minlength=4)

    assert counts.tolist() == pytest.approx([1_000, 37_000, 1_000, 1_000], abs=200)
    assert (epsilon_greedy(q, 0.0, generator()) == DOWN).all()


def test_replay_gives_whole_steps_of_the_right_seed() -> None:
    replay = Replay(2, 8)
    for value in (1, 2):
        of = torch.tensor([[value] * 3, [10 * value] * 3])
        replay.add(Steps(of, of + 1, of.float() + 2, of + 3, of > 1))
    sampled = replay.sample(100, generator())

    assert [set(seed) for seed in sampled.states.tolist()] == [{1, 2}, {10, 20}]
    assert torch.equal(sampled.actions, sampled.states + 1)
    assert torch.equal(sampled.rewards, sampled.states.float() + 2)
    assert torch.equal(sampled.following, sampled.states + 3)
    assert torch.equal(sampled.terminated, sampled.states > 1)


def test_seeds_that_are_trained_as_one_are_networks_of_their_own() -> None:
    parameters = he(generator(), 3)
    body = sequential(parameters, 1)

    torch.testing.assert_close(q_tables(parameters)[1], body(torch.eye(STATES)))
    torch.testing.assert_close(q_values(parameters, torch.tensor([[2], [7], [2]]))[1, 0], body(torch.eye(STATES))[7])
    assert [(layer.in_features, layer.out_features) for layer in body if isinstance(layer, nn.Linear)] == [
        *((16, 64), (64, 64), (64, 96), (96, 96), (96, 64), (64, 64), (64, 4)),
    ]


def test_policy_and_values_come_closer_to_the_best_ones() -> None:
    """In an eighth of the training; a policy at random succeeds in one episode of seventy."""
    with without_denormals():
        _, curves = learn_with_replay("a lake", SLIPPERY, 2, 750, seed=0)

    assert (curves.success[-1] > 0.3).all()
    assert (curves.error[-1] < curves.error[0] / 2).all()
    assert (np.diff(curves.episodes, axis=0) > 0).all()


def test_training_is_the_same_with_the_same_seed() -> None:
    one, another, different = (learn_with_replay("a lake", SLIPPERY, 2, 30, seed)[0] for seed in (1, 1, 2))

    assert all(map(torch.equal, one, another))
    assert not torch.equal(one[0], different[0])


def test_courses_form_notes_each_seed_until_all_are_done() -> None:
    curves = learn_online("a lake", SLIPPERY, 2, 5)

    assert curves.episodes[0].tolist() == [0, 0]
    assert curves.episodes[-1].min() == 5
    assert curves.success.shape == curves.error.shape == curves.episodes.shape


def test_curves_are_read_at_the_last_note_of_each_seed() -> None:
    episodes = np.array([[0, 0], [4, 9], [8, 20]])
    curves = Curves(episodes, episodes / 100, episodes / 10).at(10)

    assert curves.episodes.tolist() == [[8, 9]]
    assert curves.success.tolist() == [[0.08, 0.09]]


# --- served ----------------------------------------------------------------------------------------------------------


def policy_body(policy: list[int]) -> nn.Sequential:
    """A network of one layer with this policy."""
    linear = nn.Linear(STATES, 4, bias=False)
    linear.weight.data = torch.eye(4)[policy].T
    return nn.Sequential(linear)


def rollouts(policy: list[int]) -> np.ndarray:
    _, _, rollout = WithRollout(policy_body(policy), CALM)(torch.from_numpy(STATE_ROWS))
    return rollout.numpy()


def test_rollout_follows_the_network_to_the_end() -> None:
    visited = rollouts([RIGHT] * STATES)

    assert visited.shape == (STATES, ROLLOUT)
    assert visited[8].tolist() == [8, 9, 10, 11] + 13 * [-1]
    assert visited[GOAL].tolist() == [GOAL] + 16 * [-1]


def test_rollout_of_a_policy_that_goes_in_circles_has_no_end() -> None:
    policy = [LEFT] * STATES
    policy[0] = RIGHT

    assert rollouts(policy)[0].tolist() == [0, 1] * 8 + [0]


def test_the_first_of_equally_good_actions_is_taken_however_they_are_rounded() -> None:
    q = torch.tensor([[0.1, 0.9, 0.9000001, 0.2], [0.1, 0.9000001, 0.9, 0.2], [0.1, 0.9, 0.901, 0.2], [0, 0, 0, 0]])

    assert greedy(q).tolist() == [DOWN, DOWN, RIGHT, LEFT]


def test_success_is_that_of_the_networks_own_policy() -> None:
    policy = np.random.default_rng(1).integers(0, 4, STATES)
    _, index, success = WithSuccess(policy_body(policy.tolist()), SLIPPERY)(torch.from_numpy(STATE_ROWS))

    assert index[~torch.from_numpy(SLIPPERY.over)].tolist() == policy[~SLIPPERY.over].tolist()
    np.testing.assert_allclose(success.numpy(), success_within(SLIPPERY, policy), atol=1e-7)


def artifact(name: str, rows: np.ndarray = STATE_ROWS) -> export.Answers:
    return export.run((ROOT / "artifacts" / name / "1" / "model.onnx").read_bytes(), rows)


def test_committed_network_goes_six_steps_to_the_goal() -> None:
    answers = artifact("frozenlake-dqn")
    reached, lengths = play(False, answers["index"], 1_000, seed=7)
    [*path, goal, end] = answers["rollout"][START, :8].tolist()

    assert reached.all()
    assert (lengths == 6).all()
    assert (path[0], goal, end) == (START, GOAL, -1)
    assert path[1:] == [CALM.chances[state, answers["index"][state]].argmax() for state in path[:-1]]
    np.testing.assert_allclose(answers["q_values"], optimal_q(CALM, DISCOUNT), atol=0.01)


def test_committed_network_crosses_slippery_ice() -> None:
    answers = artifact("frozenlake-slippery-dqn")
    exact = success_within(SLIPPERY, answers["index"])
    reached, _ = play(True, answers["index"], 1_000, seed=7)

    assert reached.mean() >= 0.70
    assert exact[START] >= 0.73
    np.testing.assert_allclose(answers["success"], exact, atol=1e-6)


@pytest.mark.parametrize("name", ["frozenlake-dqn", "frozenlake-slippery-dqn"])
def test_what_is_no_state_is_answered_as_the_nearest(name: str) -> None:
    strange = np.array([[-3], [99], [np.inf], [-np.inf], [2.4], [np.nan]], np.float32)
    nearest = artifact(name, np.array([[0], [15], [15], [0], [2], [0]], np.float32))

    for output, answer in artifact(name, strange).items():
        np.testing.assert_array_equal(answer, nearest[output])
    assert not artifact(name)["q_values"][CALM.over].any()


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TestClient]:
    folder: Path = tmp_path_factory.mktemp("artifacts")
    for name in ("frozenlake-dqn", "frozenlake-slippery-dqn"):
        (folder / name).symlink_to(ROOT / "artifacts" / name)
    with TestClient(create_app(Settings(artifacts=folder))) as client:
        yield client


def test_state_is_answered_with_action_q_values_and_rollout(service: TestClient) -> None:
    response = service.post("/predict/frozenlake-dqn", json={"rows": [[14]]})
    [prediction] = response.json()["predictions"]

    assert (prediction["label"], prediction["index"]) == ("right", RIGHT)
    assert prediction["outputs"]["rollout"] == [14, 15] + 15 * [-1]
    assert prediction["outputs"]["q_values"] == pytest.approx([0.9801, 0.99, 1, 0.9801], abs=0.01)
    assert "probability" not in prediction


def test_state_of_the_slippery_lake_is_answered_with_the_chance_of_success(service: TestClient) -> None:
    response = service.post("/predict/frozenlake-slippery-dqn", json={"rows": [[0], [5]]})
    start, hole = response.json()["predictions"]

    assert start["label"] == "left"
    assert start["outputs"]["success"] == pytest.approx(0.7402, abs=1e-3)
    assert hole["outputs"]["success"] == 0


@pytest.mark.parametrize("name", ["frozenlake-dqn", "frozenlake-slippery-dqn"])
@pytest.mark.parametrize(("value", "told"), [(16, "16"), (-1, "-1"), (3.5, "3.5")])
def test_state_that_the_lake_has_not_is_refused_by_name(
    name: str, value: float, told: str, service: TestClient
) -> None:
    response = service.post(f"/predict/{name}", json={"rows": [[0], [value]]})

    assert response.status_code == 422
    assert response.json()["detail"] == f"row 2: state is {told}; allowed is a whole number from 0 to 15"


# --- drawn -----------------------------------------------------------------------------------------------------------


def test_figures_are_pictures() -> None:
    q = optimal_q(SLIPPERY, DISCOUNT)
    episodes = np.array([[0, 0], [5, 8], [20, 30]])
    drawn = [
        figures.lake_policies({"one": (q.max(1), q.argmax(1))}, SLIPPERY.tiles),
        figures.q_table(q, SLIPPERY.tiles),
        figures.learning_by_episode({name: (episodes, episodes / 30, episodes + 1) for name in "ab"}, 0.74, 20),
    ]

    assert all(picture.startswith(b"\x89PNG") for picture in drawn)


def test_drawn_policy_is_the_one_given() -> None:
    values = np.linspace(0, 1, STATES)
    drawn = [figures.lake_policies({"": (values, np.full(STATES, action))}, CALM.tiles) for action in (LEFT, UP, LEFT)]

    assert drawn[0] == drawn[2] != drawn[1]
