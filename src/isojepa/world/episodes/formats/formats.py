"""Which layout a path has."""

from pathlib import Path

from isojepa.boundaries import reading, shown
from isojepa.errors import UserError
from isojepa.world.episodes.formats.files import files_below
from isojepa.world.episodes.formats.hdf5 import read_hdf5
from isojepa.world.episodes.formats.lance import read_lance
from isojepa.world.episodes.formats.lerobot import read_lerobot
from isojepa.world.episodes.formats.npz import read_npz
from isojepa.world.episodes.formats.source import EpisodeSource, name_list
from isojepa.world.episodes.formats.videos import VIDEO_SUFFIXES, read_videos

HDF5_SUFFIXES = {".h5", ".hdf5", ".he5", ".hdf"}
PACKET = 188  # bytes of an MPEG transport stream's packet, each of which begins with a G


def read_source(path: Path, camera: str | None = None) -> EpisodeSource:
    """Open a data set in whichever layout it has.

    Raises:
        UserError: if it has none of them, or cannot be read.
    """
    if not path.exists():
        link = " (a broken link)" if path.is_symlink() else ""
        raise UserError(f"{shown(path)}: no such data set{link}")
    suffix = path.suffix.lower()
    if path.is_file():
        if suffix in HDF5_SUFFIXES:
            return read_hdf5(path, camera)
        if suffix == ".npz":
            return read_npz(path, camera)
        if suffix in VIDEO_SUFFIXES:
            return read_videos([path], camera)
        raise UserError(
            f"{shown(path)}: not a data set; expected .h5, .hdf5, .npz, .lance or a video file "
            f"({', '.join(sorted(VIDEO_SUFFIXES))})"
        )
    if suffix == ".lance":
        return read_lance(path, camera)
    if (path / "meta" / "info.json").is_file():
        return read_lerobot(path, camera)
    with reading(path, "a folder of episodes"):
        inside = sorted(p for p in path.iterdir() if p.suffix.lower() in {*HDF5_SUFFIXES, ".lance"})
    if len(inside) > 1:
        raise UserError(
            f"{shown(path)}: holds {len(inside)} data sets ({name_list(p.name for p in inside)}); "
            "name one of them"
        )
    if inside:
        return read_source(inside[0], camera)
    videos = [p for p in files_below(path, VIDEO_SUFFIXES) if _is_video(p)]
    if not videos:
        raise UserError(
            f"{shown(path)}: the folder holds no data set: no .h5, .hdf5 or .lance, no "
            f"meta/info.json of LeRobot, no videos ({', '.join(sorted(VIDEO_SUFFIXES))})"
        )
    return read_videos(videos, camera)


def _is_video(path: Path) -> bool:
    """Source code is called .ts too, and far more often."""
    if path.suffix.lower() not in {".ts", ".mts"}:
        return True
    with reading(path, "a video"), path.open("rb") as file:
        start = file.read(2 * PACKET + 8)
    # In .mts, each packet follows four bytes that tell its time
    return b"GG" in {start[::PACKET][:2], start[4 :: PACKET + 4][:2]}
