"""Pages of TIFF files, compared with tifffile's and Pillow's own reading of them."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import tifffile
from PIL import Image

from isojepa.boundaries import Blob
from isojepa.pixels.tiff_pages import Stack
from isojepa.pixels.unreadable import Unreadable

RNG = np.random.default_rng(0)


def numbers(*shape: int, kind: str = "uint16") -> np.ndarray:
    return RNG.integers(0, 2**12 if kind != "uint8" else 255, shape).astype(kind)


def stacked(path: Path, values: np.ndarray, **options: object) -> Stack:
    tifffile.imwrite(path, values, **options)
    return Stack(path)


CASES = {
    "planes": ((6, 9, 7), "uint16", {"photometric": "minisblack"}),
    "reals": ((5, 9, 7), "float32", {"photometric": "minisblack"}),
    "colours": ((4, 9, 7, 3), "uint8", {"photometric": "rgb"}),
    "time and depth": ((2, 3, 9, 7), "uint16", {"metadata": {"axes": "TZYX"}, "ome": True}),
    "imagej": ((4, 9, 7), "uint16", {"imagej": True, "metadata": {"axes": "TYX"}}),
}


@pytest.mark.parametrize("case", CASES)
def test_every_page_is_an_image(tmp_path: Path, case: str) -> None:
    shape, kind, options = CASES[case]
    values = numbers(*shape, kind=kind)
    stack = stacked(tmp_path / "x.tif", values, **options)
    images = values.reshape(-1, *shape[-3:]) if shape[-1] == 3 else values.reshape(-1, *shape[-2:])
    assert len(stack) == len(images)
    for i in reversed(range(len(images))):
        found = stack.read(i)
        np.testing.assert_array_equal(found.squeeze(), images[i], strict=True)
        assert found.shape == (9, 7, 3 if shape[-1] == 3 else 1)


@pytest.mark.parametrize("axes", ["TCYX", "CTYX"])
def test_pages_that_are_channels_belong_to_one_image(tmp_path: Path, axes: str) -> None:
    values = numbers(3, 4, 9, 7)
    written = values if axes == "TCYX" else values.swapaxes(0, 1)
    stack = stacked(tmp_path / "x.ome.tif", written, metadata={"axes": axes})
    assert len(stack) == 3
    for t in range(3):
        np.testing.assert_array_equal(stack.read(t), np.moveaxis(values[t], 0, -1))


def test_overviews_thumbnails_and_masks_are_no_images(tmp_path: Path) -> None:
    with tifffile.TiffWriter(tmp_path / "x.tif") as file:
        for i in range(2):
            options = {"photometric": "minisblack", "metadata": None, "contiguous": False}
            file.write(numbers(16, 16) + i, **options)
            file.write(numbers(8, 8), subfiletype=1, **options)
            mask = options | {"photometric": "mask"}
            file.write(numbers(16, 16) > 99, subfiletype=4, **mask)
    with tifffile.TiffFile(tmp_path / "x.tif") as file:
        pages = [page.asarray() for page in file.pages if page.subfiletype == 0]
    stack = Stack(tmp_path / "x.tif")
    assert [len(stack), len(pages)] == [2, 2]
    for i in range(2):
        np.testing.assert_array_equal(stack.read(i)[..., 0], pages[i])


@pytest.mark.parametrize("mode", ["1", "P", "CMYK"])
def test_scanned_pages_are_those_that_pillow_shows(tmp_path: Path, mode: str) -> None:
    pages = [Image.fromarray(numbers(12, 10, 3, kind="uint8")).convert(mode) for _ in range(3)]
    pages[0].save(tmp_path / "x.tif", save_all=True, append_images=pages[1:])
    stack = Stack(tmp_path / "x.tif")
    assert len(stack) == 3
    for i, page in enumerate(pages):
        shown = page.convert("L" if mode == "1" else "RGB")
        np.testing.assert_array_equal(stack.read(i).squeeze(), np.asarray(shown))


def test_pages_of_other_sizes_white_is_zero_and_no_data(tmp_path: Path) -> None:
    with tifffile.TiffWriter(tmp_path / "x.tif") as file:
        for i, size in enumerate((8, 12, 8)):
            kind = "miniswhite" if i == 1 else "minisblack"
            tags = [(42113, "s", 0, "7", True)]
            values = np.full((size, size), 7 + i, np.uint16)
            file.write(values, photometric=kind, contiguous=False, metadata=None, extratags=tags)
    stack = Stack(tmp_path / "x.tif")
    found = {(x.shape[0], float(x[0, 0, 0])) for x in map(stack.read, range(len(stack)))}
    assert {side for side, _ in found} == {8, 12}
    assert (12, 65535.0 - 8) in found
    assert (8, 9.0) in found
    assert any(np.isnan(value) for _, value in found)


def test_in_an_archive_and_from_several_threads(tmp_path: Path) -> None:
    values = numbers(40, 9, 7)
    tifffile.imwrite(tmp_path / "x.tif", values, photometric="minisblack")
    content = (tmp_path / "x.tif").read_bytes()
    for stack in (Stack(tmp_path / "x.tif"), Stack(Blob("a.tar/x.tif", content))):
        with ThreadPoolExecutor(4) as pool:
            found = np.stack(list(pool.map(stack.read, range(40))))[..., 0]
        np.testing.assert_array_equal(found, values)


def test_what_is_damaged_says_so(tmp_path: Path) -> None:
    values = numbers(6, 9, 7)
    tifffile.imwrite(tmp_path / "x.tif", values, photometric="minisblack", compression="zlib")
    content = (tmp_path / "x.tif").read_bytes()
    (tmp_path / "none.tif").write_bytes(b"no TIFF at all")
    with pytest.raises(Unreadable, match="damaged or truncated"):
        Stack(tmp_path / "none.tif")
    stack = Stack(tmp_path / "x.tif")
    (tmp_path / "x.tif").write_bytes(content[: len(content) // 2])
    with pytest.raises(Unreadable, match="damaged or truncated"):
        stack.read(5)
    (tmp_path / "x.tif").unlink()
    with pytest.raises(Unreadable, match="no such file"):
        stack.read(0)
