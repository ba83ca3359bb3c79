"""Numbers become bytes channel by channel: TIFF of any kind, DICOM in its window."""

import io
from pathlib import Path

import numpy as np
import pydicom
import pydicom.data
import pytest
import tifffile
from PIL import Image
from pydicom.dataset import FileDataset
from pydicom.uid import ExplicitVRLittleEndian

from isojepa.boundaries import Blob
from isojepa.pixels.decoding import read_header, read_square
from isojepa.pixels.items import Array
from isojepa.pixels.numbers import raster_of
from isojepa.pixels.unreadable import Unreadable

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning")
S = 12


def cube(channels: int, dtype: str) -> np.ndarray:
    rng = np.random.default_rng(channels)
    values = rng.uniform(0, 200, (S, S + 4, channels))
    return (values - (90 if dtype[0] in "fi" else 0)).astype(dtype)


TIFFS = {
    "5 x uint16": (5, "uint16", {"photometric": "minisblack"}),
    "13 planes of uint16": (
        13,
        "uint16",
        {"photometric": "minisblack", "planarconfig": "separate"},
    ),
    "4 x uint8": (4, "uint8", {"photometric": "minisblack"}),
    "RGB and near infrared": (4, "uint8", {"photometric": "rgb", "extrasamples": ["unspecified"]}),
    "float32": (1, "float32", {}),
    "3 x float64, packed": (3, "float64", {"photometric": "minisblack", "compression": "zlib"}),
    "int16": (1, "int16", {}),
    "2 x float16, big-endian": (2, "float16", {"photometric": "minisblack", "byteorder": ">"}),
    "8 x uint16, tiled": (8, "uint16", {"photometric": "minisblack", "tile": (16, 16)}),
    "big 6 x float32": (6, "float32", {"photometric": "minisblack", "bigtiff": True}),
}


def write(path: Path, values: np.ndarray, **options: object) -> Path:
    if options.get("planarconfig") == "separate":
        values = np.moveaxis(values, -1, 0)
    elif values.shape[-1] > 1:
        options["planarconfig"] = "contig"
    tifffile.imwrite(path, values[..., 0] if values.shape[-1] == 1 else values, **options)
    return path


@pytest.mark.parametrize("name", TIFFS)
@pytest.mark.parametrize("where", ["file", "bytes"])
def test_numbers_of_a_tiff_come_back(tmp_path: Path, name: str, where: str) -> None:
    channels, dtype, options = TIFFS[name]
    values = cube(channels, dtype)
    item = path = write(tmp_path / "x.tif", values, **options)
    if where == "bytes":
        item = Blob("x.tif", path.read_bytes())
    found = raster_of(item)
    np.testing.assert_array_equal(found.values, values)
    assert found.values.dtype.isnative
    assert read_header(item)[:2] == (S, channels)
    ranges = tuple((float(x.min()), float(x.max())) for x in np.moveaxis(values, -1, 0))
    if dtype != "uint8":
        square = read_square(item, S, channels, ranges=ranges)
        assert square.pixels.shape == (channels, S, S)
        assert square.aspect == (S + 4) / S
    else:
        assert read_square(item, S, channels).pixels.shape == (channels, S, S)


def test_pictures_stay_with_pillow(tmp_path: Path) -> None:
    for mode in ("L", "RGB", "RGBA", "CMYK", "P", "LA", "1"):
        Image.new(mode, (8, 8)).save(tmp_path / "x.tif")
        assert raster_of(tmp_path / "x.tif") is None
    tifffile.imwrite(tmp_path / "x.tif", np.zeros((8, 8), np.uint16))
    assert raster_of(tmp_path / "x.tif") is None


def test_ranges_map_each_channel_to_bytes() -> None:
    values = np.stack([np.linspace(-1, 1, 16), np.linspace(0, 1000, 16)], -1)
    values = np.repeat(values[None], 16, 0).astype(np.float32)
    pixels = read_square(Array("x", values), 16, 2, ranges=((-1.0, 1.0), (250.0, 750.0))).pixels
    expected = np.stack([(values[..., 0] + 1) / 2, (values[..., 1] - 250) / 500]).clip(0, 1) * 255
    assert np.abs(pixels - expected).max() <= 0.5 + 1e-4


def test_missing_values_take_the_lower_end(tmp_path: Path) -> None:
    values = np.full((8, 8), 5.0, np.float32)
    values[:2], values[2:4], values[4] = np.nan, np.inf, -9999
    tifffile.imwrite(tmp_path / "x.tif", values, extratags=[(42113, "s", 0, "-9999", True)])
    raster = raster_of(tmp_path / "x.tif")
    assert np.isnan(raster.values[4]).all()
    pixels = read_square(tmp_path / "x.tif", 8, 1, ranges=((0.0, 10.0),)).pixels[0]
    assert (pixels[:5] == 0).all()
    assert (pixels[5:] == 128).all()


@pytest.mark.parametrize(("axes", "options"), [("CYX", {"ome": True}), ("CYX", {"imagej": True})])
def test_pages_that_the_file_calls_channels_are_channels(
    tmp_path: Path, axes: str, options: dict
) -> None:
    values = np.moveaxis(cube(4, "uint16"), -1, 0)
    tifffile.imwrite(tmp_path / "x.tif", values, metadata={"axes": axes}, **options)
    found = raster_of(tmp_path / "x.tif")
    np.testing.assert_array_equal(np.moveaxis(found.values, -1, 0), values)
    assert not found.several


def test_of_a_stack_the_first_page_is_read(tmp_path: Path) -> None:
    values = np.stack([np.full((8, 8), k, np.float32) for k in range(5)])
    tifffile.imwrite(tmp_path / "x.tif", values)
    found = raster_of(tmp_path / "x.tif")
    assert found.several
    assert (found.values == 0).all()


WRONG_COUNT = [(5, 3), (3, 5), (1, 4), (5, 1), (2, 3), (4, 4)]


@pytest.mark.parametrize(("found", "read"), WRONG_COUNT)
def test_other_counts_of_channels(found: int, read: int) -> None:
    item = Array("x", cube(found, "uint8"))
    if read not in (1, 3) and found != read:
        with pytest.raises(Unreadable, match=f"{found} channel.* where {read} are read"):
            read_square(item, 8, read)
        return
    square = read_square(item, 8, read)
    assert square.pixels.shape == (read, 8, 8)
    assert square.info.bands == (found if found not in (1, 3, read) else 0)


def test_pictures_among_many_channels_and_bytes_among_numbers_are_named(tmp_path: Path) -> None:
    Image.new("RGB", (8, 8)).save(tmp_path / "x.png")
    with pytest.raises(Unreadable, match="3 channels where 5 are read"):
        read_square(tmp_path / "x.png", 8, 5)
    with pytest.raises(Unreadable, match="8 bits, where others are numbers"):
        read_square(tmp_path / "x.png", 8, 3, ranges=((0.0, 1.0),) * 3)
    with pytest.raises(Unreadable, match="floating-point"):
        read_square(Array("x", cube(1, "float32")), 8, 1)
    with pytest.raises(Unreadable, match="negative pixels"):
        read_square(Array("x", cube(1, "int16")), 8, 1)


def test_arrays_as_pictures_equal_pillow(tmp_path: Path) -> None:
    for dtype, channels in (("uint8", 1), ("uint8", 3), ("uint16", 1)):
        values = cube(channels, dtype)
        shown = values[..., 0] if channels == 1 else values
        Image.fromarray(shown).save(tmp_path / "x.png")
        for read in (1, 3):
            ours = read_square(Array("x", shown), 7, read).pixels.astype(int)
            assert np.abs(ours - read_square(tmp_path / "x.png", 7, read).pixels).max() <= 1


def test_cut_tiffs_are_named(tmp_path: Path) -> None:
    path = write(tmp_path / "x.tif", cube(5, "uint16"), photometric="minisblack")
    content = path.read_bytes()
    for end in (20, len(content) // 2, len(content) - 9):
        path.write_bytes(content[:end])
        with pytest.raises(Unreadable) as caught:
            read_square(path, 8, 5, ranges=((0.0, 200.0),) * 5)
        assert "\n" not in str(caught.value)


def test_a_huge_tiff_is_refused_before_it_is_decoded(tmp_path: Path) -> None:
    content = bytearray(write(tmp_path / "x.tif", cube(1, "float32")).read_bytes())
    with tifffile.TiffFile(io.BytesIO(bytes(content))) as file:
        tags = [file.pages[0].tags[code] for code in (256, 257)]
    for tag in tags:
        size = 4 if tag.dtype == 4 else 2
        content[tag.valueoffset : tag.valueoffset + size] = (60_000).to_bytes(size, "little")
    (tmp_path / "x.tif").write_bytes(content)
    with pytest.raises(Unreadable, match="beyond the limit"):
        read_square(tmp_path / "x.tif", 8, 1, ranges=((0.0, 1.0),))


# DICOM


def dicom(path: Path, values: np.ndarray, **more: object) -> Path:
    data = FileDataset(str(path), {}, preamble=bytes(128))
    data.file_meta = pydicom.dataset.FileMetaDataset()
    data.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    data.SOPClassUID, data.SOPInstanceUID = pydicom.uid.CTImageStorage, pydicom.uid.generate_uid()
    data.file_meta.MediaStorageSOPClassUID = data.SOPClassUID
    data.file_meta.MediaStorageSOPInstanceUID = data.SOPInstanceUID
    frames = values.ndim == 3
    data.Rows, data.Columns = values.shape[-2:]
    data.SamplesPerPixel, data.PhotometricInterpretation = 1, "MONOCHROME2"
    data.BitsAllocated, data.BitsStored, data.HighBit = 16, 12, 11
    data.PixelRepresentation = int(values.dtype.kind == "i")
    if frames:
        data.NumberOfFrames = len(values)
    data.PixelData = values.astype(values.dtype.newbyteorder("<")).tobytes()
    for name, value in more.items():
        setattr(data, name, value)
    data.save_as(path, enforce_file_format=True)
    return path


RAMP = np.tile(np.arange(16, dtype=np.uint16) * 100, (16, 1))


def test_a_window_is_what_a_viewer_shows(tmp_path: Path) -> None:
    from pydicom.pixels import apply_modality_lut, apply_voi_lut

    options = {
        "RescaleSlope": 2,
        "RescaleIntercept": -1000,
        "WindowCenter": 200,
        "WindowWidth": 900,
    }
    for function in ("LINEAR", "LINEAR_EXACT", "SIGMOID"):
        path = dicom(tmp_path / "x.dcm", RAMP, VOILUTFunction=function, **options)
        data = pydicom.dcmread(path)
        theirs = apply_voi_lut(apply_modality_lut(data.pixel_array, data), data)
        low, high = -1000, 2 * 4095 - 1000  # the range of 12 stored bits, rescaled
        expected = (theirs - low) / (high - low) * 255
        ours = read_square(path, 16, 1).pixels[0]
        assert np.abs(ours - expected).max() <= 1


def test_monochrome1_is_turned_around(tmp_path: Path) -> None:
    window = {"WindowCenter": 800, "WindowWidth": 1600}
    plain = read_square(dicom(tmp_path / "a.dcm", RAMP, **window), 16, 1).pixels.astype(int)
    turned = dicom(tmp_path / "b.dcm", RAMP, PhotometricInterpretation="MONOCHROME1", **window)
    assert np.abs(read_square(turned, 16, 1).pixels + plain - 255).max() <= 1
    without = dicom(tmp_path / "c.dcm", RAMP, PhotometricInterpretation="MONOCHROME1")
    np.testing.assert_array_equal(raster_of(without).values[..., 0], 4095 - RAMP)


def test_values_without_a_window_stay_in_their_units(tmp_path: Path) -> None:
    np.testing.assert_array_equal(raster_of(dicom(tmp_path / "a", RAMP)).values[..., 0], RAMP)
    path = dicom(tmp_path / "b", RAMP, RescaleSlope=0.5, RescaleIntercept=-100)
    np.testing.assert_allclose(raster_of(path).values[..., 0], RAMP * 0.5 - 100)
    assert read_header(path).ranged


def test_of_several_frames_the_first_is_read(tmp_path: Path) -> None:
    raster = raster_of(dicom(tmp_path / "x", np.stack([RAMP, RAMP * 0])))
    assert raster.several
    np.testing.assert_array_equal(raster.values[..., 0], RAMP)


BUNDLED = ["CT_small.dcm", "MR_small.dcm", "rtdose.dcm", "SC_rgb_jpeg_dcmtk.dcm", "US1_J2KR.dcm",
           "examples_palette.dcm", "liver_1frame.dcm", "SC_rgb_rle_2frame.dcm"]  # fmt: skip


@pytest.mark.parametrize("name", BUNDLED)
def test_files_that_pydicom_brings_are_read_or_named(name: str) -> None:
    path = pydicom.data.get_testdata_file(name, download=False)
    if path is None:
        pytest.skip("this pydicom does not bring it")
    raster = raster_of(Path(path))
    theirs = pydicom.dcmread(path)
    assert raster.values.shape[:2] == (theirs.Rows, theirs.Columns)
    assert raster.several == (int(theirs.get("NumberOfFrames") or 1) > 1)
    header = read_header(Path(path))
    ranges = ((float(raster.values.min()), float(raster.values.max())),) if header.ranged else None
    assert np.ptp(read_square(Path(path), 16, header.channels, ranges=ranges).pixels) > 10


def test_dicom_without_pixels_and_damaged_ones_are_named(tmp_path: Path) -> None:
    path = dicom(tmp_path / "x", RAMP)
    data = pydicom.dcmread(path)
    del data.PixelData
    data.Modality = "RTSTRUCT"
    data.save_as(tmp_path / "y", enforce_file_format=True)
    with pytest.raises(Unreadable, match=r"without pixels \(RTSTRUCT\)"):
        read_square(tmp_path / "y", 8, 1)
    content = path.read_bytes()
    for end in (132, 200, len(content) - 9):
        (tmp_path / "z").write_bytes(content[:end])
        with pytest.raises(Unreadable):
            read_square(tmp_path / "z", 8, 1)


def test_without_the_packages_the_remedy_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda _: None)
    with pytest.raises(Unreadable, match=r"pip install isojepa\[data\]"):
        raster_of(dicom(tmp_path / "x", RAMP))
