"""LeJEPA among scikit-learn's transformers: its own checks, and images, series and tables."""

import io
import pickle
import subprocess
import sys
import zipfile

import joblib
import numpy as np
import pytest
import torch
from sklearn.base import clone
from sklearn.datasets import load_digits, load_iris
from sklearn.decomposition import PCA
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.estimator_checks import parametrize_with_checks

from isojepa.objective.automatic import START
from isojepa.objective.exact import exact_sigreg
from isojepa.sklearn import LeJEPA, SIGRegScore

rng = np.random.default_rng(0)
IRIS, SPECIES = load_iris(return_X_y=True)
SAMPLES = {
    "tables": IRIS[::5],
    "series": rng.normal(size=(24, 30, 2)),
    "images": load_digits().images[:24, :, :, None],
}
QUICK = {"steps": 3, "device": "cpu", "random_state": 0}


@parametrize_with_checks([LeJEPA(**QUICK)])
def test_scikit_learn_own_checks(estimator: LeJEPA, check) -> None:
    check(estimator)


@pytest.fixture(scope="module", params=SAMPLES)
def kind(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture(scope="module")
def fitted(kind: str) -> LeJEPA:
    return LeJEPA(**QUICK).fit(SAMPLES[kind])


def test_every_kind_is_embedded_and_a_seed_repeats_it(kind: str, fitted: LeJEPA) -> None:
    x = SAMPLES[kind]
    z = fitted.transform(x)
    assert z.shape == (len(x), fitted.encoder_.embedding_dim)
    assert z.dtype == np.float32
    assert np.isfinite(z).all()
    assert list(fitted.get_feature_names_out()[:2]) == ["lejepa0", "lejepa1"]
    assert len(fitted.get_feature_names_out()) == z.shape[1]
    assert np.array_equal(clone(fitted).fit_transform(x), z)
    other = clone(fitted).set_params(random_state=1).fit_transform(x)
    assert not np.array_equal(other, z)
    np.testing.assert_allclose(fitted.transform(x[[7, 3]]), z[[7, 3]], rtol=1e-3, atol=1e-5)


def test_pickles_hold_weights_as_safetensors_and_no_tensor(kind: str, fitted: LeJEPA) -> None:
    x = SAMPLES[kind]
    content = pickle.dumps(fitted)
    assert b"torch" not in content.replace(b"isojepa", b"")
    assert np.array_equal(pickle.loads(content).transform(x), fitted.transform(x))
    buffer = io.BytesIO()
    joblib.dump(fitted, buffer)
    assert not zipfile.is_zipfile(buffer)
    buffer.seek(0)
    again = joblib.load(buffer)
    assert np.array_equal(again.transform(x), fitted.transform(x))
    assert SIGRegScore()(again, x) == SIGRegScore()(fitted, x)


def test_other_numbers_and_shapes_are_refused(kind: str, fitted: LeJEPA) -> None:
    x = SAMPLES[kind]
    with pytest.raises(ValueError, match="features"):
        fitted.transform(np.concatenate([x, x, x], -1))
    with pytest.raises(ValueError, match="recipe"):
        LeJEPA(**QUICK, recipe="oil").fit(x)
    with pytest.raises(ValueError, match="model"):
        LeJEPA(**QUICK, model="no_such_network").fit(x)
    with pytest.raises(ValueError, match="1 sample"):
        LeJEPA(**QUICK).fit(x[:1])


def test_fitting_leaves_the_random_numbers_of_others() -> None:
    torch.manual_seed(3)
    expected = torch.rand(2)
    torch.manual_seed(3)
    LeJEPA(**QUICK).fit_transform(SAMPLES["tables"])
    assert torch.equal(torch.rand(2), expected)


def test_missing_values_and_categories_of_frames() -> None:
    pandas = pytest.importorskip("pandas")
    frame = pandas.DataFrame({
        "size": [1.0, None, 3.0, 4.0] * 6,
        "colour": pandas.Series(["red", "blue", None, "red"] * 6, dtype="category"),
        "code": pandas.Series([1, 2, 1, 3] * 6, dtype="category"),
        "name": ["a", "b", "c", None] * 6,
    })  # fmt: skip
    model = LeJEPA(**QUICK).set_output(transform="pandas").fit(frame)
    kinds = [column.categories for column in model.encoder_.spec.table]
    assert kinds == [None, ("blue", "red"), ("1", "2", "3"), ("a", "b", "c")]
    out = model.transform(frame)
    assert list(out.columns[:1]) == ["lejepa0"]
    assert out.index.equals(frame.index)
    new = frame.assign(colour="green")
    assert np.isfinite(model.transform(new)).all(None)


def test_series_of_differing_lengths_end_where_values_do() -> None:
    x = SAMPLES["series"].copy()
    x[0, 20:] = np.nan
    model = LeJEPA(**QUICK).fit(x)
    longer = np.concatenate([x, np.full((24, 9, 2), np.nan)], 1)
    np.testing.assert_allclose(model.transform(longer), model.transform(x), rtol=1e-4, atol=1e-6)


def test_images_of_bytes_and_of_shares_are_the_same() -> None:
    bytes_ = rng.integers(0, 256, (16, 12, 20, 3), np.uint8)
    bytes_[0, 0, 0] = 255
    z = LeJEPA(**QUICK).fit_transform(bytes_)
    assert np.array_equal(LeJEPA(**QUICK).fit_transform(bytes_ / 255), z)
    with pytest.raises(ValueError, match="1 or 3 channels"):
        LeJEPA(**QUICK).fit(bytes_[..., :2])
    with pytest.raises(ValueError, match="from 0"):
        LeJEPA(**QUICK).fit(-SAMPLES["images"])


def test_in_a_pipeline_and_a_grid_search_with_labels_and_without() -> None:
    readers = make_pipeline(StandardScaler(), LeJEPA(**QUICK), LogisticRegression(max_iter=500))
    search = GridSearchCV(readers, {"lejepa__lambd": [0.02, 0.2]}, cv=2)
    assert search.fit(IRIS, SPECIES).best_score_ > 0.6
    plain = make_pipeline(StandardScaler(), LeJEPA(**QUICK))
    search = GridSearchCV(
        plain, {"lejepa__lambd": [0.02, 0.2]}, cv=2, scoring=SIGRegScore(), refit=False
    )
    scores = search.fit(IRIS).cv_results_["mean_test_score"]
    assert np.isfinite(scores).all()
    assert (scores < 0).all()


def test_the_score_of_others_is_minus_sigreg_of_what_they_give() -> None:
    x = rng.normal(size=(400, 5))
    pca = PCA(whiten=True).fit(x)
    z = torch.from_numpy(pca.transform(x))
    expected = -exact_sigreg((z - z.mean(0)) / z.std(0)).item()
    assert SIGRegScore()(pca, x) == pytest.approx(expected, rel=1e-6)
    assert -0.6 < expected < -0.2
    squashed = np.sign(x)  # far from Gaussian
    assert SIGRegScore()(PCA(whiten=True).fit(squashed), squashed) < expected


def test_training_lowers_the_loss_that_the_score_is_made_of() -> None:
    x = StandardScaler().fit_transform(IRIS)
    few, many = (LeJEPA(**QUICK | {"steps": steps}).fit(x[::2]) for steps in (1, 80))
    assert SIGRegScore()(many, x[1::2]) > SIGRegScore()(few, x[1::2])


def test_torch_is_imported_when_something_is_fitted() -> None:
    code = "import sys, isojepa.sklearn; print('torch' in sys.modules, 'timm' in sys.modules)"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.split() == ["False", "False"]


def test_it_is_quiet_unless_asked(capsys: pytest.CaptureFixture[str]) -> None:
    LeJEPA(**QUICK).fit(SAMPLES["tables"])
    assert capsys.readouterr() == ("", "")


def test_lambda_is_found_while_fitting(kind: str) -> None:
    x = SAMPLES[kind]
    found = LeJEPA(**(QUICK | {"steps": 12}), lambd="auto").fit(x)
    assert 1e-3 <= found.lambd_ <= 0.5
    assert found.lambd_ != START
    again = pickle.loads(pickle.dumps(found))
    assert again.lambd_ == found.lambd_
    assert SIGRegScore()(again, x) == SIGRegScore()(found, x)
    assert LeJEPA(**QUICK, lambd=0.3).fit(x).lambd_ == 0.3


def test_too_few_samples_to_find_lambda() -> None:
    with pytest.raises(ValueError, match="at least 8, not of 5"):
        LeJEPA(**QUICK, lambd="auto").fit(IRIS[:5])
