"""Whitening: white on the samples it was fitted to, part of the encoder, exact on the way out."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from sklearn.decomposition import PCA

from isojepa.demos.images import write_digits
from isojepa.encoders.evaluation import evaluate, whitening
from isojepa.encoders.evaluation.features import embed_samples
from isojepa.encoders.evaluation.whitening import whitened
from isojepa.encoders.export.export import ExportConfig, export
from isojepa.encoders.modalities.images.encoder import Encoder, EncoderSpec
from isojepa.encoders.modalities.images.images import ImageSet, read_images
from isojepa.encoders.modalities.stored import export_encoder, load_encoder
from isojepa.encoders.sources.folder import list_folder


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> ImageSet:
    folder = tmp_path_factory.mktemp("white") / "digits"
    write_digits(folder)
    found = read_images(list_folder(folder, None, []), side=16, channels=1)
    return replace(found, held_out=np.arange(len(found)) % 4 == 0)


def encoder() -> Encoder:
    torch.manual_seed(0)
    spec = EncoderSpec(
        model="resnet_nano", image_size=16, channels=1, mean=[0.3], std=[0.3], side=16
    )
    return Encoder(spec).eval()


def test_with_a_small_ridge_it_is_pca_whitening_up_to_a_rotation(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(whitening, "RIDGE", 0.0)
    monkeypatch.setattr(whitening, "SHARE", 1.0)
    torch.manual_seed(0)
    x = torch.randn(40_000, 6) @ (torch.eye(6) + 0.2 * torch.randn(6, 6)) + 3
    ours = whitening.whitening(x)(x).double()
    assert torch.allclose(ours.mean(0), torch.zeros(6).double(), atol=1e-3)
    assert torch.allclose(torch.cov(ours.T), torch.eye(6).double(), atol=3e-2)
    theirs = torch.from_numpy(PCA(whiten=True).fit_transform(x.double().numpy()))
    assert torch.allclose(torch.cdist(ours[:50], ours[:50]), torch.cdist(theirs[:50], theirs[:50]),
                          rtol=3e-2, atol=1e-2)  # fmt: skip


def test_deviations_go_a_quarter_of_the_way_and_variances_are_1_on_average(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(whitening, "RIDGE", 0.0)
    torch.manual_seed(0)
    wide = torch.tensor([8.0, 4.0, 2.0, 1.0])
    x = torch.randn(40_000, 4) * wide - 5
    made = whitening.whitening(x)(x)
    torch.testing.assert_close(made.std(0) / made[:, 3].std(), wide**0.75, rtol=0.02, atol=0)
    assert float(made.var(0).mean()) == pytest.approx(1, rel=1e-3)
    assert float(made.mean(0).abs().max()) < 1e-4


def test_directions_that_hold_nothing_stay_small_and_constants_are_centred() -> None:
    torch.manual_seed(0)
    x = torch.randn(1000, 8) * torch.tensor([1.0] * 4 + [1e-6] * 4)
    assert float(whitening.whitening(x)(x)[:, 4:].std(0).max()) < 1e-3
    same = torch.full((10, 4), 2.5)
    assert torch.allclose(whitening.whitening(same)(same), torch.zeros(10, 4), atol=1e-6)


def test_the_training_images_become_whiter_and_nothing_else_of_the_network_changes(
    images: ImageSet,
) -> None:
    network = encoder()
    white = whitened(network, images, torch.from_numpy(np.flatnonzero(~images.held_out)))
    assert white.spec == replace(network.spec, whitened=True)
    assert not network.spec.whitened
    x = embed_samples(white, images, np.flatnonzero(~images.held_out)).numpy()
    spread = np.linalg.eigvalsh(np.cov(x.T))
    plain = np.linalg.eigvalsh(
        np.cov(embed_samples(network, images, np.flatnonzero(~images.held_out)).T)
    )
    assert np.abs(x.mean(0)).max() < 1e-3
    assert spread.mean() == pytest.approx(1, rel=0.02)
    assert np.median(spread) / spread[-1] > 1.5 * np.median(plain) / plain[-1]
    ours, theirs = white.backbone.state_dict(), network.backbone.state_dict()
    assert all(torch.equal(ours[name], theirs[name]) for name in theirs)


@pytest.mark.parametrize("kind", ["safetensors", "torch-export"])
def test_it_is_kept_and_exported(images: ImageSet, tmp_path: Path, kind: str) -> None:
    white = whitened(encoder(), images, torch.arange(500))
    export_encoder(tmp_path / "encoder", white)
    again = load_encoder(tmp_path)
    assert again.spec == white.spec
    x = embed_samples(white, images, range(5))
    assert torch.equal(embed_samples(again, images, range(5)), x)
    export(ExportConfig(run=tmp_path, format=kind))  # proves itself in a fresh process


def test_the_untrained_network_is_treated_alike(images: ImageSet) -> None:
    white = whitened(encoder(), images, torch.arange(500))
    fresh = evaluate._untrained(white, images)
    assert fresh is not None
    assert fresh.spec.whitened
    x = embed_samples(fresh, images, np.flatnonzero(~images.held_out)).numpy()
    assert np.trace(np.cov(x.T)) / x.shape[1] == pytest.approx(1, rel=0.02)
    assert not evaluate._untrained(encoder(), images).spec.whitened
