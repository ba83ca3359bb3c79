"""What meta/info.json tells of a LeRobot data set."""

import json
from pathlib import Path
from typing import NamedTuple

from isojepa.boundaries import reading, shown
from isojepa.errors import UserError


class Info(NamedTuple):
    """Its entries as they stand there: what uses one also says what is wrong with it."""

    features: dict[str, object]
    """The type of each column and camera; images and videos are of type `image` and `video`."""
    video_path: object
    """Template of the videos' paths; None where there are none."""
    chunks_size: object
    """Episodes per folder, in version 2."""
    fps: object
    """Frames per second; None if it does not say."""
    episodes: object
    """How many there should be; likewise `frames`."""
    frames: object


def read_info(root: Path) -> Info:
    """Read the description of the data set below `root`.

    Raises:
        UserError: if there is none, or it cannot be read.
    """
    path = root / "meta" / "info.json"

    def error(why: str) -> UserError:
        return UserError(f"{shown(path)}: not readable ({why})")

    with reading(path, "LeRobot's description", error):
        info = dict(json.loads(path.read_text(encoding="utf-8")))
        features = {str(k): dict(v).get("dtype") for k, v in dict(info["features"]).items()}
        return Info(
            features,
            info.get("video_path"),
            info.get("chunks_size", 1000),
            info.get("fps"),
            info.get("total_episodes"),
            info.get("total_frames"),
        )
