"""How a table of text is written: encodings, separators, decimal commas, signs."""

import gzip
from pathlib import Path

import numpy as np
import pytest

from isojepa.embeddings.formats.open_file import open_samples
from isojepa.errors import UserError
from tests.embeddings.formats.cells import (
    CELLS,
    COMMAS,
    DIGITS,
    LABELS,
    LETTERS,
    PATHS,
    X,
    first,
    last,
    read,
    write,
)


class TestDecimalCommas:
    @pytest.mark.parametrize("head", [None, LETTERS, DIGITS])
    @pytest.mark.parametrize("sep", [";", "\t", "|", " "])
    def test_are_read(self, sep: str, head: str | None, tmp_path: Path):
        head = head and head.replace(",", sep)
        samples = open_samples(write(tmp_path / "x.csv", COMMAS, head, sep))
        np.testing.assert_array_equal(read(samples), X)
        assert any("Decimal commas" in note for note in samples.notes)

    @pytest.mark.parametrize("sep", [";", ","])
    def test_are_read_in_quotes(self, sep: str, tmp_path: Path):
        rows = [[f'"{v}"' for v in row] for row in COMMAS]
        samples = open_samples(write(tmp_path / "x.csv", rows, None, sep))
        np.testing.assert_array_equal(read(samples), X)

    def test_beside_labels(self, tmp_path: Path):
        rows = last(LABELS, first(PATHS, COMMAS))
        head = ";".join(["path", *LETTERS.split(","), "label"])
        samples = open_samples(write(tmp_path / "x.csv", rows, head, ";"))
        np.testing.assert_array_equal(read(samples), X)

    @pytest.mark.parametrize("head", [None, LETTERS])
    def test_between_commas_are_refused(self, head: str | None, tmp_path: Path):
        with pytest.raises(UserError, match="decimal comma"):
            open_samples(write(tmp_path / "x.csv", COMMAS, head))

    def test_beside_points_are_refused_by_row(self, tmp_path: Path):
        rows = [[r[0], c[1], r[2]] for r, c in zip(CELLS, COMMAS)]
        with pytest.raises(
            UserError, match=r"row 0 of column b is no number; other numbers have dec"
        ):
            open_samples(write(tmp_path / "x.csv", rows, "a;b;c", ";"))


@pytest.mark.parametrize("sign", ["−", "–"])
def test_typographic_signs_are_read(sign: str, tmp_path: Path):
    rows = [[v.replace("-", sign) for v in row] for row in CELLS]
    for head in (LETTERS, None):
        np.testing.assert_array_equal(read(open_samples(write(tmp_path / "x.csv", rows, head))), X)


class TestText:
    @pytest.mark.parametrize("codec", ["utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "latin-1"])
    @pytest.mark.parametrize("packed", [False, True])
    def test_encodings(self, codec: str, packed: bool, tmp_path: Path):
        names = ["größe", *LETTERS.split(",")[1:]]
        content = "\r\n".join([",".join(names), *(",".join(row) for row in CELLS)]).encode(codec)
        path = tmp_path / ("x.csv.gz" if packed else "x.csv")
        path.write_bytes(gzip.compress(content) if packed else content)
        samples = open_samples(path)
        assert samples.columns == tuple(names)
        np.testing.assert_array_equal(read(samples), X)

    @pytest.mark.parametrize(
        ("before", "named"),
        [("# mine\n", 0), ("% one\n#two\n\n", 0), ("sep=,\n", 0), (f"# {LETTERS}\n", 1)],
    )
    def test_comments(self, before: str, named: int, tmp_path: Path):
        for head in (None, DIGITS):
            path = write(tmp_path / "x.csv", [*CELLS[:9], ["# later"], *CELLS[9:]], head)
            path.write_text(before + path.read_text())
            samples = open_samples(path)
            np.testing.assert_array_equal(read(samples), X)
            names = DIGITS if head else LETTERS if named else None
            assert samples.columns == (tuple(names.split(",")) if names else ())

    @pytest.mark.parametrize("suffix", [".csv", ".txt", ".tsv"])
    def test_spaces(self, suffix: str, tmp_path: Path):
        path = tmp_path / f"x{suffix}"
        np.savetxt(path, X, fmt="%9.4f")
        np.testing.assert_array_equal(read(open_samples(path)), X)
        np.savetxt(path, X, header=" ".join(LETTERS.split(",")))
        samples = open_samples(path)
        np.testing.assert_array_equal(read(samples), X)
        assert samples.columns == tuple(LETTERS.split(","))

    def test_spaces_behind_commas(self, tmp_path: Path):
        path = write(tmp_path / "x.csv", CELLS, LETTERS.replace(",", ", "), ", ")
        np.testing.assert_array_equal(read(open_samples(path)), X)

    def test_ragged_rows_are_refused(self, tmp_path: Path):
        with pytest.raises(UserError, match="Expected 8 columns, got 9"):
            open_samples(write(tmp_path / "x.csv", [*CELLS, [*CELLS[0], "1"]], LETTERS))
