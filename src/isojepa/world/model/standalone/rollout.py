"""`python rollout.py OUT.npz IN.npz`: embed frames and predict on, by NumPy and one runtime alone.

IN.npz holds `frames`, uint8 (t, y, x, c), `frame_skip` environment steps apart and the newest last;
and `actions`, float32 (t - 1 + h, a), a block of the environment's own actions between each two
frames and on into the future. OUT.npz holds `embeddings` (t, d) and `predicted` (h, d).
"""

import json
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np

HERE = Path(__file__).parent
settings = json.loads((HERE / "config.json").read_text())


def load(name: str) -> Callable[..., np.ndarray]:
    """A graph as a function of arrays."""
    if (HERE / f"{name}.onnx").is_file():
        import onnxruntime

        session = onnxruntime.InferenceSession(HERE / f"{name}.onnx")
        names = [given.name for given in session.get_inputs()]
        return lambda *arrays: np.asarray(session.run(None, dict(zip(names, arrays)))[0])
    import torch

    program = torch.export.load(HERE / f"{name}.pt2").module()

    def run(*arrays: np.ndarray) -> np.ndarray:
        with torch.no_grad():
            return np.asarray(program(*map(torch.from_numpy, arrays)))

    return run


encode, predict = load("encoder"), load("predictor")


def rollout(frames: np.ndarray, actions: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Embeddings of the frames (t, d), and of the h blocks after the newest (h, d)."""
    z = list(encode(frames))
    t, history = len(z), settings["history"]
    actions = actions.astype(np.float32)
    for step in range(t - 1, len(actions)):
        first = max(0, step + 1 - history)
        n = step + 1 - first
        seen, done = (np.zeros((1, history, x.shape[-1]), np.float32) for x in (z[0], actions))
        seen[0, :n], done[0, :n] = z[first : step + 1], actions[first : step + 1]
        z.append(predict(seen, done)[0, n - 1])  # causal: what follows n has no say
    return np.stack(z[:t]), np.array(z[t:])


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit(f"usage: python {sys.argv[0]} OUT.npz IN.npz")
    with np.load(sys.argv[2], allow_pickle=False) as given:
        embeddings, predicted = rollout(given["frames"], given["actions"])
    np.savez(sys.argv[1], embeddings=embeddings, predicted=predicted)
