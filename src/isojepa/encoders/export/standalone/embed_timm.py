"""Image files -> embeddings, by timm and Pillow alone."""

from pathlib import Path
from typing import Any

import command
import numpy as np
import timm
from embedding import Settings, embedding
from safetensors.torch import load_file

HERE = Path(__file__).parent
settings = Settings.read(HERE / "encoder.json")
network = timm.create_model(f"local-dir:{HERE}", pretrained=True).eval()
whitening = load_file(HERE / "whitening.safetensors") if settings.whitened else None


def embed(file: Any) -> np.ndarray:
    """The embedding (d,) of the image in file, a path or an open file."""
    return embedding(network, file, settings, whitening)


if __name__ == "__main__":
    command.run(embed)
