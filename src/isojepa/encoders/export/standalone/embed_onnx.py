"""Image files -> embeddings, by onnxruntime, NumPy and Pillow alone."""

from pathlib import Path
from typing import Any

import command
import numpy as np
import onnxruntime
from pixels import upright

session = onnxruntime.InferenceSession(Path(__file__).with_name("encoder.onnx"))
channels = session.get_inputs()[0].shape[3]


def embed(file: Any) -> np.ndarray:
    """The embedding (d,) of the image in file, a path or an open file."""
    image = np.asarray(upright(file, channels))
    return session.run(None, {"pixels": image.reshape(1, *image.shape[:2], channels)})[0][0]


if __name__ == "__main__":
    command.run(embed)
