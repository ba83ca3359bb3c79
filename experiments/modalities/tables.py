"""LeJEPA on tables against raw columns, PCA, the untrained encoder and boosted trees, by labels.

Real sets that come with scikit-learn and statsmodels. Representations are learnt on all training
rows without labels; then 5, 20 or 100 labels a class (as many as there are) train a logistic
regression on each, and histogram gradient boosting on the raw columns. A third of the rows tests.

Cost: about two minutes a seed on an idle core. Run: `python experiments/modalities/tables.py --out
DIR`; it goes on where it was stopped. `--quick`: one set, one seed, few updates.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import tyro
from readers import Means, Row, add, done, logistic, mean_of, ranked_table, rows_in, tell
from sklearn import datasets
from sklearn.decomposition import PCA
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.model_selection import train_test_split
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from isojepa.sklearn import LeJEPA

SETS = ("iris", "wine", "breast_cancer", "digits", "fair", "anes96")
METHODS = ("raw", "pca", "untrained", "lejepa", "masked", "trees")
SHOTS = (5, 20, 100)


@dataclass(frozen=True, kw_only=True)
class Config:
    """What to compare, and where to keep the rows."""

    out: Path
    """Folder of tables.jsonl and of the table."""
    seeds: tuple[int, ...] = (0, 1, 2)
    """Of the split, the labels that are shown and the weights."""
    sets: tuple[str, ...] = SETS
    steps: int = 300
    """Updates of LeJEPA."""
    quick: bool = False
    """Only to see that it runs."""


def load(name: str) -> tuple[np.ndarray, np.ndarray]:
    """Rows and classes."""
    if name == "fair":  # 6,366 answers; class: whether there was an affair
        from statsmodels.datasets import fair

        data = fair.load_pandas()
        return data.exog.to_numpy(float), (data.endog > 0).to_numpy(int)
    if name == "anes96":  # 944 voters; class: strong, weak or leaning, by party
        from statsmodels.datasets import anes96

        data = anes96.load_pandas()
        exog = data.exog.drop(columns=["PID"], errors="ignore")
        return exog.to_numpy(float), data.endog.to_numpy(int) // 3
    x, y = getattr(datasets, f"load_{name}")(return_X_y=True)
    return x.astype(float), y


def few(y: np.ndarray, shots: int, seed: int) -> np.ndarray:
    """Rows with `shots` labels of each class, or all of a class that has fewer."""
    rng = np.random.default_rng(seed)
    chosen = [rng.permutation(np.flatnonzero(y == label))[:shots] for label in np.unique(y)]
    return np.concatenate(chosen)


def represented(
    method: str, x: np.ndarray, x_test: np.ndarray, config: Config, seed: int
) -> tuple[np.ndarray, np.ndarray]:
    """Training and test rows by one method."""
    if method in ("raw", "trees"):
        return x, x_test
    if method == "pca":
        pca = make_pipeline(StandardScaler(), PCA(min(64, *x.shape), random_state=seed)).fit(x)
        return pca.transform(x), pca.transform(x_test)
    encoder = LeJEPA(
        recipe="masked" if method == "masked" else "table",
        steps=1 if method == "untrained" else config.steps,
        learning_rate=1e-12 if method == "untrained" else None,
        device="cpu",
        random_state=seed,
    )
    return encoder.fit_transform(x), encoder.transform(x_test)


def compare(config: Config) -> Iterator[Row]:
    """Rows for each set, seed and method that is not there yet, one for each number of labels."""
    path = config.out / "tables.jsonl"
    for seed in config.seeds:
        for name in config.sets:
            rows = rows_in(path)
            missing = [m for m in METHODS if not done(rows, set=name, seed=seed, method=m)]
            if not missing:
                continue
            x, x_test, y, y_test = train_test_split(
                *load(name), test_size=1 / 3, random_state=seed, stratify=load(name)[1]
            )
            for method in missing:
                z, z_test = represented(method, x, x_test, config, seed)
                for shots in SHOTS:
                    shown = few(y, shots, seed)
                    model = (
                        logistic()
                        if method != "trees"
                        else HistGradientBoostingClassifier(
                            min_samples_leaf=min(20, max(2, len(shown) // 10)), random_state=seed
                        )
                    )
                    model.fit(z[shown], y[shown])
                    right = float((model.predict(z_test) == y_test).mean())
                    row: Row = {
                        "set": name, "seed": seed, "method": method, "shots": shots,
                        "accuracy": round(right, 4),
                    }  # fmt: skip
                    add(path, row)
                    yield row


def table(rows: list[Row], sets: tuple[str, ...]) -> str:
    """Markdown: accuracy in per cent at 5 / 20 / 100 labels a class, mean over seeds, and ranks."""
    means: Means = {
        shots: {
            m: [100 * mean_of(rows, "accuracy", set=s, method=m, shots=shots)[0] for s in sets]
            for m in METHODS
        }
        for shots in SHOTS
    }
    return ranked_table("5 / 20 / 100 labels a class, %", sets, means)


def main(config: Config) -> str:
    """Compare, and tell of it."""
    if config.quick:
        config = Config(out=config.out, seeds=(0,), sets=config.sets[:1], steps=3)
    path = config.out / "tables.jsonl"
    return tell(compare(config), path, lambda rows: table(rows, config.sets))


if __name__ == "__main__":
    main(tyro.cli(Config))
