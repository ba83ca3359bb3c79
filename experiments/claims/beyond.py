"""Claim 13: isotropy beyond the theory's tasks. Does it help readers that no proof covers?

The proofs cover linear probes, k-NN and kernel readers. One encoder per set is trained with a weak,
the usual and a strong lambda, 0.001, 0.05 and 0.5, and one world model of TwoRoom with 0.0009, 0.09
and 0.9. The embeddings of the usual one are also whitened and stretched, with eigenvalues spaced to
a condition number of 100 along random axes, at the same total variance, which changes no
information. Readers of 500 labelled embeddings:

- covered: a linear probe without rescaling, k-NN;
- not covered: a perceptron of 64 hidden units, retrieval (mean precision of the ten nearest by
  cosine among held-out images), ridge regression of two factors of the image itself (its mean
  brightness and the horizontal centre of its ink), fine-tuning, where all weights of the encoder
  and a linear reader follow 30 labelled updates (for lambda only; a stretch is undone), and
  planning to 60 goals behind a wall by the distance to the goal's embedding (`rooms.py`).

Whitening z -> (z - m) S^(-1/2), stretching z -> (z - m) S^(-1/2) Q diag(s).
"""

import warnings
from collections.abc import Iterator

import images
import numpy as np
import rooms
import torch
from matplotlib.figure import Figure
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.neighbors import KNeighborsClassifier
from sklearn.neural_network import MLPClassifier

from claim import COLOURS, Claim, Judgement, Number, Row, Verdict, column, main, over_seeds, where
from isojepa import LeJEPALoss
from isojepa.encoders import JEPA

LAMBDAS = {"weak lambda": 0.001, "usual lambda": 0.05, "strong lambda": 0.5}
OF_ROOMS = {"weak lambda": 0.0009, "usual lambda": 0.09, "strong lambda": 0.9}
USUAL = "usual lambda"
LABELLED, CONDITION = 500, 100
READERS = ("linear", "k-NN", "perceptron", "retrieval", "factors", "planning")
COVERED = ("linear", "k-NN")


def whitening(z: np.ndarray, kept: float = 1e-3) -> np.ndarray:
    """S^(-1/2), directions of less than a thousandth of the largest variance left as they are."""
    values, axes = np.linalg.eigh(np.cov(z.T))
    return axes / np.sqrt(np.maximum(values, kept * values[-1]))


def stretch(d: int, rng: np.random.Generator) -> np.ndarray:
    """Random axes with variances spread to the condition number, of mean 1."""
    q = np.linalg.qr(rng.normal(size=(d, d)))[0]
    values = np.geomspace(1, CONDITION, d)
    return q * np.sqrt(values / values.mean())


def factors_of(pixels: torch.Tensor) -> np.ndarray:
    """Mean brightness and horizontal centre of the ink of each image, standardised."""
    ink = pixels[:, 0].double().numpy()
    centre = (ink.sum(1) * np.arange(ink.shape[2])).sum(1) / ink.sum((1, 2))
    both = np.stack([ink.mean((1, 2)), centre], 1)
    return (both - both.mean(0)) / both.std(0)


def retrieval(z: np.ndarray, labels: np.ndarray) -> float:
    unit = z / np.maximum(np.linalg.norm(z, axis=1, keepdims=True), 1e-12)
    near = np.argsort(-unit @ unit.T + 3 * np.eye(len(z)), 1)[:, :10]
    return float((labels[near] == labels[:, None]).mean())


def read_all(train: np.ndarray, test: np.ndarray, data: images.Images, seed: int) -> dict:
    few, labels = train[:LABELLED], data.train_labels[:LABELLED]
    scale = few.std()
    few, test = (few - few.mean(0)) / scale, (test - few.mean(0)) / scale
    network = MLPClassifier((64,), max_iter=60, tol=0, n_iter_no_change=60, random_state=seed)
    with warnings.catch_warnings(action="ignore", category=ConvergenceWarning):
        network.fit(few, labels)  # 60 epochs, by intention
    factors = (factors_of(x) for x in (data.train[:LABELLED], data.test))
    known, wanted = factors
    error = ((Ridge(1.0).fit(few, known).predict(test) - wanted) ** 2).mean()
    return {
        "linear": LogisticRegression(max_iter=100).fit(few, labels).score(test, data.test_labels),
        "k-NN": KNeighborsClassifier(5).fit(few, labels).score(test, data.test_labels),
        "perceptron": network.score(test, data.test_labels),
        "retrieval": retrieval(test[:600], data.test_labels[:600]),
        "factors": 1 - error,
    }


def fine_tuned(jepa: JEPA, data: images.Images, seed: int, steps: int) -> float:
    """Accuracy after all weights have followed the labels of a few images."""
    torch.manual_seed(seed)
    encoder, labels = jepa.encoder.train(), torch.from_numpy(data.train_labels[:LABELLED]).long()
    reader = torch.nn.Linear(encoder.embedding_dim, 10)
    optimiser = torch.optim.AdamW([*encoder.parameters(), *reader.parameters()], lr=1e-3)
    for _ in range(steps):
        chosen = torch.randint(len(labels), (64,))
        found = reader(encoder(images.whole(data.train[chosen])))
        loss = torch.nn.functional.cross_entropy(found, labels[chosen])
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    encoder.eval()
    with torch.no_grad():
        found = torch.cat([reader(encoder(images.whole(x))) for x in data.test.split(500)])
    return float((found.argmax(1).numpy() == data.test_labels).mean())


def measure(seed: int, quick: bool) -> Iterator[Row]:
    rng = np.random.default_rng([seed, 13])
    for world in images.sets(quick):
        data = images.read(world)
        for name in (USUAL,) if quick else LAMBDAS:
            jepa = images.build(data.side, seed)
            objective = LeJEPALoss(lambd=LAMBDAS[name], slices=64, seed=seed)
            images.train(jepa, data, objective, seed, 3 if quick else 150)
            (train, _), (test, _) = (images.embed(jepa, x) for x in (data.train, data.test))
            variants = {name: np.eye(train.shape[1])}
            if name == USUAL:
                white = whitening(train)
                variants |= {"whitened": white, "stretched": white @ stretch(len(white), rng)}
            tuned = fine_tuned(jepa, data, seed, 2 if quick else 30)
            for variant, matrix in variants.items():
                centre = train.mean(0)
                found = read_all((train - centre) @ matrix, (test - centre) @ matrix, data, seed)
                for reader, value in found.items():
                    yield {"world": world, "variant": variant, "reader": reader, "value": value}
            yield {"world": world, "variant": name, "reader": "fine-tuned", "value": tuned}
    yield from planning(rng, seed, quick)


def planning(rng: np.random.Generator, seed: int, quick: bool) -> Iterator[Row]:
    """The same variants of a world model's embeddings, read by a planner."""
    with rooms.episodes(seed, quick) as data:
        for name in (USUAL,) if quick else OF_ROOMS:
            run = rooms.learn(data, OF_ROOMS[name], seed, quick)
            z = rooms.embeddings(run, seed)
            variants = {name: np.eye(z.shape[1])}
            if name == USUAL:
                white = whitening(z)
                variants |= {"whitened": white, "stretched": white @ stretch(len(white), rng)}
            for variant, success in rooms.planned(run, variants, seed, quick).items():
                yield {"world": "TwoRoom", "variant": variant, "reader": "planning",
                       "value": success}  # fmt: skip


def judge(rows: list[Row]) -> Judgement:
    seeds = sorted({row["seed"] for row in rows})

    def gain(reader: str, less: str) -> Number:
        """Whitened less another variant, one number a seed, the mean over the sets."""
        white, other = (
            [column(where(rows, reader=reader, variant=v, seed=s), "value").mean() for s in seeds]
            for v in ("whitened", less)
        )
        return over_seeds(f"{reader}: whitened less {less}", np.subtract(white, other).tolist())

    stretched = {reader: gain(reader, "stretched") for reader in READERS}
    trained = [gain(reader, USUAL) for reader in READERS]
    helped = [r for r, number in stretched.items() if number.low > 0]
    beyond = [r for r in helped if r not in COVERED]
    more = [r for r, number in zip(READERS, trained) if number.low > 0]
    less = [r for r, number in zip(READERS, trained) if number.high < 0]
    says = (
        "Isotropy against a stretch of condition 100 with the same information: helps "
        f"{', '.join(helped) or 'no reader'}. Beyond the theory: {', '.join(beyond) or 'none'}. "
        "Whitening what a LeJEPA training left, which is not isotropic in all directions: helps "
        f"{', '.join(more) or 'no reader'}, harms {', '.join(less) or 'none'}."
    )
    verdict: Verdict = "holds with conditions" if beyond else "does not hold here"
    if len(beyond) == len(READERS) - len(COVERED):
        verdict = "holds"
    return Judgement(verdict, says, (*stretched.values(), *trained))


def draw(rows: list[Row], picture: Figure) -> None:
    worlds = list(dict.fromkeys(row["world"] for row in rows))
    readers = (*READERS[:-1], "fine-tuned")
    variants = [v for v in (*LAMBDAS, "whitened", "stretched") if where(rows, variant=v)]
    widths = [len(readers) if world != "TwoRoom" else 1.4 for world in worlds]
    panels = picture.subplots(1, len(worlds), squeeze=False, width_ratios=widths)[0]
    for axes, world in zip(panels, worlds):
        shown = readers if world != "TwoRoom" else READERS[-1:]
        for i, (colour, variant) in enumerate(zip(COLOURS, variants)):
            for j, reader in enumerate(shown):
                part = where(rows, world=world, variant=variant, reader=reader)
                if part:
                    v = column(part, "value")
                    axes.bar(j + 0.16 * (i - 2), v.mean(), 0.15, yerr=v.std(), color=colour,
                             label=None if j else variant)  # fmt: skip
        axes.set_xticks(range(len(shown)), shown, rotation=20)
        axes.set(title=world, ylim=(0, 1.03))
        axes.grid(axis="x")
    panels[0].set_ylabel("accuracy, precision, R² or success")
    picture.legend(*panels[0].get_legend_handles_labels(), loc="outside right center")


CLAIM = Claim(
    name="beyond",
    number=13,
    statement="Isotropy helps readers that the proofs do not cover too: perceptrons, retrieval, "
    "regression, fine-tuning, planning",
    source="the article behind this project, statement 3",
    measure=measure,
    judge=judge,
    draw=draw,
    seeds=3,
    size=(12.5, 3.6),
)
if __name__ == "__main__":
    main(CLAIM)
