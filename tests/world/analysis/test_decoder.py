"""The decoder: it learns to draw, is written and read, and shows what a model imagines."""

import io
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from isojepa.errors import UserError
from isojepa.runs.typed import read_result
from isojepa.world.analysis.decoder import DecodeConfig, DecoderResult, decode
from isojepa.world.analysis.decoder_network import (
    Decoder,
    DecoderSize,
    held_out_errors,
    load_decoder,
    save_decoder,
    train_decoder,
)
from isojepa.world.analysis.imagination import (
    Imagined,
    contact_sheet,
    imagined_film,
    imagined_futures,
)
from isojepa.world.analysis.study import open_study
from tests.world.studied import studied_run


def edges_at(n: int, seed: int) -> tuple[torch.Tensor, np.ndarray]:
    """Frames of 16 pixels that are white left of a place, and the place."""
    places = np.random.default_rng(seed).uniform(2, 14, n)
    light = np.clip(places[:, None] - np.arange(16), 0, 1) * 255
    frames = np.broadcast_to(light[:, None, :, None], (n, 16, 16, 3)).astype(np.uint8)
    return torch.from_numpy(places).float()[:, None], frames


def test_it_learns_to_draw_what_the_embedding_says(tmp_path: Path):
    (z, frames), (z_new, frames_new) = edges_at(400, 0), edges_at(100, 1)
    decoder = train_decoder(z, frames, steps=60)
    error, trivial = held_out_errors(decoder, z_new, frames_new)
    assert error < 0.3 * trivial
    again = train_decoder(z, frames, steps=3)
    same = train_decoder(z, frames, steps=3)
    assert all(torch.equal(a, b) for a, b in zip(again.parameters(), same.parameters()))
    save_decoder(tmp_path / "decoder", decoder)
    loaded = load_decoder(tmp_path)
    pictures = decoder.pictures(z_new[:5])
    assert pictures.shape == (5, 16, 16, 3)
    np.testing.assert_array_equal(loaded.pictures(z_new[:5]), pictures)


def test_an_embedding_that_says_nothing_gives_the_mean_frame():
    _, frames = edges_at(200, 0)
    decoder = train_decoder(torch.zeros(200, 3), frames, steps=20)
    error, trivial = held_out_errors(decoder, torch.zeros(200, 3), frames)
    assert error == pytest.approx(trivial, rel=0.05)


@pytest.mark.parametrize("side", [16, 32, 64])
def test_sizes(side: int):
    assert Decoder(DecoderSize(5, side))(torch.zeros(2, 5)).shape == (2, 3, side, side)


def test_without_a_decoder(tmp_path: Path):
    with pytest.raises(UserError, match="isojepa world decode"):
        load_decoder(tmp_path)
    with pytest.raises(UserError, match="--steps"):
        DecodeConfig(run=tmp_path, steps=0)


def test_a_run_is_decoded(tmp_path: Path):
    folder = tmp_path / "run"
    shutil.copytree(studied_run(), folder)
    result = decode(DecodeConfig(run=folder, steps=30, frames=200))
    assert read_result(DecoderResult, folder / "decoder.json") == result
    assert result.side == 32
    assert result.mse < result.mse_of_mean_frame
    assert result.blocks == 8
    with np.load(folder / "decoder.npz") as arrays:
        assert arrays["real"].shape == (4, 9, 32, 32, 3)
        assert arrays["stills_real"].shape == arrays["stills_decoded"].shape == (8, 32, 32, 3)
    picture = Image.open(folder / "imagined.png")
    assert picture.size == (9 * 34 - 2 + 6, 4 * (3 * 32 + 4) + 3 * 10)
    assert Image.open(folder / "imagined.gif").n_frames == 9


def test_what_is_imagined_is_the_model_s_rollout():
    study = open_study(studied_run())
    decoder = Decoder(DecoderSize(16, 32)).eval()
    torch.nn.init.normal_(decoder.layers[-1].weight)
    seen = imagined_futures(study, decoder, seed=0)
    assert seen is not None
    np.testing.assert_array_equal(seen.imagined[:, : seen.given], seen.decoded[:, : seen.given])
    assert (seen.imagined[:, seen.given :] != seen.decoded[:, seen.given :]).any()
    again = imagined_futures(study, decoder, seed=0)
    assert again is not None
    np.testing.assert_array_equal(seen.imagined, again.imagined)


def test_a_sheet_and_a_film_of_one_frame():
    black = np.zeros((1, 2, 16, 16, 3), np.uint8)
    seen = Imagined(black, black, black + 200, given=1)
    sheet = np.asarray(Image.open(io.BytesIO(contact_sheet(seen))))
    assert sheet.shape == (52, 16 + 2 + 6 + 16, 3)
    assert (sheet[:16, :16] == 0).all()
    assert (sheet[36:, 24:] == 200).all()
    assert Image.open(io.BytesIO(imagined_film(seen, scale=1))).size == (16, 35)
