"""The whole table of scores on real digits, its invariances, and the baselines."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from scipy.stats import ortho_group
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

from isojepa.encoders.evaluation.labelled import Labelled
from isojepa.encoders.evaluation.results import Scores, read_scores, write_scores
from isojepa.encoders.evaluation.scores import raw_baselines, score_representation
from isojepa.encoders.modalities.images.read import flat_pixels
from isojepa.errors import UserError

images, labels = load_digits(return_X_y=True)
x_train, x_test, y_train, y_test = train_test_split(
    images.astype(np.float32), labels, test_size=0.3, random_state=0, stratify=labels
)
train, test = Labelled(x_train, y_train), Labelled(x_test, y_test)
small = Labelled(x_train[:300], y_train[:300])


@pytest.fixture(scope="module")
def of_pixels() -> Scores:
    return score_representation(train, test)


def test_scores_of_raw_digits(of_pixels: Scores) -> None:
    assert of_pixels.linear == pytest.approx(0.965, abs=0.01)
    assert of_pixels.knn == pytest.approx(0.985, abs=0.01)
    assert of_pixels.kernel == pytest.approx(0.99, abs=0.01)
    assert of_pixels.shots[1].mean == pytest.approx(0.64, abs=0.03)
    assert (of_pixels.n_train, of_pixels.n_test) == (1257, 540)


def test_the_file_holds_what_was_scored(of_pixels: Scores, tmp_path: Path) -> None:
    scores = {"encoder": replace(of_pixels, n_repeated=3), "pixels": of_pixels}
    write_scores(tmp_path / "scores.json", scores)
    assert read_scores(tmp_path / "scores.json") == scores
    written = json.loads((tmp_path / "scores.json").read_text())
    assert list(written["encoder"]) == [*written["pixels"], "n_repeated"]
    assert list(written["pixels"]) == ["linear", "knn", "kernel", "shots", "n_train", "n_test"]
    assert list(written["pixels"]["shots"]["1"]) == ["mean", "interval"]
    assert read_scores(tmp_path / "none.json") == {}


@pytest.mark.parametrize(
    ("content", "entry"),
    [
        ('{"encoder": {"linear": "x"}}', "linear is x"),
        ('{"encoder": {"shots": {"one": null}}}', "shots is one"),
        ('{"encoder": {"shots": {"1": {"mean": 1, "interval": [0]}}}}', "shots.1.interval is"),
        ('{"encoder": 3}', "it is not an object"),
    ],
)
def test_what_is_no_score_is_named(content: str, entry: str, tmp_path: Path) -> None:
    (tmp_path / "scores.json").write_text(content)
    with pytest.raises(UserError, match=entry):
        read_scores(tmp_path / "scores.json")


def accuracies(scores: Scores) -> dict[str, float]:
    shots = {f"{count} shots": shot.mean for count, shot in scores.shots.items()}
    probes = {"linear": scores.linear, "knn": scores.knn, "kernel": scores.kernel}
    return probes | shots


def test_rotation_and_scale_change_nothing() -> None:
    rotation = 7 * ortho_group.rvs(64, random_state=0).astype(np.float32)
    rotated = score_representation(
        Labelled(small.x @ rotation, small.y), Labelled(test.x @ rotation, test.y)
    )
    assert accuracies(rotated) == pytest.approx(
        accuracies(score_representation(small, test)), abs=0.004
    )


def test_seed_decides() -> None:
    assert score_representation(small, test, seed=3) == score_representation(small, test, seed=3)
    assert score_representation(small, test, seed=3) != score_representation(small, test, seed=4)


def test_test_labels_are_not_looked_at() -> None:
    """Predictions stay as they were, hence wrong, when every test label is changed."""
    shifted = score_representation(small, Labelled(test.x, (test.y + 1) % 10))
    assert max(accuracies(shifted).values()) < 0.2


def test_features_that_are_no_numbers_are_refused() -> None:
    with pytest.raises(UserError, match="NaN"):
        score_representation(Labelled(small.x * np.nan, small.y), test)


def test_pixels_are_area_averages() -> None:
    image = np.random.default_rng(0).integers(0, 256, (64, 96, 3)).astype(np.uint8)
    expected = image.reshape(32, 2, 32, 3, 3).mean((1, 3)).transpose(2, 0, 1) / 255
    np.testing.assert_allclose(flat_pixels(image[None])[0], expected.ravel(), rtol=1e-5)
    uneven = image[:50, :70]
    resized = np.asarray(Image.fromarray(uneven).resize((32, 32), Image.Resampling.BOX)) / 255
    assert (
        np.abs(flat_pixels(uneven[None])[0].reshape(3, 32, 32).transpose(1, 2, 0) - resized).mean()
        < 0.1
    )


def test_baselines() -> None:
    rng = np.random.default_rng(0)
    batch = rng.integers(0, 256, (300, 8, 8, 1)).astype(np.uint8)
    features = raw_baselines(flat_pixels(batch[:200]), flat_pixels(batch[200:]))
    np.testing.assert_allclose(features["pixels"][0], batch[:200].reshape(200, 64) / 255, rtol=1e-6)
    centred = features["pixels"][0] - features["pixels"][0].mean(0)
    singular_values = np.linalg.svd(centred, compute_uv=False)
    np.testing.assert_allclose(
        np.linalg.norm(features["pca"][0], axis=0), singular_values[:64], rtol=1e-3
    )
    assert features["pca"][1].shape == (100, 64)
    assert raw_baselines(flat_pixels(batch[:20]), flat_pixels(batch[200:]))["pca"][0].shape == (
        20,
        19,
    )
