"""Tasks of dm_control, drawn faster than it draws them.

`mujoco.Renderer` at the size of the frame, without multisampling, shadows and reflections.
"""

from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium import spaces
from jaxtyping import UInt8

from isojepa.world.environments.distractors import Distractors
from isojepa.world.environments.drawing import as_bytes
from isojepa.world.environments.platform import check_renderer

WITHOUT = ("mjRND_SHADOW", "mjRND_REFLECTION", "mjRND_SKYBOX", "mjRND_HAZE")


class ControlSuite(gym.Env[UInt8[np.ndarray, "y x 3"], Any]):
    """One task of dm_control's suite, with frames for observations.

    An episode ends only by dm_control's own time limit, which truncates it.

    Args:
        domain, task: dm_control's names, such as reacher and easy.
        frame_size: side of the frames.
        distractors: dots that move predictably and mean nothing, painted over the frame; see
            `Distractors`, as are the next two.

    Raises:
        UserError: where MuJoCo cannot draw.
    """

    metadata = {"render_modes": ["rgb_array"], "render_fps": 50}  # noqa: RUF012

    def __init__(
        self,
        *,
        domain: str,
        task: str,
        frame_size: int = 64,
        distractors: int = 0,
        distractor_speed: float = 0.01,
        distractor_colour: tuple[int, int, int] = (70, 90, 220),
        render_mode: str = "rgb_array",
    ) -> None:
        check_renderer(f"{domain}-{task}")
        from dm_control import suite

        self.frame_size, self.render_mode = frame_size, render_mode
        self.distractors = Distractors(
            n=distractors, speed=distractor_speed, colour=distractor_colour
        )
        self.env = suite.load(domain, task, task_kwargs={"random": 0})
        spec = self.env.action_spec()
        low, high = (np.asarray(x, np.float32) for x in (spec.minimum, spec.maximum))
        self.action_space = spaces.Box(low, high, dtype=np.float32)
        self.observation_space = spaces.Box(0, 255, (frame_size, frame_size, 3), np.uint8)
        self._moving, self.t = np.zeros((0, 4)), 0
        self._renderer: Any = None

    def reset(
        self,
        *,
        seed: int | None = None,
        options: dict[str, Any] | None = None,  # noqa: ARG002
    ) -> tuple[UInt8[np.ndarray, "y x 3"], dict[str, Any]]:
        """Begin an episode; the seed decides it."""
        super().reset(seed=seed)
        own = int(self.np_random.integers(2**32, dtype=np.uint64))
        self.env.task._random = np.random.RandomState(own)  # what dm_control draws from
        self.env.reset()
        self._moving, self.t = self.distractors.begin(self.np_random), 0
        return self.render(), self._info()

    def step(
        self, action: Any
    ) -> tuple[UInt8[np.ndarray, "y x 3"], float, bool, bool, dict[str, Any]]:
        """One control step."""
        step = self.env.step(np.asarray(action, np.float64))
        self.t += 1
        over = bool(step.last())
        terminated = over and step.discount == 0
        reward = float(step.reward or 0.0)
        return self.render(), reward, terminated, over and not terminated, self._info()

    def render(self) -> UInt8[np.ndarray, "y x 3"]:
        """The present frame, from the first camera."""
        physics, size = self.env.physics, self.frame_size
        import mujoco  # only now: it chooses its driver as it is imported

        if self._renderer is None:
            physics.model.ptr.vis.quality.offsamples = 0
            physics.model.ptr.vis.quality.shadowsize = 0
            self._renderer = mujoco.Renderer(physics.model.ptr, size, size)
        self._renderer.update_scene(physics.data.ptr, camera=0)
        for flag in WITHOUT:
            self._renderer.scene.flags[getattr(mujoco.mjtRndFlag, flag)] = False
        frame: UInt8[np.ndarray, "y x 3"] = self._renderer.render()
        if not self.distractors.n:
            return frame.copy()
        picture = frame.astype(np.float32)
        self.distractors.paint(picture, self._moving, self.t)
        return as_bytes(picture)

    def close(self) -> None:
        """Give back the drawing surface."""
        if self._renderer is not None:
            self._renderer.close()
            self._renderer = None

    def _info(self) -> dict[str, Any]:
        data = self.env.physics.data
        places = self.distractors.places(self._moving, self.t).astype(np.float32)
        return {
            "qpos": np.array(data.qpos, np.float32),
            "qvel": np.array(data.qvel, np.float32),
            "distractors": places,
        }
