"""TwoRoom with a reward, drawn fast: a visible goal, +1 on reaching it, distractors on request.

Walls, door and motion are those of the platform's `swm/TwoRoom-v1` at its usual values, in its
pixels of 224; what is added is the reward, the goal in the picture and who starts where.
"""

from functools import lru_cache
from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium import spaces
from jaxtyping import Float, Float32, UInt8

from isojepa.errors import UserError
from isojepa.world.environments.distractors import Distractors
from isojepa.world.environments.drawing import as_bytes, paint_dot
from isojepa.world.episodes.decoded import resize

SIDE, BORDER, LINE, RADIUS, SPEED = 224, 14, 4, 7.0, 5.0
WALL, HALF_WALL, DOOR, HALF_DOOR, DOOR_MARGIN, PUSHBACK = 112.0, 5, 49.0, 14.0, 1.75, 0.5
REACHED = 16.0
AGENT, GOAL = (255, 0, 0), (0, 200, 0)
DIRECTIONS = ((1.0, 0.0), (-1.0, 0.0), (0.0, 1.0), (0.0, -1.0))
Place = Float[np.ndarray, "2"]


def move(place: Place, action: Float[np.ndarray, "2"]) -> Place:
    """Where a step leads: at most to the border's inside, through the wall only at its door."""
    low, high = BORDER + RADIUS, SIDE - BORDER - RADIUS
    x, y = np.clip(place + SPEED * np.clip(action, -1, 1), low, high)
    in_door = abs(y - DOOR) <= HALF_DOOR + DOOR_MARGIN
    left, right = WALL - HALF_WALL - RADIUS, WALL + HALF_WALL + RADIUS
    if place[0] < WALL and x > left and not in_door:
        x = left - PUSHBACK
    elif place[0] >= WALL and x < right and not in_door:
        x = right + PUSHBACK
    return np.array([x, y])


@lru_cache(maxsize=8)
def empty_rooms(size: int) -> Float32[np.ndarray, "y x 3"]:
    """Walls and border without anybody, drawn at 224 px and resized as the platform resizes."""
    at = np.arange(SIDE)
    stripe = np.abs(at - WALL) <= HALF_WALL
    wall = stripe[None, :] & ~(np.abs(at - DOOR) <= HALF_DOOR)[:, None]
    line = ((at >= BORDER - LINE) & (at < BORDER)) | (
        (at >= SIDE - BORDER) & (at < SIDE - BORDER + LINE)
    )
    dark = wall | line[None, :] | line[:, None]
    picture = np.where(dark[..., None], 0, 255).astype(np.uint8).repeat(3, -1)
    return resize(picture, size).astype(np.float32)


class TwoRoom(gym.Env[UInt8[np.ndarray, "y x 3"], Any]):
    """Go to the goal; +1 there, which ends the episode, and 0 before.

    Args:
        frame_size: side of the frames, which are the observations.
        goals: "other" puts the goal into the room where the agent is not; "any" anywhere.
        discrete: four directions instead of a velocity in [-1, 1]^2.
        distractors: dots that move predictably and mean nothing; see `Distractors`, as are the
            next two.
    """

    metadata = {"render_modes": ["rgb_array"], "render_fps": 10}  # noqa: RUF012

    def __init__(
        self,
        *,
        frame_size: int = 64,
        goals: str = "other",
        discrete: bool = False,
        distractors: int = 0,
        distractor_speed: float = 0.02,
        distractor_colour: tuple[int, int, int] = (70, 90, 220),
        render_mode: str = "rgb_array",
    ) -> None:
        if goals not in ("other", "any"):
            raise UserError(f"goals={goals}: expected other or any")
        self.frame_size, self.goals, self.render_mode = frame_size, goals, render_mode
        self.distractors = Distractors(
            n=distractors, speed=distractor_speed, colour=distractor_colour
        )
        self.action_space = (
            spaces.Discrete(len(DIRECTIONS)) if discrete else spaces.Box(-1, 1, (2,), np.float32)
        )
        self.observation_space = spaces.Box(0, 255, (frame_size, frame_size, 3), np.uint8)
        self.place, self.goal, self.t = np.zeros(2), np.zeros(2), 0
        self._moving = np.zeros((0, 4))

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[UInt8[np.ndarray, "y x 3"], dict[str, Any]]:
        """Begin an episode; `options` may give `state` and `goal_state`, both (2,)."""
        super().reset(seed=seed)
        rooms = self.np_random.permutation(2)
        self.place = self._draw(int(rooms[0]))
        self.goal = self._draw(int(rooms[1]) if self.goals == "other" else None)
        while self.goals == "any" and self._distance() < 2 * REACHED:
            self.goal = self._draw(None)
        self._moving, self.t = self.distractors.begin(self.np_random), 0
        if options:
            self.place = np.asarray(options.get("state", self.place), np.float64)
            self.goal = np.asarray(options.get("goal_state", self.goal), np.float64)
        return self.render(), self._info()

    def step(
        self, action: Any
    ) -> tuple[UInt8[np.ndarray, "y x 3"], float, bool, bool, dict[str, Any]]:
        """Move; see `move`."""
        if isinstance(self.action_space, spaces.Discrete):
            action = DIRECTIONS[int(action)]
        self.place, self.t = move(self.place, np.asarray(action, np.float64)), self.t + 1
        reached = self._distance() < REACHED
        return self.render(), float(reached), reached, False, self._info()

    def render(self) -> UInt8[np.ndarray, "y x 3"]:
        """The present frame."""
        size = self.frame_size
        picture, scale = empty_rooms(size).copy(), size / SIDE
        self.distractors.paint(picture, self._moving, self.t)
        for (x, y), colour in ((self.goal, GOAL), (self.place, AGENT)):
            at = [float((c + 0.5) * scale - 0.5) for c in (x, y)]
            paint_dot(picture, at[0], at[1], RADIUS * scale, colour)
        return as_bytes(picture)

    def _draw(self, room: int | None) -> Place:
        """A place in the left room, 0, the right one, 1, or any."""
        low, high = BORDER + RADIUS, SIDE - BORDER - RADIUS
        left, right = WALL - HALF_WALL - RADIUS - PUSHBACK, WALL + HALF_WALL + RADIUS + PUSHBACK
        if room is None:
            room = int(self.np_random.integers(2))
        x = self.np_random.uniform(*((low, left), (right, high))[room])
        return np.array([x, self.np_random.uniform(low, high)])

    def _distance(self) -> float:
        return float(np.hypot(*(self.place - self.goal)))

    def _info(self) -> dict[str, Any]:
        distance = self._distance()
        return {
            "state": self.place.astype(np.float32),
            "goal_state": self.goal.astype(np.float32),
            "distractors": self.distractors.places(self._moving, self.t).astype(np.float32),
            "distance_to_target": distance,
            "success": distance < REACHED,
        }
