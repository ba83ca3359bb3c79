"""Rows that are not finite, too few rows and one axis."""

from pathlib import Path

import numpy as np
import pytest

from isojepa.embeddings.formats.open_file import open_samples
from isojepa.embeddings.measurement import measure
from isojepa.embeddings.samples import from_array
from isojepa.errors import UserError
from tests.embeddings.formats.writers import X, contents


def test_one_axis_is_one_dimension(tmp_path: Path):
    np.save(tmp_path / "x.npy", X[:, 0])
    samples = open_samples(tmp_path / "x.npy")
    assert (samples.n, samples.d) == (50, 1)
    np.testing.assert_array_equal(contents(samples), X[:, :1])
    assert "one dimension" in samples.notes[0]


class TestRowsThatAreNotFinite:
    def broken(self) -> np.ndarray:
        x = np.random.default_rng(0).standard_normal((200, 3)).astype(np.float32)
        x[70, 1], x[30, 2], x[31] = np.nan, np.inf, np.nan
        return x

    def test_are_refused_with_their_count_and_the_first(self):
        with pytest.raises(UserError, match=r"3 of 200 rows hold NaN.* row 30; --drop-nonfinite"):
            measure(from_array(self.broken()), n_null=19)

    def test_are_left_out_if_asked_for(self):
        found = measure(from_array(self.broken()), drop_nonfinite=True, n_null=19)
        rest = np.delete(self.broken(), [30, 31, 70], axis=0)
        assert found.rows.moments.n == 197
        np.testing.assert_allclose(found.rows.moments.mean, rest.mean(0), rtol=1e-4)
        assert not {30, 31, 70} & set(found.rows.sample_rows.tolist())

    def test_keep_the_numbers_of_the_others(self):
        x = self.broken()
        x[150] = 40
        found = measure(from_array(x), drop_nonfinite=True, n_null=19)
        assert list(found.outliers) == [150]

    def test_in_a_table_are_cells_without_a_number(self, tmp_path: Path):
        path = tmp_path / "x.csv"
        path.write_text("a,b\n" + "1.5,2.5\n" * 10 + "1.5,\n" + "0.5,2.5\n" * 20)
        with pytest.raises(UserError, match=r"1 of 31 rows .* row 10"):
            measure(open_samples(path))

    def test_only(self):
        with pytest.raises(UserError, match="0 usable rows"):
            measure(from_array(np.full((30, 2), np.nan)), drop_nonfinite=True)


def test_too_few_rows_are_refused():
    with pytest.raises(UserError, match=r"19 rows say little .* at least 20"):
        measure(from_array(X[:19]))
