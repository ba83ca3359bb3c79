"""Tables as people keep them: which row is the header, which columns are coordinates, what is no
number; the same rule for text and for Parquet."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from isojepa.embeddings.formats.open_file import open_samples
from isojepa.embeddings.measurement import measure
from isojepa.embeddings.verdict import judge_samples
from isojepa.errors import UserError
from tests.embeddings.formats.cells import (
    CELLS,
    DIGITS,
    LABELS,
    LETTERS,
    PATHS,
    RNG,
    D,
    N,
    X,
    first,
    last,
    read,
    write,
)

WHOLE = RNG.integers(-128, 128, (N, D))
COUNT = [str(i) for i in range(N)]
INT8 = [[str(v) for v in row] for row in WHOLE]


@pytest.mark.parametrize(
    ("rows", "head"),
    [
        (CELLS, None),
        (CELLS, LETTERS),
        (CELLS, DIGITS),
        (CELLS, "1,2,3,4,5,6,7,8"),
        (CELLS, "0.0,1.0,2.0,3.0,4.0,5.0,6.0,7.0"),
        (CELLS, "0,10,20,30,40,50,60,70"),
        (CELLS, "400.5,410.2,420.9,431.0,440.1,452.7,460.0,471.3"),
        (CELLS, "7,6,5,4,3,2,1,0"),
        (CELLS, "3,17,42,128,200,201,300,512"),
        (CELLS, "1e3,2e3,c,d,e,f,g,h"),
        (CELLS, '"a","b","c","d","e","f","g","h"'),
        (first(COUNT), "," + DIGITS),
        (first(COUNT), DIGITS),  # one name too few, as R writes
        (first(COUNT), '"",' + LETTERS),
        (last(["1"] * N), DIGITS + ",label"),
        (last(LABELS), DIGITS + ",label"),
        (last([f"{v}.0" for v in LABELS]), DIGITS + ",label"),
        (first(LABELS), "label," + DIGITS),
        (first(LABELS), "species," + LETTERS),
        (first(LABELS), "what," + LETTERS),
        (first(LABELS), None),
        (last(LABELS), None),
        (last(LABELS), DIGITS + ",8"),
        (first(PATHS), "path," + DIGITS),
        (first(PATHS), None),
        (last(PATHS), DIGITS + ",path"),
        (first(COUNT, first(PATHS, last(LABELS))), "id,path," + DIGITS + ",label"),
        (first(COUNT[::-1]), "n," + LETTERS),
        (first([str(v) for v in RNG.permutation(N)]), "n," + LETTERS),
        (first([str(1000 + 7 * i * i) for i in range(N)]), None),
        (first([f"{0.04 * i:.2f}" for i in range(N)]), "t," + LETTERS),
        (last([""] * N), LETTERS),  # a comma at the end of each row
        (last([""] * N), LETTERS + ","),
        (last([""] * N), None),
        (last([""] * N), ",".join(f"e{i}" for i in range(D)) + ",remark"),
    ],
)
@pytest.mark.parametrize("sep", [",", ";", "\t"])
def test_coordinates_are_found_whatever_is_beside_them(rows, head, sep, tmp_path: Path):
    head = None if head is None else head.replace(",", sep)
    samples = open_samples(write(tmp_path / "x.csv", rows, head, sep))
    np.testing.assert_array_equal(read(samples), X)
    left = len(rows[0]) - D
    assert (left > 0) == any(note.startswith("Left out: ") for note in samples.notes)


@pytest.mark.parametrize(
    ("rows", "head", "expected"),
    [
        (INT8, None, WHOLE),
        (INT8, DIGITS, WHOLE),
        (INT8, LETTERS, WHOLE),
        (first(COUNT, INT8), "id," + LETTERS, WHOLE),
        (first(COUNT, INT8), None, WHOLE),
        (first(LABELS, INT8), None, WHOLE),
        (first(LABELS, INT8), "y," + LETTERS, WHOLE),
        (last(LABELS, INT8), LETTERS + ",class_id", WHOLE),
        ([["0", "1", "2"], ["3", "4", "5"], ["6", "7", "9"], ["1", "1", "0"]] * 9, None, None),
        ([["0.5", "1"], ["1", "-2.5"], ["0", "0"]] * 9, None, None),
        ([[v] for v, *_ in CELLS], None, X[:, :1]),
        ([[v] for v, *_ in CELLS], "0", X[:, :1]),
        ([[a, b] for a, b, *_ in CELLS], "0,1", X[:, :2]),
    ],
)
def test_whole_numbers_are_coordinates_unless_they_say_otherwise(
    rows, head, expected, tmp_path: Path
):
    expected = np.array(rows, dtype=float) if expected is None else expected
    np.testing.assert_array_equal(
        read(open_samples(write(tmp_path / "x.csv", rows, head))), expected
    )


class TestDeadUnits:
    """A unit that is always 0 is a dimension, however its zeros are written."""

    @pytest.mark.parametrize("zero", ["0", "0.0", "-0", "0e0"])
    @pytest.mark.parametrize("head", ["a,b,c,d", "0,1,2,3", "e0,e1,e2,e3", None])
    def test_in_text(self, zero: str, head: str | None, tmp_path: Path):
        rows = [[r[0], r[1], zero, r[2]] for r in CELLS]
        samples = open_samples(write(tmp_path / "x.csv", rows, head))
        np.testing.assert_array_equal(read(samples)[:, 2], 0)
        assert samples.d == 4

    def test_in_parquet(self, tmp_path: Path):
        table = pa.table({"a": X[:, 0], "b": np.zeros(N, int), "c": X[:, 1]})
        pq.write_table(table, tmp_path / "x.parquet")
        assert open_samples(tmp_path / "x.parquet").d == 3

    @pytest.mark.parametrize(
        ("head", "name"), [("a,b,c,d", "c"), ("e0,e1,e2,e3", "e2"), ("e0,e1,e2,e3,id", "e2")]
    )
    def test_of_no_content_are_called_so(self, head: str, name: str, tmp_path: Path):
        rows = [
            [r[0], r[1], "", r[2]] + [f"{7 * i}"] * head.count("id") for i, r in enumerate(CELLS)
        ]
        samples = open_samples(write(tmp_path / "x.csv", rows, head))
        np.testing.assert_array_equal(read(samples), np.c_[X[:, :2], np.zeros(N), X[:, 2]].round(4))
        assert samples.columns[2] == name
        note = f"Empty in every row, read as a dimension that is always 0: {name};"
        assert any(said.startswith(note) for said in samples.notes)
        verdict = judge_samples(measure(samples, test=False))
        assert "dimensionally collapsed" in verdict.states

    @pytest.mark.parametrize("kind", [pa.null(), pa.float64()])
    def test_of_nulls(self, kind: pa.DataType, tmp_path: Path):
        table = pa.table({"e0": X[:, 0], "e1": pa.array([None] * N, kind), "e2": X[:, 1]})
        pq.write_table(table, tmp_path / "x.parquet")
        np.testing.assert_array_equal(read(open_samples(tmp_path / "x.parquet"))[:, 1], 0)

    def test_of_no_content_and_another_name_are_asked_for(self, tmp_path: Path):
        path = write(tmp_path / "x.csv", [[r[0], "", r[2]] for r in CELLS], "width,remark,height")
        with pytest.raises(UserError, match="no cell of column remark holds anything"):
            open_samples(path)
        assert open_samples(path, columns=("width", "height")).d == 2
        path = write(tmp_path / "x.csv", [[r[0], r[1], ""] for r in CELLS], "e0,e1,remark")
        assert open_samples(path).d == 2


def test_whole_numbers_beside_real_ones_without_a_hint_are_asked_for(tmp_path: Path):
    rows = [[f"{v * 7}" for v in w[:3]] + [r[0]] for r, w in zip(CELLS, WHOLE.tolist())]
    path = write(tmp_path / "x.csv", rows, "a,b,c,d")
    with pytest.raises(UserError, match="column a, b, c beside real ones, coordinates or classes"):
        open_samples(path)
    assert open_samples(path, columns=("*",)).d == 4


def test_parquet_follows_the_same_rule(tmp_path: Path):
    columns = {f"e{i}": X[:, i] for i in range(D)} | {
        "label": np.array(LABELS, dtype=float),
        "id": np.arange(N) ** 2,
        "seen": np.arange(N) % 3 == 0,
        "path": PATHS,
    }
    pq.write_table(pa.table(columns), tmp_path / "x.parquet")
    samples = open_samples(tmp_path / "x.parquet")
    np.testing.assert_array_equal(read(samples), X)
    for name in ("label", "id", "seen", "path"):
        assert name in samples.notes[0]


def test_a_column_that_rises_is_said(tmp_path: Path):
    times = np.cumsum(RNG.uniform(0.01, 0.05, N))
    path = write(tmp_path / "x.csv", first([f"{t:.4f}" for t in times]), "t," + LETTERS)
    assert any("Rising in every row" in note for note in open_samples(path).notes)
    path = write(tmp_path / "x.csv", first([f"{t:.4f}" for t in times]), "timestamp," + LETTERS)
    np.testing.assert_array_equal(read(open_samples(path)), X)


def test_a_strange_column_of_real_numbers_is_said(tmp_path: Path):
    head = ",".join(f"e{i}" for i in range(D - 1)) + ",loss"
    notes = open_samples(write(tmp_path / "x.csv", CELLS, head)).notes
    assert "Named otherwise than the others: loss" in notes[0]


class TestBadCells:
    def table(self, tmp_path: Path, cell: str, row: int = 7, head: str | None = LETTERS) -> Path:
        rows = [list(r) for r in CELLS]
        rows[row][3] = cell
        return write(tmp_path / "x.csv", rows, head)

    @pytest.mark.parametrize("cell", ["<0.1", "-", "?", "n.d.", "1.2.3", "0.1*", "#DIV/0!", "TRUE"])
    def test_are_named(self, cell: str, tmp_path: Path):
        with pytest.raises(UserError, match="in row 7 of column d is no number") as caught:
            open_samples(self.table(tmp_path, cell))
        assert f"'{cell}'" in str(caught.value)

    @pytest.mark.parametrize("row", [0, 1, N - 1])
    def test_are_named_without_a_header(self, row: int, tmp_path: Path):
        with pytest.raises(UserError, match=f"in row {row} of column column 3 is no number"):
            open_samples(self.table(tmp_path, "-", row, None))

    def test_are_missing_if_such_rows_are_left_out(self, tmp_path: Path):
        x = read(open_samples(self.table(tmp_path, "<0.1"), missing=True))
        expected = X.copy()
        expected[7, 3] = np.nan
        np.testing.assert_array_equal(x, expected)

    def test_do_not_matter_in_columns_that_are_not_asked_for(self, tmp_path: Path):
        samples = open_samples(self.table(tmp_path, "<0.1"), columns=("[a-c]", "e"))
        assert samples.columns == ("a", "b", "c", "e")

    @pytest.mark.parametrize("cell", ["1,234.5", "12%", "$3.50", "1'234"])
    def test_columns_of_numbers_in_another_notation_are_named(self, cell: str, tmp_path: Path):
        rows = [[*row[:3], f'"{cell}"'] for row in CELLS]
        with pytest.raises(UserError, match="row 0 of column d is no number"):
            open_samples(write(tmp_path / "x.csv", rows, "a,b,c,d"))

    def test_in_parquet_of_text(self, tmp_path: Path):
        text = {name: pa.array(column) for name, column in zip(LETTERS.split(","), zip(*CELLS))}
        pq.write_table(pa.table(text), tmp_path / "x.parquet")
        np.testing.assert_array_equal(read(open_samples(tmp_path / "x.parquet")), X)
        text["b"] = pa.array(["0.1"] * (N - 1) + ["bad"])
        pq.write_table(pa.table(text), tmp_path / "x.parquet")
        with pytest.raises(UserError, match=f"'bad' in row {N - 1} of column b"):
            open_samples(tmp_path / "x.parquet")

    def test_beyond_the_first_block(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
        monkeypatch.setattr("isojepa.embeddings.formats.delimited.BLOCK", 500)
        with pytest.raises(UserError, match="row 50 of column d"):
            open_samples(self.table(tmp_path, "x", 50))


class TestVectorsAsText:
    @pytest.mark.parametrize(
        "form",
        ["[{}, {}, {}]", "[{} {}\n {}]", "({}, {}, {})", "{} {} {}", "{};{};{}", "{}, {}, {}",
         "tensor([{}, {}, {}])", "array([{}, {}, {}], dtype=float32)", "[[{}, {}, {}]]"],
    )  # fmt: skip
    @pytest.mark.parametrize("head", ["id,embedding", None])
    def test_are_read(self, form: str, head: str | None, tmp_path: Path):
        rows = [[str(i), '"' + form.format(*row[:3]) + '"'] for i, row in enumerate(CELLS)]
        samples = open_samples(write(tmp_path / "x.csv", rows, head))
        np.testing.assert_array_equal(read(samples), X[:, :3])
        assert "written as text" in samples.notes[0]

    def test_shortened_with_dots_are_refused(self, tmp_path: Path):
        rows = [[str(i), '"[0.1 0.2 ... 0.3]"'] for i in range(N)]
        with pytest.raises(UserError, match="row 0 of column embedding was shortened with dots"):
            open_samples(write(tmp_path / "x.csv", rows, "id,embedding"))

    @pytest.mark.parametrize(
        ("cell", "why"), [("[0.1, 0.2]", "different lengths"), ("[0.1, u, 0.2]", "row 3 of column")]
    )
    def test_one_of_which_is_none_is_refused(self, cell: str, why: str, tmp_path: Path):
        rows = [[str(i), '"[0.1, 0.2, 0.3]"'] for i in range(N)]
        rows[3][1] = f'"{cell}"'
        with pytest.raises(UserError, match=why):
            read(open_samples(write(tmp_path / "x.csv", rows, "id,embedding")))

    def test_row_numbers_alone_are_no_samples(self, tmp_path: Path):
        rows = [[str(i), f"word{i}"] for i in range(N)]
        with pytest.raises(UserError, match=r"no column of numbers .* id \(row numbers\)"):
            open_samples(write(tmp_path / "x.csv", rows, "id,embedding"))


class TestColumns:
    def test_with_brackets_in_their_names(self, tmp_path: Path):
        head = ",".join(f"emb[{i}]" for i in range(D - 1)) + ",size"
        path = write(tmp_path / "x.csv", CELLS, head)
        assert open_samples(path, columns=("emb[3]",)).columns == ("emb[3]",)
        assert len(open_samples(path, columns=("emb[*]",)).columns) == D - 1

    def test_by_number(self, tmp_path: Path):
        for head in (DIGITS, None):
            path = write(tmp_path / "x.csv", CELLS, head)
            x = read(open_samples(path, columns=("0", "1", "5")))
            np.testing.assert_array_equal(x, X[:, [0, 1, 5]])
