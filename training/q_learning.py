"""Q-learning on FrozenLake with a deep network (Mnih et al. 2015), and the course's form of it for comparison.

Several seeds are trained as one: every weight has a first axis for the seed. Sixteen states are all there is to see, so
that a whole Q-table is one forward pass; a batch of any size picks its rows from it.
"""

import contextlib
import itertools
import math
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn
from tqdm import tqdm

from app.card import Card, Comparison, DatasetFacts, Feature, RowsInput
from training import export, figures
from training.export import Exportable
from training.frozenlake import (
    ACTION_NAMES,
    ACTIONS,
    MOST_STEPS,
    START,
    STATES,
    Lake,
    ManyLakes,
    Policy,
    Steps,
    best_success_within,
    lake,
    optimal_q,
    play,
    success_within,
)
from training.system import Trained, Workplace, libraries, training_facts

WIDTHS = (STATES, 64, 64, 96, 96, 64, 64, ACTIONS)
DISCOUNT = 0.99

Parameters = list[Tensor]  # of each layer: weight [seeds, inputs, outputs], bias [seeds, 1, outputs]


def uniform(generator: torch.Generator, seeds: int) -> Parameters:
    """As PyTorch begins its layers."""
    return [
        (torch.rand(shape, generator=generator) * 2 - 1) / math.sqrt(inputs)
        for inputs, outputs in itertools.pairwise(WIDTHS)
        for shape in ((seeds, inputs, outputs), (seeds, 1, outputs))
    ]


def he(generator: torch.Generator, seeds: int) -> Parameters:
    """He et al. 2015."""
    return [
        torch.randn(seeds, inputs, outputs, generator=generator) * math.sqrt(2 / inputs)
        if weight
        else torch.zeros(seeds, 1, outputs)
        for inputs, outputs in itertools.pairwise(WIDTHS)
        for weight in (True, False)
    ]


def q_values(parameters: Parameters, states: Tensor) -> Tensor:
    """[seeds, rows] → [seeds, rows, actions]"""
    hidden = F.one_hot(states, STATES).float()
    for weight, bias in zip(parameters[:-2:2], parameters[1:-2:2], strict=True):
        hidden = torch.baddbmm(bias, hidden, weight).relu_()
    return torch.baddbmm(parameters[-1], hidden, parameters[-2])


def q_tables(parameters: Parameters) -> Tensor:
    """[seeds, states, actions]"""
    return q_values(parameters, torch.arange(STATES).expand(len(parameters[0]), STATES))


def rows_of(tables: Tensor, states: Tensor) -> Tensor:
    """[seeds, states, …] at [seeds, rows] → [seeds, rows, …]"""
    return tables[torch.arange(len(tables))[:, None], states]


def q_of(tables: Tensor, states: Tensor, actions: Tensor) -> Tensor:
    """[seeds, states, actions] at [seeds, rows] → [seeds, rows]"""
    return tables.flatten(1).gather(1, states * ACTIONS + actions)


def td_targets(rewards: Tensor, best_following: Tensor, terminated: Tensor) -> Tensor:
    """What Q of the action taken should be: the reward, and the discounted best that may follow. Nothing follows in a
    hole or at the goal, whatever the network says of it."""
    return rewards + DISCOUNT * best_following * ~terminated


def epsilon_greedy(q: Tensor, epsilon: float, generator: torch.Generator) -> Tensor:
    """[…, actions] → […]"""
    anything = torch.randint(ACTIONS, q.shape[:-1], generator=generator)
    explores = torch.rand(q.shape[:-1], generator=generator) < epsilon
    return torch.where(explores, anything, q.argmax(-1))


@contextlib.contextmanager
def without_denormals() -> Iterator[None]:
    """Where rewards are rare, Adam's averages of squares fall below what float32 has normal numbers for, and a
    processor is ten times slower with those."""
    torch.set_flush_denormal(True)
    try:
        yield
    finally:
        torch.set_flush_denormal(False)


# --- what is noted while they learn ----------------------------------------------------------------------------------


@dataclass(frozen=True)
class Curves:
    """Each [notes, seeds]."""

    episodes: NDArray[np.int64]  # that had ended
    success: NDArray[np.float64]  # of the greedy policy from the start, exactly
    error: NDArray[np.float64]  # largest difference of a Q-value to the optimal one

    def at(self, episodes: int) -> "Curves":
        """The last notes of each seed that had not seen more episodes than these, [1, seeds]."""
        last = (self.episodes <= episodes).sum(0)[None] - 1
        return Curves(
            np.take_along_axis(self.episodes, last, 0),
            np.take_along_axis(self.success, last, 0),
            np.take_along_axis(self.error, last, 0),
        )


class Notebook:
    def __init__(self, lake: Lake) -> None:
        self._lake, self._optimal = lake, optimal_q(lake, DISCOUNT)
        self._notes: list[tuple[list[int], list[float], list[float]]] = []

    def note(self, episodes: Tensor, parameters: Parameters) -> None:
        """`episodes` are [seeds]."""
        with torch.no_grad():
            tables = q_tables(parameters).numpy()
        success = [float(success_within(self._lake, table.argmax(1))[START]) for table in tables]
        error = np.abs(tables - self._optimal)[:, ~self._lake.over].max((1, 2))
        self._notes.append((episodes.tolist(), success, error.tolist()))

    def curves(self) -> Curves:
        episodes, success, error = zip(*self._notes, strict=True)
        return Curves(np.array(episodes), np.array(success), np.array(error))


# --- the course's form -----------------------------------------------------------------------------------------------

COURSE_SEEDS, COURSE_EPISODES, COURSE_EPSILON = 3, 10_000, 0.1
COURSE_NOTES_EVERY = 500


def learn_online(name: str, lake: Lake, seeds: int, episodes: int) -> Curves:
    """One update a step, on that step alone; the network is its own target, and goes on after the end of an episode.
    Seeds that are done with their episodes go on until the last one is."""
    generator = torch.Generator().manual_seed(1)
    parameters = [parameter.requires_grad_() for parameter in uniform(generator, seeds)]
    optimizer = torch.optim.Adam(parameters, lr=0.01, fused=True)
    lakes, notebook = ManyLakes(lake, (seeds, 1), generator), Notebook(lake)
    done, number = 0, 0
    with tqdm(total=episodes, desc=f"{name} (the course's)", file=sys.stderr, dynamic_ncols=True) as progress:
        while done < episodes:
            if number % COURSE_NOTES_EVERY == 0:
                notebook.note(lakes.episodes[:, 0], parameters)
            q = q_values(parameters, lakes.states)
            steps = lakes.step(epsilon_greedy(q.detach(), COURSE_EPSILON, generator))
            with torch.no_grad():
                targets = steps.rewards + DISCOUNT * q_values(parameters, steps.following).amax(-1)
            losses = (q.gather(-1, steps.actions[..., None])[..., 0] - targets) ** 2
            optimizer.zero_grad()
            losses.sum().backward()
            optimizer.step()
            number += 1
            before, done = done, int(lakes.episodes.min())
            progress.update(min(done, episodes) - before)
    notebook.note(lakes.episodes[:, 0], parameters)
    return notebook.curves()


# --- the modern form -------------------------------------------------------------------------------------------------

SEEDS = 10
UPDATES = 6_000
LAKES = 8  # of each seed
BATCH = 256
LEARNING_RATE = 1e-3
TARGET_EVERY = 25  # updates
NOTES_EVERY = 50
LAST_EPSILON, EPSILON_FALLS_UNTIL = 0.1, 0.5  # of all updates


class Replay:
    """Every step that was taken, and random batches of them."""

    def __init__(self, seeds: int, most: int) -> None:
        self._columns = [
            torch.zeros(seeds, most, dtype=dtype)
            for dtype in (torch.int64, torch.int64, torch.float32, torch.int64, torch.bool)
        ]
        self._used = 0

    def add(self, steps: Steps) -> None:
        """[seeds, rows]"""
        rows = steps.states.shape[1]
        given = (steps.states, steps.actions, steps.rewards, steps.following, steps.terminated)
        for column, values in zip(self._columns, given, strict=True):
            column[:, self._used : self._used + rows] = values
        self._used += rows

    def sample(self, size: int, generator: torch.Generator) -> Steps:
        """[seeds, size]"""
        seeds = len(self._columns[0])
        places = torch.randint(self._used, (seeds, size), generator=generator)
        return Steps(*(column.gather(1, places) for column in self._columns))


def learn_with_replay(name: str, lake: Lake, seeds: int, updates: int, seed: int) -> tuple[Parameters, Curves]:
    """Batches of all that was seen, targets from a copy of the network that stands still between its renewals, and
    nothing after the end of an episode."""
    generator = torch.Generator().manual_seed(seed)
    parameters = [parameter.requires_grad_() for parameter in he(generator, seeds)]
    optimizer = torch.optim.Adam(parameters, lr=LEARNING_RATE, fused=True)
    schedule = torch.optim.lr_scheduler.LinearLR(optimizer, 1.0, 0.01, updates)
    lakes, notebook = ManyLakes(lake, (seeds, LAKES), generator), Notebook(lake)
    replay = Replay(seeds, LAKES * updates)
    for number in tqdm(range(updates), desc=name, file=sys.stderr, dynamic_ncols=True):
        if number % NOTES_EVERY == 0:
            notebook.note(lakes.episodes.sum(1), parameters)
        tables = q_tables(parameters)
        if number % TARGET_EVERY == 0:
            best = tables.detach().amax(-1)
        epsilon = max(LAST_EPSILON, 1 - number / (EPSILON_FALLS_UNTIL * updates))
        replay.add(lakes.step(epsilon_greedy(rows_of(tables.detach(), lakes.states), epsilon, generator)))
        steps = replay.sample(BATCH, generator)
        targets = td_targets(steps.rewards, rows_of(best, steps.following), steps.terminated)
        taken = q_of(tables, steps.states, steps.actions)
        optimizer.zero_grad()
        F.mse_loss(taken, targets, reduction="none").mean(1).sum().backward()
        optimizer.step()
        schedule.step()
    notebook.note(lakes.episodes.sum(1), parameters)
    return [parameter.detach() for parameter in parameters], notebook.curves()


# --- served ----------------------------------------------------------------------------------------------------------

ROLLOUT = 17  # the state asked about and sixteen more: a policy that visits more than sixteen goes in circles
CLAMPED = "Under /v2, where tensors have no such limit, one is rounded and brought into 0 to 15."
OUTPUTS = {
    "q_values": "Of left, down, right and up: the sum of rewards to expect after it, discounted by 0.99 a step, 1 for "
    "the goal. Not a probability. 0 in a hole and at the goal, where the episode is over.",
    "index": "The action with the largest Q-value; the first of those within 0.0001 of it, so left where the episode "
    "is over.",
}
ROLLOUT_MEANS = (
    "The states visited from this one on, it included, when each action is the one with the largest Q-value; "
    f"-1 after the end. {ROLLOUT} places: without a -1 it goes in circles."
)
SUCCESS_MEANS = (
    f"Probability that the largest Q-values lead from this state to the goal within {MOST_STEPS} steps, computed from "
    "the environment's own transitions."
)


# Two ways may be equally good: which of them is taken should not hang on how a runtime rounds.
AS_GOOD = 1e-4


def greedy(q: Tensor) -> Tensor:
    """[N, actions] → [N]"""
    return (q >= q.amax(1, keepdim=True) - AS_GOOD).float().argmax(1)


class Player(nn.Module):
    """The network, asked about a state: one-hot inside, 0 where the episode is over."""

    goes_on: Tensor

    def __init__(self, body: nn.Sequential, lake: Lake) -> None:
        super().__init__()
        self.body = body
        self.register_buffer("goes_on", torch.from_numpy(~lake.over).float()[:, None])

    def state(self, rows: Tensor) -> Tensor:
        """[N, 1], anything → [N], 0 to 15."""
        numbers = torch.where(rows[:, 0].isnan(), 0.0, rows[:, 0])
        return numbers.round().clamp(0, STATES - 1).long()

    def q_values(self, states: Tensor) -> Tensor:
        one_hot = (states[:, None] == torch.arange(STATES)).float()
        q: Tensor = self.body(one_hot) * self.goes_on[states]
        return q


class WithRollout(Player):
    """Of a lake that is not slippery."""

    following: Tensor

    def __init__(self, body: nn.Sequential, lake: Lake) -> None:
        super().__init__(body, lake)
        following = torch.from_numpy(lake.chances.argmax(2))
        # From where it is over, and from nowhere, it goes nowhere.
        following[torch.from_numpy(lake.over)] = STATES
        self.register_buffer("following", F.pad(following, (0, 0, 0, 1), value=STATES))

    def forward(self, rows: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        states = self.state(rows)
        q = self.q_values(states)
        policy = F.pad(greedy(self.q_values(torch.arange(STATES))), (0, 1))
        follows = self.following.gather(1, policy[:, None])[:, 0]
        visited = [states]
        for _ in range(ROLLOUT - 1):
            visited.append(follows[visited[-1]])
        rollout = torch.stack(visited, 1)
        return q, greedy(q), torch.where(rollout == STATES, -1, rollout)


class WithSuccess(Player):
    """Of a slippery lake, where the same policy goes another way each time."""

    success: Tensor

    def __init__(self, body: nn.Sequential, lake: Lake) -> None:
        super().__init__(body, lake)
        policy = greedy(self.q_values(torch.arange(STATES))).detach().numpy()
        self.register_buffer("success", torch.from_numpy(success_within(lake, policy)).float())

    def forward(self, rows: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        states = self.state(rows)
        q = self.q_values(states)
        return q, greedy(q), self.success[states]


def sequential(parameters: Parameters, seed: int) -> nn.Sequential:
    """One seed's network as layers."""
    body = nn.Sequential()
    for place, (weight, bias) in enumerate(zip(parameters[::2], parameters[1::2], strict=True), start=1):
        linear = nn.Linear(weight.shape[1], weight.shape[2])
        linear.weight.data, linear.bias.data = weight[seed].T.contiguous(), bias[seed, 0].clone()
        last = place == len(WIDTHS) - 1
        body.add_module("q" if last else f"hidden{place}", linear)
        if not last:
            body.add_module(f"relu{place}", nn.ReLU())
    return body


def policy_of(graph: bytes) -> tuple[Policy, NDArray[np.float32]]:
    """The actions and Q-values of all states, as they are served."""
    answers = export.run(graph, np.arange(STATES, dtype=np.float32)[:, None])
    return answers["index"], answers["q_values"]


# --- the systems -----------------------------------------------------------------------------------------------------

EVALUATION_EPISODES, EVALUATION_SEED = 1_000, 2026
SHORTEST = 6
# Every state four times, some of them from beyond the ends: 64 rows for the parity.
ASKED = torch.arange(-24, 40, dtype=torch.float32)[:, None]
# The start, the cell before the goal, a hole, and no state at all.
GOLDEN = torch.tensor([[0.0], [14.0], [5.0], [99.0]])


@dataclass(frozen=True)
class FrozenLake:
    options: ClassVar[frozenset[str]] = frozenset({"seed"})
    name: str
    title: str
    slippery: bool
    floor: Mapping[str, float]

    def evaluate(self, graph: bytes, workplace: Workplace, told: Mapping[str, float]) -> dict[str, float]:
        """Episodes of the real environment, and what can be computed from its transitions."""
        known = lake(self.slippery)
        policy, q = policy_of(graph)
        optimal = optimal_q(known, DISCOUNT)
        return self._played(policy, self._episodes(workplace)) | {
            "exact_success": float(success_within(known, policy)[START]),
            "optimal_success": float(success_within(known, optimal.argmax(1))[START]),
            "best_success_of_any_policy": float(best_success_within(known)[START]),
            "states_with_an_optimal_action": optimal_actions(known, optimal, policy),
            "largest_error_of_q": float(np.abs(q - optimal)[~known.over].max()),
        }

    def _episodes(self, workplace: Workplace) -> int:
        return 20 if workplace.dry_run else EVALUATION_EPISODES

    def train(self, workplace: Workplace) -> Trained:
        start = time.perf_counter()
        known, seed = lake(self.slippery), workplace.seed or 0
        updates, course_episodes = (20, 2) if workplace.dry_run else (UPDATES, COURSE_EPISODES)
        with without_denormals():
            parameters, ours = learn_with_replay(self.name, known, SEEDS, updates, seed)
            course = learn_online(self.name, known, COURSE_SEEDS, course_episodes)
        player = (WithSuccess if self.slippery else WithRollout)(sequential(parameters, 0), known)
        more = "success" if self.slippery else "rollout"
        what = Exportable(player, "rows", OUTPUTS | {more: SUCCESS_MEANS if self.slippery else ROLLOUT_MEANS})
        graph = export.to_onnx(what, GOLDEN[:2])
        policy, q = policy_of(graph)
        optimal = optimal_q(known, DISCOUNT)
        told = {
            f"success_of_the_worst_of_{SEEDS}_seeds": float(ours.success[-1].min()),
            "onnx_max_difference": export.check_parity(what, graph, ASKED),
        }
        metrics = self.evaluate(graph, workplace, told) | told
        return Trained(
            graph,
            Card(
                name=self.name,
                title=self.title,
                description="One-hot state → 64 → 64 → 96 → 96 → 64 → 64 → 4, ReLU: the Q-value of each direction on "
                f"the 4 × 4 map {', '.join(known.tiles[row : row + 4] for row in range(0, STATES, 4))}. "
                f"States are counted from the upper left, row by row: 0 to 15. {CLAMPED}",
                task="control",
                input=RowsInput(features=[Feature(name="state", example=float(START), choices=STATES)]),
                outputs=dict(what.outputs),
                told=["q_values", more],
                notes=self._notes(metrics, ours, course, course_episodes),
                labels=ACTION_NAMES,
                parameters=sum(parameter.numel() for parameter in player.parameters()),
                layers=export.layer_table(player.body, player.body, torch.eye(STATES)[:1]),
                metrics=metrics,
                floor=dict(self.floor),
                dataset=facts(self.slippery, LAKES * updates, self._episodes(workplace)),
                training=training_facts(
                    self.name,
                    workplace,
                    "Adam, learning rate 0.001 falling to 0.00001; mean squared error to a target network renewed "
                    f"every {TARGET_EVERY} updates; ε from 1 to {LAST_EPSILON}; {LAKES} lakes at once; "
                    "targets are the reward alone at a hole and at the goal, not where only the time is over",
                    updates,
                    time.perf_counter() - start,
                    seed=seed,
                    batch_size=BATCH,
                    learning_rate=LEARNING_RATE,
                    libraries=libraries("gymnasium"),
                ),
                comparisons=[comparison(course, course_episodes)],
            ),
            export.golden_rows(what, GOLDEN),
            {
                "policy": figures.lake_policies(
                    {"the network": (q.max(1), policy), "value iteration": (optimal.max(1), optimal.argmax(1))},
                    known.tiles,
                ),
                "q_table": figures.q_table(q, known.tiles),
                "learning": figures.learning_by_episode(
                    {
                        "the course's form": (course.episodes, course.success, course.error),
                        "replay and target network": (ours.episodes, ours.success, ours.error),
                    },
                    metrics["optimal_success"],
                    course_episodes,
                ),
            },
        )

    def _played(self, policy: Policy, episodes: int) -> dict[str, float]:
        """In the real environment."""
        reached, lengths = play(self.slippery, policy, episodes, EVALUATION_SEED)
        if self.slippery:
            return {"success": float(reached.mean())}
        return {
            "success": float(reached.mean()),
            "goals_in_6_steps": float((reached & (lengths == SHORTEST)).mean()),
        }

    def _notes(self, metrics: dict[str, float], ours: Curves, course: Curves, episodes: int) -> list[str]:
        of_course = ", ".join(f"{value:.1%}" for value in course.at(episodes).success[0])
        notes = [
            f"Success is the share of {EVALUATION_EPISODES:,} episodes of gymnasium's own environment, of at most "
            f"{MOST_STEPS} steps, that end at the goal; exact_success is the same as a probability, computed from the "
            f"environment's transitions, {metrics['exact_success']:.4f}.",
            f"The network is the first of {SEEDS} that were trained with different random numbers; all of them, "
            f"after about {ours.episodes[-1].mean():,.0f} episodes each: "
            + ", ".join(f"{value:.1%}" for value in ours.success[-1])
            + ".",
            f"The course's form, after {episodes:,} episodes, with {course.success.shape[1]} seeds: {of_course}.",
        ]
        if self.slippery:
            notes.append(
                f"Only every third step goes where it should. The policy that value iteration finds for a discount of "
                f"{DISCOUNT} succeeds with {metrics['optimal_success']:.4f}; no policy, even one that counts the steps "
                f"that are left, does better than {metrics['best_success_of_any_policy']:.4f}. Without the limit of "
                f"{MOST_STEPS} steps it would be 14 of 17."
            )
        return notes


def optimal_actions(known: Lake, optimal: NDArray[np.float64], policy: Policy) -> float:
    """The share of the states where it is not over in which the policy's action is one of the best."""
    best = optimal.max(1) - optimal[np.arange(STATES), policy] < 1e-9
    return float(best[~known.over].mean())


def comparison(course: Curves, episodes: int) -> Comparison:
    last = course.at(episodes)
    return Comparison(
        what=f"the course's form: Adam 0.01, ε {COURSE_EPSILON}, an update a step on that step alone, no replay, no "
        f"target network, ends of episodes not told from other steps; {episodes:,} episodes, "
        f"{course.success.shape[1]} seeds",
        metrics={
            "mean_success": float(last.success.mean()),
            "best_success": float(last.success.max()),
            "best_success_at_any_time": float(course.success.max()),
            "mean_largest_error_of_q": float(last.error.mean()),
        },
    )


def facts(slippery: bool, steps: int, episodes: int) -> DatasetFacts:
    """Rows are steps of a lake in training and whole episodes in the test."""
    return DatasetFacts(
        name="frozenlake-slippery" if slippery else "frozenlake",
        source=f"gymnasium's FrozenLake-v1, map 4x4, is_slippery={slippery}: train_rows are steps taken by the "
        "environment's own transitions, test_rows episodes of the environment itself",
        licence="MIT",
        train_rows=steps,
        validation_rows=0,
        test_rows=episodes,
        sha256={},
    )


SYSTEMS: Sequence[FrozenLake] = (
    FrozenLake("frozenlake-dqn", "FrozenLake by a deep Q-network", False, {"goals_in_6_steps": 1.0}),
    FrozenLake("frozenlake-slippery-dqn", "Slippery FrozenLake by a deep Q-network", True, {"success": 0.70}),
)
