"""CartPole from pixels: Gymnasium's own physics, drawn by NumPy.

The picture is Gymnasium's, 600 x 400 pixels squeezed into a square, without its axle. A single
frame does not show the velocities: agents stack frames.
"""

from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium import spaces
from gymnasium.envs.classic_control.cartpole import CartPoleEnv
from jaxtyping import UInt8

from isojepa.world.environments.distractors import Distractors
from isojepa.world.environments.drawing import as_bytes, blank, paint_bar, paint_box

WIDTH, HEIGHT, GROUND = 600.0, 400.0, 300.0
CART, AXLE, POLE = (50.0, 30.0), 7.5, (10.0, 125.0)
"""Width and height of the cart; how far above its middle the pole turns; its width and length."""
WHITE, BLACK, WOOD = (255, 255, 255), (0, 0, 0), (202, 152, 101)


class CartPole(gym.Env[UInt8[np.ndarray, "y x 3"], Any]):
    """Gymnasium's CartPole, with frames for observations.

    Args:
        frame_size: side of the frames.
        distractors: dots that move predictably and mean nothing; see `Distractors`, as are the
            next two.
    """

    metadata = {"render_modes": ["rgb_array"], "render_fps": 50}  # noqa: RUF012

    def __init__(
        self,
        *,
        frame_size: int = 64,
        distractors: int = 0,
        distractor_speed: float = 0.02,
        distractor_colour: tuple[int, int, int] = (70, 90, 220),
        render_mode: str = "rgb_array",
    ) -> None:
        self.frame_size, self.render_mode = frame_size, render_mode
        self.distractors = Distractors(
            n=distractors, speed=distractor_speed, colour=distractor_colour
        )
        self.physics = CartPoleEnv()
        self.action_space: gym.Space[Any] = self.physics.action_space
        self.observation_space = spaces.Box(0, 255, (frame_size, frame_size, 3), np.uint8)
        self._moving, self.t = np.zeros((0, 4)), 0

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[UInt8[np.ndarray, "y x 3"], dict[str, Any]]:
        """Begin an episode as Gymnasium's CartPole does."""
        super().reset(seed=seed)
        state, _ = self.physics.reset(seed=seed, options=options)
        self._moving, self.t = self.distractors.begin(self.np_random), 0
        return self.render(), self._info(state)

    def step(
        self, action: Any
    ) -> tuple[UInt8[np.ndarray, "y x 3"], float, bool, bool, dict[str, Any]]:
        """Push the cart to the left, 0, or to the right, 1."""
        state, reward, terminated, truncated, _ = self.physics.step(int(action))
        self.t += 1
        return self.render(), float(reward), terminated, truncated, self._info(state)

    def render(self) -> UInt8[np.ndarray, "y x 3"]:
        """The present frame."""
        size = self.frame_size
        across, down = size / WIDTH, size / HEIGHT
        picture = blank(size, WHITE)
        assert self.physics.state is not None, "reset first"
        x, _, angle, _ = (float(part) for part in self.physics.state)
        middle = WIDTH / 2 + x * WIDTH / (2 * self.physics.x_threshold)
        self.distractors.paint(picture, self._moving, self.t)
        paint_box(picture, (-0.5, size - 0.5), _pixels(GROUND, GROUND + 1, down), BLACK)
        paint_box(
            picture,
            _pixels(middle - CART[0] / 2, middle + CART[0] / 2, across),
            _pixels(GROUND - CART[1] / 2, GROUND + CART[1] / 2, down),
            BLACK,
        )
        foot, reach = (middle, GROUND - AXLE), POLE[1] - POLE[0] / 2
        head = (middle + reach * np.sin(angle), foot[1] - reach * np.cos(angle))
        start, end = ((px * across - 0.5, py * down - 0.5) for px, py in (foot, head))
        paint_bar(picture, start, end, POLE[0] * across, WOOD)
        return as_bytes(picture)

    def _info(self, state: np.ndarray) -> dict[str, Any]:
        places = self.distractors.places(self._moving, self.t).astype(np.float32)
        return {"state": np.asarray(state, np.float32), "distractors": places}


def _pixels(low: float, high: float, scale: float) -> tuple[float, float]:
    return low * scale - 0.5, high * scale - 0.5
