"""`isojepa world learn`: let an agent learn, and show it on a page."""

from pathlib import Path

from isojepa.errors import UserError
from isojepa.pages.world.page import write_world_page
from isojepa.world.agent.config import LearnConfig

__all__ = ["LearnConfig", "learn"]


def learn(config: LearnConfig) -> Path:
    """Let an agent learn by acting, and write its page; returns the run.

    Raises:
        UserError: for anything the user can put right.
        Interrupted: after Ctrl-C or SIGTERM, once the run is saved.
    """
    try:
        from isojepa.world.agent import learn as learning  # needs what pages can do without
    except ModuleNotFoundError as error:
        raise UserError(
            f"world learn needs the extra: pip install 'isojepa[world]' ({error})"
        ) from error
    run = learning.train_agent(config)
    write_world_page(run)
    return run
