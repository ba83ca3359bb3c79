"""Tables of labels as people have them."""

import gzip
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from isojepa.encoders.sources.label_table import read_label_table
from isojepa.errors import UserError

NAMES = [f"{c}/{c}{i}.png" for c in "ab" for i in range(6)]
ROOT = Path("/somewhere/photos")


def read(
    tmp_path: Path, content: str | bytes, name: str = "t.csv", names: list[str] = NAMES
) -> tuple:
    path = tmp_path / name
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return read_label_table(path, names, ROOT)


def table(row: Callable[[str], str], header: str = "path,label") -> str:
    return "\n".join([header, *map(row, NAMES)]) + "\n"


PLAIN = table(lambda x: f"{x},{x[0]}")
SAME = {
    "no header": PLAIN.partition("\n")[2],
    "other names": table(lambda x: f"{x},{x[0]}", "file_name,target"),
    "unknown names": table(lambda x: f"{x};{x[0]}", "Bild;Art"),
    "swapped": table(lambda x: f"{x[0]},{x}", "class,image_id"),
    "semicolons": PLAIN.replace(",", ";"),
    "tabs": PLAIN.replace(",", "\t"),
    "bars": PLAIN.replace(",", "|"),
    "blanks": PLAIN.partition("\n")[2].replace(",", " "),
    "after commas": PLAIN.replace(",", ", "),
    "quotes": table(lambda x: f'"{x}","{x[0]}"'),
    "comments": "# by me, with care\n" + PLAIN + "\n# the end\n",
    "blank lines": PLAIN.replace("\n", "\n\n"),
    "CR": PLAIN.replace("\n", "\r"),
    "CRLF": PLAIN.replace("\n", "\r\n"),
    "a comma at the end": table(lambda x: f"{x},{x[0]},"),
    "an index": table(lambda x: f"{NAMES.index(x)},{x},{x[0]}", ",path,label"),
    "more columns": table(lambda x: f"7,{x},16,{x[0]},{x}", "id,path,width,label,note"),
    "absolute": table(lambda x: f"{ROOT}/{x},{x[0]}"),
    "of another machine": table(lambda x: f"/home/bob/pics/{x},{x[0]}"),
    "of Windows": table(lambda x: "C:\\pics\\" + x.replace("/", "\\") + f",{x[0]}"),
    "the folder's own name": table(lambda x: f"photos/{x},{x[0]}"),
    "with a dot": table(lambda x: f"./{x},{x[0]}"),
    "without ending": table(lambda x: f"{x[:-4]},{x[0]}"),
    "base names": table(lambda x: f"{x[2:]},{x[0]}", "id,category"),
    "ids": table(lambda x: f"{x[2:-4]},{x[0]}", "image_id,class"),
    "other letter case": table(lambda x: f"{x.upper()},{x[0]}"),
    "other ending": table(lambda x: f"{x[:-4]}.jpg,{x[0]}"),
    "repeated alike": PLAIN + f"{NAMES[0]},a\n",
}


@pytest.mark.parametrize("content", SAME.values(), ids=SAME)
def test_the_same_labels_however_written(tmp_path: Path, content: str) -> None:
    assert read(tmp_path, content).labels == [name[0] for name in NAMES]


@pytest.mark.parametrize("encode", [
    lambda t: t.encode("utf-8-sig"), lambda t: t.encode("utf-16"), lambda t: t.encode("utf-16-le"),
    lambda t: gzip.compress(t.encode()),
], ids=["UTF-8 with a mark", "UTF-16", "UTF-16 without", "gzip"])  # fmt: skip
def test_encodings(tmp_path: Path, encode: Callable[[str], bytes]) -> None:
    found = read(tmp_path, encode(table(lambda x: f"{x},é{x[0]}")), "t.csv.gz")
    assert found.labels == [f"é{name[0]}" for name in NAMES]


def test_parquet(tmp_path: Path) -> None:
    columns = {"file": NAMES, "label": [None, *(int(x[0] == "b") for x in NAMES[1:])]}
    pq.write_table(pa.table(columns), tmp_path / "t.parquet")
    found = read_label_table(tmp_path / "t.parquet", NAMES)
    assert found.labels == [None, *(str(int(x[0] == "b")) for x in NAMES[1:])]


def test_names_of_any_bytes(tmp_path: Path) -> None:
    names = ["a/caf\udce9.png", "a/x.png"]
    content = b"path,label\na/caf\xe9.png,cat\na/x.png,dog\n"
    assert read(tmp_path, content, names=names).labels == ["cat", "dog"]


def rows(label: Callable[[int], str]) -> str:
    return "path,label\n" + "".join(f"{x},{label(i)}\n" for i, x in enumerate(NAMES))


REFUSED = {
    "conflict": (PLAIN + f"{NAMES[0]},cow\n", r"lines 2 and 14: 'a/a0\.png' is 'a' and then 'cow'"),
    "true line": (f"path,label\n\n\n{NAMES[0]},a\n\n{NAMES[1]},b,c\n", r"line 6: 3 columns"),
    "which label": ("path,class_id,class_name\na/a0.png,1,cat\n", r"'class_id', 'class_name'"),
    "one-hot": ("image,MEL,NV\na/a0.png,1,0\n", r"which column holds the label"),
    "no header": ("a/a0.png,a,1\na/a1.png,b,2\n", r"3 columns and no header"),
    "targets": (rows(lambda i: str(i * 0.37)), r"real numbers, 12 different ones of 12"),
    "control": (rows(lambda i: f"a\0{i % 2}"), r"control characters"),
    "Latin-1": (rows(lambda i: f"é{i % 2}").encode("latin1"), r"not in UTF-8"),
    "missing": ("path,label\nx.png,a\ny.png,b\na/a0.png,a\n", r"2 of 3 paths.*'x\.png', 'y\.png'"),
    "LFS": (f"version https://git-lfs.github.com/spec/v1\noid {'a' * 64}\n", r"git lfs pull"),
    "spreadsheet": (b"PK\x03\x04" + bytes(20), r"spreadsheet"),
    "empty": ("", r"line 1"),
}  # fmt: skip


@pytest.mark.parametrize(("content", "words"), REFUSED.values(), ids=REFUSED)
def test_refused_by_name(tmp_path: Path, content: str | bytes, words: str) -> None:
    with pytest.raises(UserError, match=words):
        read(tmp_path, content)


def test_the_same_base_name_in_two_folders(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="names of several files"):
        read(tmp_path, "path,label\nx.png,a\n", names=["a/x.png", "b/x.png"])
    # Rows of files that are not there do not take the labels of files with the same name
    half = "path,label\n" + "".join(
        f"{p}/{i}.png,{p}\n" for p in ("train", "test") for i in range(5)
    )
    found = read(tmp_path, half, names=[f"train/{i}.png" for i in range(5)])
    assert found.labels == ["train"] * 5
    assert "5 of 10 paths are not in the data folder" in found.notes[0]


SAID = {
    "blank": (rows(lambda i: "" if i < 3 else "x"), [None] * 3 + ["x"] * 9, "3 labels are blank"),
    "nan": (rows(lambda i: ("nan", "NULL", "NA", "x")[i % 4]), [None, None, None, "x"] * 3, "NULL"),
    "numbers": (rows(lambda i: ("1", "1.0")[i % 2]), ["1", "1.0"] * 6, "'1' and '1.0'"),
    "case": (rows(lambda i: ("Cat", "cat")[i % 2]), ["Cat", "cat"] * 6, "'Cat' and 'cat'"),
    "header only": ("path,label\n", [None] * 12, "no label in it"),
    "a few missing": (PLAIN + "a/none.png,a\n", [x[0] for x in NAMES], "1 of 13 paths"),
}  # fmt: skip


@pytest.mark.parametrize(("content", "labels", "words"), SAID.values(), ids=SAID)
def test_read_and_said(tmp_path: Path, content: str, labels: list, words: str) -> None:
    found = read(tmp_path, content)
    assert found.labels == labels
    assert words in " ".join(found.notes)
