import base64
import io

import numpy as np
import pytest
from PIL import Image

from isojepa.encoders.evaluation.results import FewShot, Scores
from isojepa.pages.encoder import embedding_map
from isojepa.pages.encoder.pictures import cosine_neighbours, spread_queries, sprite_sheet
from isojepa.pages.encoder.tables import neighbourhoods, score_table
from isojepa.pages.run import Run, Sample
from isojepa.runs.record import RunRecord
from isojepa.theme.wording import duration, listed, number, percent


def decode(uri: str) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(uri.split(",")[1]))))


@pytest.mark.parametrize(("h", "w", "c"), [(8, 8, 1), (6, 10, 3)])
def test_sprites_are_where_they_say(h: int, w: int, c: int):
    thumbnails = np.random.default_rng(0).integers(0, 256, (30, h, w, c), dtype=np.uint8)
    chosen = [3, 7, 29, 11, 5]
    sprites = sprite_sheet(thumbnails, chosen)
    sheet = decode(sprites.uri).reshape(sprites.rows * h, sprites.columns * w, c)
    for index in chosen:
        column, row = sprites.place[index]
        cut = sheet[row * h : (row + 1) * h, column * w : (column + 1) * w]
        np.testing.assert_array_equal(cut, thumbnails[index])
    assert sprites.position(3, 2 * w) == "0px 0px"
    assert sprites.position(7, 2 * w) == f"{-2 * w}px 0px"


def test_the_worst_photographs_still_fit_a_css_variable():
    noise = np.random.default_rng(0).integers(0, 256, (600, 64, 64, 3), dtype=np.uint8)
    assert len(sprite_sheet(noise, range(600)).uri) < 2 * 2**20


def test_cosine_neighbours_match_scikit_learn():
    neighbors = pytest.importorskip("sklearn.neighbors")
    x = np.random.default_rng(0).standard_normal((60, 5))
    queries = np.array([4, 17])
    nearest, similarity = cosine_neighbours(x, queries, 6)
    search = neighbors.NearestNeighbors(n_neighbors=7, metric="cosine").fit(x)
    distance, expected = search.kneighbors(x[queries])
    np.testing.assert_array_equal(nearest, expected[:, 1:])
    np.testing.assert_allclose(1 - similarity, distance[:, 1:])


def test_queries_take_classes_in_turn():
    labels = np.repeat(np.arange(4), [50, 3, 20, 1])
    chosen = labels[spread_queries(labels, 74, 6)]
    assert set(chosen) == {0, 1, 2, 3}
    assert sorted(chosen) == list(chosen)
    assert len(set(spread_queries(None, 74, 10))) == 10


def sample(labels: np.ndarray | None, x: np.ndarray) -> Sample:
    n = len(x)
    paths = np.array([f"{i}.png" for i in range(n)])
    pictures = np.zeros((n, 4, 4, 1), np.uint8)
    return Sample(pictures, x.astype("float32"), x.astype("float32"), paths, labels, ("a", "b"))


def test_agreement_of_separated_and_of_mixed_classes():
    labels = np.repeat([0, 1], 50)
    rng = np.random.default_rng(0)
    apart = rng.standard_normal((100, 3)) + 20 * np.eye(3)[labels]
    found = neighbourhoods(sample(labels, apart))
    assert found.agreement == 1.0
    assert found.chance == pytest.approx(49 / 99)
    mixed = neighbourhoods(sample(labels, rng.standard_normal((100, 3))))
    assert mixed.agreement == pytest.approx(49 / 99, abs=0.1)


def test_neighbours_without_or_with_few_labels():
    x = np.random.default_rng(0).standard_normal((12, 3))
    assert neighbourhoods(sample(None, x)).agreement is None
    labels = np.full(12, -1)
    labels[:6] = 0
    found = neighbourhoods(sample(labels, x))
    assert found.agreement is None
    assert {row.label for row in found.rows} == {"a", "unlabelled"}


@pytest.mark.parametrize(
    "x",
    [
        np.zeros((40, 6)),
        np.ones((40, 6)),
        np.random.default_rng(0).standard_normal((5, 6)),
        np.random.default_rng(0).standard_normal((2, 1)),
        np.random.default_rng(0).standard_normal((12, 2)),
    ],
    ids=["zero", "constant", "few", "one dimension", "smallest t-SNE"],
)
def test_layout_of_degenerate_samples(x: np.ndarray):
    plane = embedding_map.layout(x)
    assert plane.shape == (len(x), 2)
    assert np.isfinite(plane).all()


def test_layout_separates_clusters_and_repeats():
    labels = np.arange(200) % 5
    x = np.random.default_rng(0).standard_normal((200, 32)) + 8 * np.eye(32)[labels]
    plane = embedding_map.layout(x.astype(np.float32))
    # Each picture's nearest on the map is of its own class.
    distance = ((plane[:, None] - plane[None]) ** 2).sum(-1) + 1e9 * np.eye(200)
    assert (labels[distance.argmin(1)] == labels).mean() > 0.98
    first = embedding_map.layout(x[:50])
    np.testing.assert_array_equal(first, embedding_map.layout(x[:50]))


def run_with(scores: dict) -> Run:
    from pathlib import Path

    return Run(path=Path("r"), name="r", record=RunRecord(config={}), scores=scores)


def test_score_table_marks_the_best_and_survives_gaps():
    shots = {10: FewShot(mean=0.8, interval=(0.7, 1.2)), 1: FewShot(mean=0.4)}
    table = score_table(
        run_with(
            {
                "encoder": Scores(linear=0.9, knn=0.8, shots=shots),
                "pixels": Scores(linear=0.9001, knn=0.85, shots={1: FewShot(mean=0.2)}),
                "pca": Scores(),
            }
        )
    )
    assert table is not None
    assert table.measures == ("linear", "knn")
    assert table.shots == (1, 10)
    (_, encoder), (_, pixels) = table.rows
    assert [cell.best for cell in encoder] == [True, False, True, False]
    assert [cell.best for cell in pixels] == [True, True, False, False]
    assert encoder[3].interval == (0.7, 1.0)
    assert pixels[3].value is None
    assert score_table(run_with({})) is None


@pytest.mark.parametrize(
    ("value", "text"),
    [(0.00676, "0.00676"), (4.6e-5, "4.6·10⁻⁵"), (619759.0, "619,759"), (1, "1"), (0, "0"),
     (3.312, "3.31"), (float("inf"), "∞"), (None, "–"), (float("nan"), "not a number")],
)  # fmt: skip
def test_numbers(value: float | None, text: str):
    assert number(value) == text


def test_other_words():
    assert percent(0.98126) == "98.1\N{NO-BREAK SPACE}%"
    assert listed(["a", "b", "c"]) == "a, b and c"
    assert [duration(s) for s in (43.1, 720, 9000.5, None)] == ["43 s", "12 min", "2.5 h", "–"]
