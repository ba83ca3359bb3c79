"""A result that cannot be written is one line, with its table on the screen."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from isojepa.errors import UserError
from isojepa.pages.world.page import write_world_page
from isojepa.world.analysis import decoder, probing, surprise
from isojepa.world.control.videos import Video, write_video
from isojepa.world.learning.config import WorldTrainConfig
from isojepa.world.learning.train import train_world_model as train
from tests.world.episode_files import write_dots


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("disk")
    data = write_dots(folder / "dots.h5", episodes=12, steps=12, size=16).path
    return train(
        WorldTrainConfig(
            data=data, out=folder / "run", preset="lewm-micro", frame_size=16, embedding_dim=8,
            frame_skip=1, slices=8, batch_size=8, steps=1, held_out=0.5, device="cpu",
            tensorboard=False,
        )
    )  # fmt: skip


VERBS: dict[str, tuple[Any, Any, str]] = {
    "probe": (probing.probe, probing.ProbeConfig(run=Path(), frames=60), "probes on"),
    "surprise": (
        surprise.measure_surprise,
        surprise.SurpriseConfig(run=Path(), clips=16),
        "surprise at",
    ),
    "decode": (decoder.decode, decoder.DecodeConfig(run=Path(), frames=64, steps=1), "decoder: "),
}


@pytest.mark.parametrize("verb", VERBS)
def test_results_are_shown_before_they_are_written(
    trained: Path, verb: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    run, config, words = VERBS[verb]

    def full(*_: Any, **__: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("isojepa.files.tempfile.NamedTemporaryFile", full)
    with pytest.raises(UserError, match=r"cannot be written \(No space left"):
        run(replace(config, run=trained))
    assert words in capsys.readouterr().err


def test_folders_that_cannot_be_made(trained: Path, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    below = tmp_path / "file" / "new"
    video = Video(
        [[np.zeros((8, 8, 3), np.uint8)]], np.zeros((1, 8, 8, 3), np.uint8), np.ones(1, bool)
    )
    writers: list[Any] = [
        lambda: write_video(below / "film.gif", video),
        lambda: write_world_page(trained, below / "page.html"),
        lambda: probing.probe(probing.ProbeConfig(run=trained, out=below / "p.json")),
        lambda: surprise.measure_surprise(
            surprise.SurpriseConfig(run=trained, out=below / "s.json")
        ),
    ]
    for write in writers:
        with pytest.raises(UserError, match=r"file/new/.*: cannot be written"):
            write()
