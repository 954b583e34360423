"""FrozenLake: the facts of gymnasium's environment as arrays, what can be computed from them exactly, many lakes played
at once for training, and episodes of the real environment. Knows no network and no learning."""

from dataclasses import dataclass
from typing import Any

import gymnasium
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

STATES, ACTIONS = 16, 4
ACTION_NAMES = ["left", "down", "right", "up"]  # in gymnasium's order
START, GOAL = 0, 15
MOST_STEPS = 100  # then gymnasium ends the episode

Array = NDArray[np.float64]
Policy = NDArray[np.int64]  # [states] → the action


@dataclass(frozen=True)
class Lake:
    """The environment's own table of transitions. A hole and the goal lead only to themselves, without reward."""

    slippery: bool
    tiles: str  # S, F, H or G of each state
    chances: Array  # [states, actions, next states]
    rewards: Array  # [states, actions, next states]
    over: NDArray[np.bool_]  # [states]: the episode has ended there


def environment(slippery: bool) -> gymnasium.Env[int, int]:
    return gymnasium.make("FrozenLake-v1", map_name="4x4", is_slippery=slippery, max_episode_steps=MOST_STEPS)


def lake(slippery: bool) -> Lake:
    real: Any = environment(slippery).unwrapped
    chances, rewards = np.zeros((2, STATES, ACTIONS, STATES))
    over = np.zeros(STATES, bool)
    for state, actions in real.P.items():
        for action, outcomes in actions.items():
            for chance, following, reward, ended in outcomes:
                chances[state, action, following] += chance
                rewards[state, action, following] = reward
                over[following] |= ended
    return Lake(slippery, b"".join(real.desc.ravel()).decode(), chances, rewards, over)


# --- exactly ---------------------------------------------------------------------------------------------------------


def optimal_q(lake: Lake, discount: float) -> Array:
    """The Q-values of the best policy, [states, actions], by value iteration (Bellman 1957)."""
    reward: Array = (lake.chances * lake.rewards).sum(2)
    q, before = reward, np.full_like(reward, np.inf)
    while np.abs(q - before).max() > 1e-13:
        before, q = q, reward + discount * lake.chances @ q.max(1)
    return q


def success_within(lake: Lake, policy: Policy, steps: int = MOST_STEPS) -> Array:
    """From each state, the probability that the policy comes to the goal in so many steps. At the goal it is 1."""
    chances = lake.chances[np.arange(STATES), policy]
    success: Array = (np.arange(STATES) == GOAL).astype(np.float64)
    for _ in range(steps):
        success = chances @ success
    return success


def best_success_within(lake: Lake, steps: int = MOST_STEPS) -> Array:
    """The same of a policy that also knows how many steps are left: no policy succeeds more often."""
    success: Array = (np.arange(STATES) == GOAL).astype(np.float64)
    for _ in range(steps):
        success = (lake.chances @ success).max(1)
    return success


# --- played ----------------------------------------------------------------------------------------------------------


def play(slippery: bool, policy: Policy, episodes: int, seed: int) -> tuple[NDArray[np.bool_], NDArray[np.int64]]:
    """Of each episode of the real environment: whether it ended at the goal, and after how many steps."""
    real = environment(slippery)
    reached, lengths = np.zeros(episodes, bool), np.zeros(episodes, np.int64)
    for episode in range(episodes):
        state, _ = real.reset(seed=seed if episode == 0 else None)
        ended = False
        while not ended:
            state, reward, terminated, truncated, _ = real.step(int(policy[state]))
            ended = terminated or truncated
            lengths[episode] += 1
        reached[episode] = float(reward) > 0
    real.close()
    return reached, lengths


@dataclass(frozen=True)
class Steps:
    """What one step of many lakes brought, each [lakes of any shape]."""

    states: Tensor
    actions: Tensor
    rewards: Tensor
    following: Tensor
    terminated: Tensor  # ended in a hole or at the goal: nothing more will come; out of time is not that


class ManyLakes:
    """Lakes that take a step at the same time, each with its own episode; one that has ended begins anew."""

    def __init__(self, lake: Lake, shape: tuple[int, ...], generator: torch.Generator) -> None:
        self._generator = generator
        cumulative = torch.from_numpy(lake.chances).cumsum(2)
        self._cumulative = cumulative / cumulative[..., -1:]  # so that it ends at 1, exactly
        self._rewards = torch.from_numpy(lake.rewards).float()
        self._over = torch.from_numpy(lake.over)
        self.states = torch.full(shape, START)
        self.episodes = torch.zeros(shape, dtype=torch.int64)  # that have ended
        self._lengths = torch.zeros(shape, dtype=torch.int64)

    def step(self, actions: Tensor) -> Steps:
        states = self.states
        drawn = torch.rand(states.shape, generator=self._generator, dtype=torch.float64)
        following = (self._cumulative[states, actions] <= drawn[..., None]).sum(-1)
        terminated = self._over[following]
        self._lengths += 1
        ended = terminated | (self._lengths >= MOST_STEPS)
        self.episodes += ended
        self._lengths.masked_fill_(ended, 0)
        self.states = following.masked_fill(ended, START)
        return Steps(states, actions, self._rewards[states, actions, following], following, terminated)
