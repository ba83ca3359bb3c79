"""Is it the prediction that limits control? Where rollouts are, against where the actions led.

    python experiments/control_limits/prediction.py --out control-limits --pictures docs/images

On held-out episodes: the embedding of a first frame and the recorded actions, open loop; a reader
fitted to embeddings of training frames says which place the prediction is.
"""

from functools import partial
from typing import Any

import numpy as np
import tyro
from rich.console import Console
from rich.table import Table

from isojepa.world import (
    Study,
    clip_index,
    embed_rows,
    encode_clips,
    episode_rows,
    fit_probe,
    open_study,
    sampled,
)
from two_room import MODEL_COLOURS, RADIUS, Config, Results, answer, models, position

BLOCKS, CLIPS, READ = 8, 400, 4000


def measure(config: Config, results: Results) -> None:
    """The errors of each model."""
    for name, run in models(config, results):
        study = open_study(run, device="cpu")
        results.note("rollout", name, partial(rollout_errors, study, seed=config.seed))


def rollout_errors(study: Study, *, seed: int) -> dict[str, Any]:
    """Pixels between where recorded actions led and where a reader sees the open-loop rollout.

    The readers, linear and not, are fitted to embeddings of training frames; their own errors, on
    the embeddings of the true frames, are given beside.
    """
    data, model = study.trajectories, study.model
    rows = sampled(episode_rows(data, study.train), READ, seed=seed)
    z_train = embed_rows(model, data, rows, words="embedding training frames")
    skip = model.frame_skip
    index = sampled(
        clip_index(data, study.held_out, frames=BLOCKS + 1, frame_skip=skip), CLIPS, seed=seed
    )
    clips = data.clips(index, frames=BLOCKS + 1, frame_skip=skip, scale=model.scale)
    z = encode_clips(model, clips.frames)
    rolled = model.rollout(z[:, :1], clips.actions[:, :0], clips.actions[:, None, :BLOCKS])[:, 0]
    first = np.cumsum(data.lengths) - data.lengths
    at = (first[index[:, 0]] + index[:, 1])[:, None] + skip * np.arange(BLOCKS + 1)
    truth = position(data, at.ravel()).reshape(len(index), BLOCKS + 1, 2)
    both = np.stack([rolled.detach().numpy(), z[:, 1:].numpy()])
    found: dict[str, Any] = {
        "moved": np.linalg.norm(truth[:, 1:] - truth[:, :1], axis=-1).mean(0).tolist(),
        "latent": (rolled - z[:, 1:]).square().mean((0, 2)).sqrt().tolist(),
    }
    for reader in ("linear", "mlp"):
        guess = fit_probe(
            reader, z_train, position(data, rows), both.reshape(-1, z.shape[-1]), seed=seed
        )
        off = np.linalg.norm(guess.reshape(2, *truth[:, 1:].shape) - truth[:, 1:], axis=-1)
        found[reader] = {"rollout": off[0].mean(0).tolist(), "itself": off[1].mean(0).tolist()}
        found[reader]["within"] = (off[0] < RADIUS).mean(0).tolist()
    return found


def show(results: Results) -> None:
    """Mean errors in pixels."""
    table = Table("model", "linear reader, px", "mlp reader, px", "1 block ahead", "5", "8",
                  title="rollouts of held-out episodes")  # fmt: skip
    for name, r in results["rollout"].items():
        ahead = [f"{r['mlp']['rollout'][k - 1]:.1f}" for k in (1, 5, BLOCKS)]
        itself = [f"{np.mean(r[reader]['itself']):.1f}" for reader in ("linear", "mlp")]
        table.add_row(name, *itself, *ahead)
    Console(width=140).print(table)


def draw(results: Results, pyplot: Any) -> Any:
    """Error against blocks ahead."""
    figure, axes = pyplot.subplots(figsize=(8.0, 3.8), dpi=120, layout="constrained")
    blocks = np.arange(1, BLOCKS + 1)
    for name in results["rollout"]:
        found = results["rollout"][name]
        axes.plot(blocks, found["mlp"]["rollout"], "o-", color=MODEL_COLOURS[name], label=name)
        axes.plot(blocks, found["mlp"]["itself"], ":", color=MODEL_COLOURS[name])
    moved = results["rollout"]["d=64"]["moved"]
    axes.plot(blocks, moved, color="#999999", label="the agent itself moved")
    axes.axhline(RADIUS, color="#333333", linestyle="--", linewidth=1)
    axes.text(BLOCKS, RADIUS + 1, "counts as reached", ha="right", color="#333333")
    axes.set(xlabel="blocks of five steps ahead, open loop", ylabel="mean error, pixels of 224")
    axes.set(ylim=(0, 60), title="Where the rollout is, against where the recorded actions led")
    axes.plot([], [], ":", color="#333333", label="the reader's own error")
    axes.legend(frameon=False, ncols=2)
    return figure


def main(config: Config) -> None:
    answer(config, measure, show, draw, "control-rollout-error.png")


if __name__ == "__main__":
    main(tyro.cli(Config))
