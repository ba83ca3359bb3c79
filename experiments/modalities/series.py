"""LeJEPA on series against raw values, PCA, the untrained encoder and MiniRocket.

Eight sets that come with aeon, in their published train and test parts, and MNIST-1D from its
formula. All representations are learnt on the training part; a ridge classifier and the nearest
neighbour read them. Needs isojepa[bench-series].

Cost: about five minutes a seed on an idle core. Run: `python experiments/modalities/series.py --out
DIR`; it goes on where it was stopped. `--quick`: one set, one seed, few updates.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import tyro
from readers import Means, Row, add, done, linear, mean_of, nearest, ranked_table, rows_in, tell
from sklearn.decomposition import PCA

from isojepa.sklearn import LeJEPA

SETS = (
    "GunPoint", "ItalyPowerDemand", "ArrowHead", "BasicMotions", "PickupGestureWiimoteZ", "OSULeaf",
    "ACSF1", "JapaneseVowels", "MNIST-1D",
)  # fmt: skip
METHODS = ("raw", "pca", "untrained", "lejepa", "masked", "minirocket")
MOST = 128
"""Time steps that every method sees at most; longer series are averaged down to so many."""


@dataclass(frozen=True, kw_only=True)
class Config:
    """What to compare, and where to keep the rows."""

    out: Path
    """Folder of series.jsonl and of the table."""
    seeds: tuple[int, ...] = (0, 1, 2)
    sets: tuple[str, ...] = SETS
    steps: int = 200
    """Updates of LeJEPA."""
    model: str = "conv_nano"
    quick: bool = False
    """Only to see that it runs."""


Parts = tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]


def load(name: str) -> Parts:
    """Training and test part: (n, t, c) with NaN beyond a series' end, and classes."""
    if name == "MNIST-1D":
        from mnist1d.data import get_dataset_args, make_dataset

        made = make_dataset(get_dataset_args())
        x, y, x_test, y_test = (made[k] for k in ("x", "y", "x_test", "y_test"))
        return x[:1000, :, None], y[:1000], x_test[..., None], y_test
    from aeon.datasets import load_classification

    parts = []
    for split in ("train", "test"):
        x, y = load_classification(name, split=split, load_equal_length=False)
        longest = max(np.shape(one)[1] for one in x)
        padded = np.full((len(x), longest, np.shape(x[0])[0]), np.nan)
        for row, one in zip(padded, x):
            row[: np.shape(one)[1]] = np.asarray(one).T
        parts += [shortened(padded), y]
    return tuple(parts)


def shortened(x: np.ndarray) -> np.ndarray:
    """Means of blocks of time steps, such that at most `MOST` are left."""
    block = -(-x.shape[1] // MOST)
    pad = -x.shape[1] % block
    x = np.pad(x, ((0, 0), (0, pad), (0, 0)), constant_values=np.nan)
    blocks = x.reshape(len(x), -1, block, x.shape[2])
    known = np.isfinite(blocks)
    total = np.where(known, blocks, 0).sum(2)
    return np.where(known.any(2), total / known.sum(2).clip(1), np.nan)


def stretched(x: np.ndarray) -> np.ndarray:
    """Series of one length, as methods need it that know no gaps: linear between time steps."""
    length, made = x.shape[1], np.empty_like(x)
    for row, one in zip(made, x):
        known = one[np.isfinite(one).any(1)]
        place = np.linspace(0, len(known) - 1, length)
        for j in range(x.shape[2]):
            row[:, j] = np.interp(place, np.arange(len(known)), known[:, j])
    return made


def represented(method: str, parts: Parts, config: Config, seed: int) -> tuple[np.ndarray, ...]:
    """Training and test part by one method."""
    x, _, x_test, _ = parts
    if method in ("raw", "pca"):
        flat = [stretched(part).reshape(len(part), -1) for part in (x, x_test)]
        if method == "raw":
            return tuple(flat)
        pca = PCA(min(64, *flat[0].shape), random_state=seed).fit(flat[0])
        return tuple(map(pca.transform, flat))
    if method == "minirocket":
        from aeon.transformations.collection.convolution_based import MiniRocket

        rocket = MiniRocket(random_state=seed)
        whole = [stretched(part).transpose(0, 2, 1) for part in (x, x_test)]
        return rocket.fit_transform(whole[0]), rocket.transform(whole[1])
    encoder = LeJEPA(
        model=config.model,
        recipe="masked" if method == "masked" else "series",
        steps=1 if method == "untrained" else config.steps,
        learning_rate=1e-12 if method == "untrained" else None,
        batch_size=64,
        device="cpu",
        random_state=seed,
    )
    return encoder.fit_transform(x), encoder.transform(x_test)


def compare(config: Config) -> Iterator[Row]:
    """A row for each set, seed and method that is not there yet."""
    path = config.out / "series.jsonl"
    for seed in config.seeds:
        for name in config.sets:
            rows = rows_in(path)
            missing = [m for m in METHODS if not done(rows, set=name, seed=seed, method=m)]
            parts = load(name) if missing else None
            for method in missing:
                assert parts is not None
                x, x_test = represented(method, parts, config, seed)
                row: Row = {"set": name, "seed": seed, "method": method}
                for reader, make in (("linear", linear), ("nearest", nearest)):
                    model = make().fit(x, parts[1])  # type: ignore[attr-defined]
                    row[reader] = round(float((model.predict(x_test) == parts[3]).mean()), 4)
                add(path, row)
                yield row


def table(rows: list[Row], sets: tuple[str, ...]) -> str:
    """Markdown: accuracy in per cent, linear / nearest neighbour, mean over seeds, and ranks."""
    means: Means = {
        reader: {
            m: [100 * mean_of(rows, reader, set=s, method=m)[0] for s in sets] for m in METHODS
        }
        for reader in ("linear", "nearest")
    }
    return ranked_table("linear / 1-NN, %", sets, means)


def main(config: Config) -> str:
    """Compare, and tell of it."""
    if config.quick:
        config = Config(out=config.out, seeds=(0,), sets=config.sets[:1], steps=3)
    path = config.out / "series.jsonl"
    return tell(compare(config), path, lambda rows: table(rows, config.sets))


if __name__ == "__main__":
    main(tyro.cli(Config))
