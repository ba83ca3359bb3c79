"""Image files -> embeddings, by torch, NumPy and Pillow alone."""

import json
from pathlib import Path
from typing import Any

import command
import numpy as np
import torch
from pixels import upright

HERE = Path(__file__).parent
channels = json.loads((HERE / "config.json").read_text())["channels"]
network = torch.export.load(HERE / "encoder.pt2").module()


@torch.no_grad()
def embed(file: Any) -> np.ndarray:
    """The embedding (d,) of the image in file, a path or an open file."""
    image = np.array(upright(file, channels))
    pixels = torch.from_numpy(image.reshape(1, *image.shape[:2], channels))
    return network(pixels)[0].numpy()


if __name__ == "__main__":
    command.run(embed)
