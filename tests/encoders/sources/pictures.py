"""Small pictures of two kinds, and the same ones packed in every way that `--data` reads."""

import io
import json
import tarfile
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image

CLASSES = ("across", "upright")


def pixels(i: int) -> np.ndarray:
    """A grey picture of stripes, upright or across."""
    rng = np.random.default_rng(i)
    wave = 127 + 100 * np.sin(np.arange(20) * 2 * np.pi / rng.uniform(3, 6) + rng.uniform(0, 6))
    grey = np.tile(wave, (20, 1)) + rng.normal(0, 5, (20, 20))
    return (grey if i % 2 else grey.T).clip(0, 255).astype(np.uint8)


def encoded(i: int) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(pixels(i)).save(buffer, "PNG")
    return buffer.getvalue()


def add(archive: tarfile.TarFile, name: str, content: bytes) -> None:
    info = tarfile.TarInfo(name)
    info.size = len(content)
    archive.addfile(info, io.BytesIO(content))


def shards(folder: Path, n: int, each: int = 9) -> Path:
    """WebDataset shards with .cls members; returns the pattern that names them."""
    folder.mkdir(parents=True, exist_ok=True)
    count = 0
    for start in range(0, n, each):
        with tarfile.open(folder / f"part-{count:03}.tar", "w") as archive:
            for i in range(start, min(n, start + each)):
                add(archive, f"{i:06}.png", encoded(i))
                add(archive, f"{i:06}.cls", str(i % 2).encode())
        count += 1
    return folder / f"part-{{000..{count - 1:03}}}.tar"


def features() -> dict[bytes, bytes]:
    label = {"names": list(CLASSES), "_type": "ClassLabel"}
    info = {"info": {"features": {"image": {"_type": "Image"}, "label": label}}}
    return {b"huggingface": json.dumps(info).encode()}


def table(n: int) -> pa.Table:
    cells = pa.array(
        [{"bytes": encoded(i), "path": f"{i:06}.png"} for i in range(n)],
        pa.struct([("bytes", pa.binary()), ("path", pa.string())]),
    )
    made = pa.table({"image": cells, "label": pa.array([i % 2 for i in range(n)], pa.int64())})
    return made.replace_schema_metadata(features())


def parquet(path: Path, n: int, rows: int = 7) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(table(n), path, row_group_size=rows)
    return path
