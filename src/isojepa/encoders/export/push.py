"""An exported folder -> the Hugging Face hub."""

import re
from pathlib import Path

from isojepa.backbones.hub import quick_to_fail
from isojepa.boundaries import reaching
from isojepa.errors import UserError

PART = r"[A-Za-z0-9][A-Za-z0-9._-]{0,95}"


def check_repository(name: str) -> None:
    """Raise `UserError` unless the name is owner/name."""
    if not re.fullmatch(f"{PART}/{PART}", name):
        raise UserError(f"--push {name}: give owner/name, such as ada/photos-encoder")


def push(folder: Path, repository: str, *, public: bool) -> str:
    """Upload a folder, into a repository that is made if there is none; returns its address.

    Raises:
        UserError: without the hub's client, a network, or the right to write there.
    """
    remedy = "the folder is kept; see `hf auth login` for the right to write"
    with reaching(f"--push {repository}: the hub", remedy), quick_to_fail(fetching=False):
        from huggingface_hub import HfApi

        hub = HfApi(library_name="isojepa")
        hub.create_repo(repository, private=not public, exist_ok=True)
        done = hub.upload_folder(
            folder_path=folder, repo_id=repository, commit_message="Export of an isojepa encoder"
        )
        return str(done)
