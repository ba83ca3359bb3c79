"""Which array or column of a file holds the samples, and what is said of the others."""

import decimal
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from isojepa.embeddings.formats.open_file import open_samples
from isojepa.errors import UserError
from tests.embeddings.formats.writers import (
    X,
    compressed_npz,
    contents,
    parquet_of_embed,
    write_csv,
)


class TestChoice:
    def test_of_an_array_by_key(self, tmp_path: Path):
        np.savez(tmp_path / "x.npz", a=X, b=2 * X)
        np.testing.assert_array_equal(contents(open_samples(tmp_path / "x.npz", key="b")), 2 * X)

    def test_is_asked_for_if_there_are_several(self, tmp_path: Path):
        np.savez(tmp_path / "x.npz", a=X, b=2 * X, names=np.array(["u", "v"]))
        with pytest.raises(UserError, match=r"--key: a \(50, 4\), b \(50, 4\), names \(2,\)"):
            open_samples(tmp_path / "x.npz")

    def test_of_a_key_that_is_not_there(self, tmp_path: Path):
        np.savez(tmp_path / "x.npz", a=X)
        with pytest.raises(UserError, match=r"--key z: not in .*x\.npz, which holds a"):
            open_samples(tmp_path / "x.npz", key="z")

    def test_of_the_only_table_is_said(self, tmp_path: Path):
        samples = open_samples(compressed_npz(tmp_path / "x"))
        assert samples.notes == ("Of 3 arrays, x is the only table of real numbers: it was taken.",)
        assert samples.name == "x.npz, x"

    def test_passes_objects_over_without_unpickling_them(self, tmp_path: Path):
        np.savez(tmp_path / "x.npz", x=X, names=np.array(["a", None], dtype=object))
        np.testing.assert_array_equal(contents(open_samples(tmp_path / "x.npz")), X)

    def test_of_a_column_whose_name_begins_another(self, tmp_path: Path):
        lists = pa.array(X.tolist())
        pq.write_table(pa.table({"a.b": X[:, 0], "a": lists}), tmp_path / "x.parquet")
        x = contents(open_samples(tmp_path / "x.parquet", columns=("a",)))
        np.testing.assert_array_equal(x, X)

    def test_of_columns_by_pattern(self, tmp_path: Path):
        path = write_csv(tmp_path / "x.csv", X, "emb_0,emb_1,size,emb_2")
        samples = open_samples(path, columns=("emb_*",))
        assert samples.columns == ("emb_0", "emb_1", "emb_2")
        np.testing.assert_allclose(contents(samples), X[:, [0, 1, 3]], rtol=1e-7)
        with pytest.raises(UserError, match="--columns nothing: not in"):
            open_samples(path, columns=("nothing",))

    def test_of_columns_leaves_text_and_whole_numbers_out_and_says_so(self, tmp_path: Path):
        rows = [f"{i},p{i}.png," + ",".join(f"{v:.9g}" for v in row) for i, row in enumerate(X)]
        path = tmp_path / "x.csv"
        path.write_text("\n".join(["label,path,a,b,c,d", *rows]) + "\n")
        samples = open_samples(path)
        assert samples.columns == ("a", "b", "c", "d")
        assert "Left out: label (row numbers), path (text)" in samples.notes[0]
        assert open_samples(path, columns=("label", "a")).columns == ("label", "a")
        with pytest.raises(UserError, match=r"path of .* holds no numbers"):
            open_samples(path, columns=("path",))

    def test_of_whole_numbers_if_there_is_nothing_else(self, tmp_path: Path):
        write_csv(tmp_path / "x.csv", (10 * X).astype(int), "a,b,c,d")
        assert open_samples(tmp_path / "x.csv").d == 4

    def test_of_decimals(self, tmp_path: Path):
        exact = [decimal.Decimal(f"{v:.4f}") for v in X[:, 0]]
        pq.write_table(pa.table({"a": exact, "b": X[:, 1]}), tmp_path / "x.parquet")
        x = contents(open_samples(tmp_path / "x.parquet"))
        np.testing.assert_allclose(x, X[:, :2], atol=6e-5)

    def test_of_lists_among_columns(self, tmp_path: Path):
        samples = open_samples(parquet_of_embed(tmp_path / "x"))
        assert "embedding" in samples.notes[0]
