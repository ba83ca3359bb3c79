"""The hub that timm's weights lie on: where it does not answer, say so at once."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

SECONDS = 5.0


@contextmanager
def quick_to_fail(*, fetching: bool = True) -> Iterator[None]:
    """Use what the hub's client has in its cache, and nothing else, where the hub does not answer.

    The client itself tries each file again for half a minute. It raises as if it had been told to
    work offline; here the error says why.
    """
    try:
        from huggingface_hub import constants
    except ImportError:  # timm works without, for weights that lie elsewhere
        yield
        return
    settings: Any = constants
    asked = settings.HF_HUB_OFFLINE
    settings.HF_HUB_OFFLINE = asked or not _answers(settings.ENDPOINT)
    why = "HF_HUB_OFFLINE is set" if asked else f"{settings.ENDPOINT} does not answer"
    try:
        yield
    except Exception as error:
        if settings.HF_HUB_OFFLINE and type(error).__module__.startswith("huggingface_hub"):
            lacking = ", and the files have not been fetched before" if fetching else ""
            raise ConnectionError(f"{why}{lacking}") from error
        raise
    finally:
        settings.HF_HUB_OFFLINE = asked


def _answers(endpoint: str) -> bool:
    from huggingface_hub.utils import get_session

    try:
        get_session().head(endpoint, timeout=SECONDS)
    except Exception:  # of whatever client it uses
        return False
    return True
