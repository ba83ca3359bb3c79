"""Video files, through the ffmpeg that imageio brings; a folder of them as episodes."""

import logging
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, NamedTuple

import numpy as np
from jaxtyping import Float64, UInt8

from isojepa.boundaries import contents, shown
from isojepa.errors import UserError
from isojepa.world.episodes.formats.source import (
    EpisodeSource,
    FrameChunk,
    in_chunks,
    missing_package,
)

log = logging.getLogger(__name__)
VIDEO_SUFFIXES = {
    ".mp4", ".avi", ".mov", ".mkv", ".webm", ".gif", ".m4v", ".mpg", ".mpeg", ".ts", ".mts",
    ".m2ts", ".wmv", ".flv", ".ogv", ".3gp",
}  # fmt: skip
PICTURE = ("-map", "0:V:0")  # the first video stream that is no cover of a record
IMAGES = ("-c:v", "ppm", "-pix_fmt", "rgb24", "-f", "image2pipe", "-")
REPEATED = 20  # times the stored frames that a constant rate may need


class Times(NamedTuple):
    """When the frames of a video are shown."""

    seconds: Float64[np.ndarray, " n"]
    """Ascending, from the start of the file."""

    @property
    def period(self) -> float:
        """The usual time between two frames, in seconds."""
        return float(np.median(np.diff(self.seconds))) if len(self.seconds) > 1 else 1.0


def read_videos(videos: list[Path], camera: str | None = None) -> EpisodeSource:
    """One episode per video file, in the order given; there are no actions.

    Where the frames of a file are not equally far apart, they are repeated to a constant rate.
    """
    if camera is not None:
        raise UserError(
            f"{shown(videos[0])}: videos have no cameras to choose from, got {camera!r}"
        )
    first = next(video_frames(videos[0]), None)
    if first is None:
        raise UserError(f"{shown(videos[0])}: the video holds no frames")

    def decode() -> Iterator[FrameChunk]:
        for episode, video in enumerate(videos):
            step = 0
            for frames in in_chunks(_constant_rate(video)):
                n = len(frames)
                yield FrameChunk(np.full(n, episode), np.arange(step, step + n), frames)
                step += n
            if not step:
                raise UserError(f"{shown(video)}: the video holds no frames")

    return EpisodeSource(
        files=videos, lengths=None, size=(first.shape[0], first.shape[1]), columns={}, decode=decode
    )


def _constant_rate(video: Path) -> Iterator[UInt8[np.ndarray, "y x 3"]]:
    stored, count = len(frame_times(video).seconds), 0
    for frame in video_frames(video):
        count += 1
        if count > REPEATED * max(stored, 10):
            raise UserError(
                f"{shown(video)}: its {stored} frames are so unequally far apart that a constant "
                f"rate needs over {count}; give it one, such as: ffmpeg -i IN -r 10 OUT.mp4"
            )
        yield frame
    if abs(count - stored) > 1:
        log.info(
            "%s: the frame rate varies; its %d frames became %d of a constant rate",
            shown(video), stored, count,
        )  # fmt: skip


def video_frames(video: Path, *, as_stored: bool = False) -> Iterator[UInt8[np.ndarray, "y x 3"]]:
    """The frames of a video file, turned as its metadata say.

    Args:
        as_stored: each frame once, as `frame_times` lists them; else at a constant rate.

    Raises:
        UserError: if it cannot be read; what is damaged in the middle is a warning.
    """
    options = ("-fps_mode", "passthrough") if as_stored else ()
    with _ffmpeg(video, *PICTURE, *options, *IMAGES) as out:
        while (frame := _netpbm(out)) is not None:
            yield frame


def frame_times(video: Path) -> Times:
    """When each frame of a video is shown; nothing is decoded.

    Raises:
        UserError: if it cannot be read.
    """
    with _ffmpeg(video, *PICTURE, "-c", "copy", "-f", "framecrc", "-") as out:
        text = out.read().decode(errors="replace")
    unit, ticks = 1.0, []
    for line in text.splitlines():
        if line.startswith("#tb 0:"):
            above, _, below = line.split()[-1].partition("/")
            unit = int(above) / max(1, int(below))
        elif line and not line.startswith("#"):
            cells = [cell.strip() for cell in line.split(",")]
            dropped = any(c.startswith("F=") and int(c[2:], 16) & 4 for c in cells[6:])
            if not dropped and cells[2].lstrip("-").isdigit():
                ticks.append(int(cells[2]))
    return Times(np.sort(np.array(ticks, np.float64)) * unit)


def _netpbm(out: IO[bytes]) -> UInt8[np.ndarray, "y x 3"] | None:
    """The next image of a stream of them; None at its end."""
    if out.readline() != b"P6\n":
        return None
    width, height = map(int, out.readline().split())
    out.readline()  # the greatest value, 255
    content = out.read(3 * width * height)
    if len(content) < 3 * width * height:
        return None
    return np.frombuffer(content, np.uint8).reshape(height, width, 3)


@contextmanager
def _ffmpeg(video: Path, *options: str) -> Iterator[IO[bytes]]:
    """ffmpeg's output for a file; its complaints become an error or a warning."""
    try:
        import imageio_ffmpeg
    except ImportError as error:
        raise missing_package("imageio-ffmpeg", error) from error
    if not video.is_file():
        raise UserError(f"{shown(video)}: no such file")
    place = f"file:{video}"  # a name with a colon is no protocol
    command = [imageio_ffmpeg.get_ffmpeg_exe(), "-v", "error", "-nostdin", "-i", place, *options]
    with (
        tempfile.TemporaryFile() as complaints,
        subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=complaints
        ) as process,
    ):
        assert process.stdout is not None
        left_early = True
        try:
            yield process.stdout
            left_early = process.poll() is None and bool(process.stdout.read(1))
        finally:
            process.stdout.close()
            if left_early:
                process.kill()
        code = process.wait()
        complaints.seek(0)
        words = complaints.read(20_000).decode(errors="replace")
    if left_early or not (code or words.strip()):
        return
    if "matches no streams" in words:
        raise UserError(f"{shown(video)}: no video in it, only sound or text")
    why = contents(video) or _first_complaint(words) or f"ffmpeg ended with {code}"
    if code:
        raise UserError(f"{shown(video)}: not a readable video, or a truncated one ({why})")
    log.warning("%s: damaged in places: %s", shown(video), why)


def _first_complaint(words: str) -> str:
    """ffmpeg's first line without the address of its part: the later ones follow from it."""
    for line in words.splitlines():
        if line.strip():
            return line.split("] ", 1)[-1].strip()[:160]
    return ""
