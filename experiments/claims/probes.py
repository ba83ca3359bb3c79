"""Claim 2: isotropic embeddings give linear probes the least bias and the least variance.

Embeddings z ~ N(0, Sigma) in d dimensions with the eigenvalues of Sigma spread evenly in the
logarithm between 1 and the condition number c, scaled to a mean of 1, so that the total variance
is that of the isotropic case. n of them teach a reader.

- Bias (Lemma 1). Ridge regression with penalty l shrinks a target along eigenvector k by l / (n
  s_k + l) in expectation, so the worst task, a target along the narrowest direction, has bias l /
  (n s_min + l), against l / (n + l) for the isotropic case. Measured: |E w_hat - w| over repeated
  training sets, of that worst target.
- Variance (Lemma 2). For least squares tr Var(w_hat) = (sigma^2 / n) tr(Sigma^-1) asymptotically,
  least when all eigenvalues are equal. For logistic regression, of which there is no such
  formula: the variance of the fitted direction w / |w| over training sets of 100 points in the
  plane, with labels drawn by a logit of 4 along the diagonal, condition 1 against 20.
- Real embeddings: 32 principal axes of a LeJEPA encoder of scikit-learn's digits and of MNIST,
  whitened, which makes them isotropic, not Gaussian, and stretched by Q diag(s^1/2), Q random axes.
  Readers of 100 random images, 40 times over: ridge (penalty 10) and least squares of a target
  along the narrowest axis with noise of deviation 1/2, its bias and variance as above; and a
  logistic probe of the digit (penalty 1), its accuracy on held-out images.
"""

from collections.abc import Iterator

import images
import numpy as np
from matplotlib.figure import Figure
from sklearn.linear_model import LogisticRegression

from claim import COLOURS, Claim, Judgement, Row, Verdict, column, main, over_seeds, where
from isojepa import LeJEPALoss

CONDITIONS = (1, 5, 10, 50)
SAMPLES = (50, 200, 1000)
RIDGES = (1e-4, 1e-2, 1e0, 1e2)
DIMENSIONS = (8, 16, 32)
THEORY = ("ridge", "least squares", "logistic")
"""Readers of embeddings that are drawn; the others' rows name a set of images."""


def eigenvalues(d: int, condition: float) -> np.ndarray:
    """Of a covariance with this condition number and a mean eigenvalue of 1."""
    values = np.geomspace(1, condition, d)
    return values / values.mean()


def measure(seed: int, quick: bool) -> Iterator[Row]:
    rng = np.random.default_rng([seed, 2])
    repeats = 40 if quick else 200
    for d in DIMENSIONS[:1] if quick else DIMENSIONS:
        for n in SAMPLES[:2] if quick else SAMPLES:
            for condition in CONDITIONS:
                yield from _linear(rng, d, n, condition, repeats)
    for condition in (1, 20):
        yield _logistic(rng, condition, 50 if quick else 200)
    for world in images.sets(quick):
        yield from _real(rng, world, seed, quick)


def _linear(
    rng: np.random.Generator, d: int, n: int, condition: float, repeats: int
) -> Iterator[Row]:
    deviations = np.sqrt(eigenvalues(d, condition))
    w = np.zeros(d)
    w[0] = 1  # eigenvalues ascend: the target lies along the narrowest direction
    estimates = {ridge: [] for ridge in (0.0, *RIDGES)}
    for _ in range(repeats):
        x = rng.normal(size=(n, d)) * deviations
        y = x @ w + 0.5 * rng.normal(size=n)
        gram, cross = x.T @ x, x.T @ y
        for ridge, found in estimates.items():
            found.append(np.linalg.solve(gram + ridge * np.eye(d), cross))
    for ridge, found in estimates.items():
        estimate = np.array(found)
        yield {
            "reader": "ridge" if ridge else "least squares", "d": d, "n": n, "condition": condition,
            "ridge": ridge, "bias": np.linalg.norm(estimate.mean(0) - w),
            "variance": estimate.var(0, ddof=1).sum(),
            "predicted_bias": ridge / (n * deviations[0] ** 2 + ridge),
            "predicted_variance": 0.25 / (n - d - 1) * (1 / deviations**2).sum(),
        }  # fmt: skip


def _logistic(rng: np.random.Generator, condition: float, repeats: int) -> Row:
    d, n = 2, 100
    deviations = np.sqrt(eigenvalues(d, condition))
    turns = []
    for _ in range(repeats):
        x = rng.normal(size=(n, d)) * deviations
        y = rng.random(n) < 1 / (1 + np.exp(-4 * x @ np.ones(d) / d**0.5))
        w = LogisticRegression(C=1e6, max_iter=500).fit(x, y).coef_[0]
        turns.append(w / np.linalg.norm(w))
    spread = np.array(turns).var(0, ddof=1).sum()
    return {"reader": "logistic", "d": d, "n": n, "condition": condition, "variance": spread}


def _real(rng: np.random.Generator, world: str, seed: int, quick: bool) -> Iterator[Row]:
    """Readers of a real encoder's embeddings, stretched by known matrices."""
    data = images.read(world)
    jepa = images.build(data.side, seed)
    objective = LeJEPALoss(lambd=0.05, slices=64, seed=seed)
    images.train(jepa, data, objective, seed, 3 if quick else 150)
    (train, _), (test, _) = (images.embed(jepa, x) for x in (data.train, data.test))
    centre, values, axes = train.mean(0), *np.linalg.eigh(np.cov(train.T))
    d = 32
    white = axes[:, -d:] / np.sqrt(values[-d:])
    for condition in CONDITIONS:
        deviations = np.sqrt(eigenvalues(d, condition))
        stretch = white @ np.linalg.qr(rng.normal(size=(d, d)))[0] * deviations
        x, held_out = (train - centre) @ stretch, (test - centre) @ stretch
        w, ridges, least, right = np.eye(d)[0], [], [], []
        for _ in range(4 if quick else 40):
            chosen = rng.permutation(len(x))[:100]
            some = x[chosen]
            y = some @ w + 0.5 * rng.normal(size=len(some))
            gram, cross = some.T @ some, some.T @ y
            ridges.append(np.linalg.solve(gram + 10 * np.eye(d), cross))
            least.append(np.linalg.lstsq(gram, cross)[0])
            reader = LogisticRegression(max_iter=300).fit(some, data.train_labels[chosen])
            right.append(reader.score(held_out, data.test_labels))
        yield {
            "reader": world, "d": d, "n": 100, "condition": condition, "ridge": 10.0,
            "bias": np.linalg.norm(np.mean(ridges, 0) - w),
            "variance": np.var(least, 0, ddof=1).sum(), "accuracy": np.mean(right),
        }  # fmt: skip


def real_sets(rows: list[Row]) -> list[str]:
    return [x for x in dict.fromkeys(r["reader"] for r in rows) if x not in THEORY]


def judge(rows: list[Row]) -> Judgement:
    linear = [row for row in rows if row["reader"] in ("ridge", "least squares")]
    d, n = max(row["d"] for row in linear), max(row["n"] for row in linear)
    seeds = sorted({row["seed"] for row in rows})

    def ratio(name: str, **which: float) -> list[float]:
        wide, same = (where(rows, d=d, n=n, condition=c, **which) for c in (50, 1))
        return list(column(wide, name) / column(same, name))

    bias = over_seeds("bias of ridge 100, condition 50 over 1", ratio("bias", ridge=100.0))
    least = ratio("variance", ridge=0.0, reader="least squares")
    variance = over_seeds("variance of least squares, condition 50 over 1", least)
    logistic = [
        column(where(rows, reader="logistic", condition=20, seed=s), "variance")[0]
        / column(where(rows, reader="logistic", condition=1, seed=s), "variance")[0]
        for s in seeds
    ]
    what = "variance of the logistic direction, condition 20 over 1"
    turned = over_seeds(what, logistic, "14.3 (.0801 / .0056)")
    real = {
        f"{world}, real embeddings: {word}": [
            change(column(where(rows, reader=world, condition=50, seed=s), name)[0],
                   column(where(rows, reader=world, condition=1, seed=s), name)[0])
            for s in seeds
        ]
        for world in real_sets(rows)
        for word, name, change in (
            ("bias of ridge 10, condition 50 over 1", "bias", np.divide),
            ("variance of least squares, the same", "variance", np.divide),
            ("points of a logistic probe, the same, less", "accuracy",
             lambda wide, same: 100 * (wide - same)),
        )
    }  # fmt: skip
    measured = [over_seeds(what, values) for what, values in real.items()]
    ratios = [number for number in measured if "points" not in number.what]
    points = [number for number in measured if "points" in number.what]
    verdict: Verdict = "does not hold here"
    if min(bias.low, variance.low) > 1:
        verdict = "holds" if min(number.low for number in ratios) > 1 else "holds with conditions"
    says = (
        "Both lemmas hold: at equal total variance anisotropy costs bias on the worst task and "
        "variance on every task, as the formulas say. "
        + ("Logistic probes agree. " if turned.low > 1 else "Logistic probes show it less. ")
        + "Real embeddings, whitened and then stretched to condition 50, of the same information: "
        + ", ".join(f"{number.what.split(',')[0]} {number.value:+.1f} points" for number in points)
        + " for a logistic probe of 100 labels, with the usual penalty."
    )
    return Judgement(verdict, says, (bias, variance, turned, *measured))


def draw(rows: list[Row], picture: Figure) -> None:
    left, middle, right, last = picture.subplots(1, 4)
    d = max(row["d"] for row in where(rows, reader="ridge"))
    ridge = where(rows, reader="ridge", ridge=100.0, d=d)
    least = where(rows, reader="least squares", d=d)
    for axes, part, name, title in (
        (left, ridge, "bias", "bias of ridge, penalty 100"),
        (middle, least, "variance", "variance of least squares"),
    ):
        for colour, n in zip(COLOURS, SAMPLES):
            means = [column(where(part, n=n, condition=c), name) for c in CONDITIONS]
            if not all(len(m) for m in means):
                continue
            formula = f"predicted_{name}"
            predicted = [column(where(part, n=n, condition=c), formula)[0] for c in CONDITIONS]
            axes.plot(CONDITIONS, [m.mean() for m in means], "o", color=colour, label=f"n = {n}")
            axes.plot(CONDITIONS, predicted, color=colour, lw=1)
        axes.set(xscale="log", yscale="log", xlabel="condition number", title=f"{title}, d = {d}")
    left.legend(title="line: formula")
    spread = [column(where(rows, reader="logistic", condition=c), "variance") for c in (1, 20)]
    right.boxplot(spread, tick_labels=["1", "20"])
    title = "variance of the logistic\ndirection, n = 100"
    right.set(xlabel="condition number", title=title, ylim=(0, None))
    for colour, world in zip(COLOURS, real_sets(rows)):
        parts = [where(rows, reader=world, condition=c) for c in CONDITIONS]
        if all(parts):
            y = [100 * column(part, "accuracy") for part in parts]
            last.errorbar(CONDITIONS, [v.mean() for v in y], [v.std() for v in y], fmt="o-", ms=4,
                          color=colour, label=world)  # fmt: skip
    last.set(xscale="log", xlabel="condition number", ylabel="accuracy, %",
             title="logistic probe of 100 labels,\nreal embeddings, stretched")  # fmt: skip
    last.legend()


CLAIM = Claim(
    name="probes",
    number=2,
    statement="At equal total variance anisotropic embeddings give linear probes more bias and "
    "more variance",
    source="LeJEPA, Lemmas 1 and 2, Figures 3 and 4",
    measure=measure,
    judge=judge,
    draw=draw,
    size=(12.0, 3.2),
)
if __name__ == "__main__":
    main(CLAIM)
