"""Frames of PushT, 64 pixels, with the true state: the agent, a small disc, and the block to push.

    python experiments/suite/simulator.py --out sets/simulator

Rendered by stable-worldmodel's environment (extra `world`) at random states. There are no classes:
simulator.csv holds six factors, and what is asked is how well a linear map reads them. The disc
fills less than 1 % of the picture; a flipped or cropped view tells another state.
"""

import warnings
from collections.abc import Iterator

import numpy as np

from made import Picture, main, some

SIDE, TRAIN, TEST = 64, 4000, 1000
LOW, HIGH = 80, 430


def pictures(share: float, seed: int) -> Iterator[Picture]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from stable_worldmodel.envs.pusht import PushT
    env = PushT(resolution=SIDE, with_target=False)
    rng = np.random.default_rng(seed)
    train = some(TRAIN, share, 20)
    env.reset(seed=seed)
    for i in range(train + some(TEST, share, 10)):
        x = rng.uniform(LOW, HIGH, 4)
        turn = rng.uniform(0, 2 * np.pi)
        env._set_state(np.array([*x, turn, 0, 0]))
        factors = dict(zip(("agent_x", "agent_y", "block_x", "block_y"), x.tolist()))
        factors |= {"cos": float(np.cos(turn)), "sin": float(np.sin(turn))}
        pixels = np.asarray(env.render(), np.uint8)
        yield Picture("train" if i < train else "test", None, pixels, factors)


if __name__ == "__main__":
    main(pictures)
