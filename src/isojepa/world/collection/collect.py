"""`isojepa world collect`: episodes of an environment, by a policy, into one data set."""

import json
import logging
import shutil
import time
from collections.abc import Iterator
from concurrent.futures import Future, ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from dataclasses import asdict, replace
from importlib import metadata
from io import BytesIO
from multiprocessing import get_context
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch

from isojepa.boundaries import reading, shown, writing
from isojepa.errors import UserError
from isojepa.files import load_arrays, write_atomically
from isojepa.machine import cores
from isojepa.progress import bar
from isojepa.world.collection.collected import (
    Settings,
    Steps,
    count_frames,
    put_back,
    read_collection,
    size_in_bytes,
    write_data_set,
)
from isojepa.world.collection.record import ACTION, CollectConfig, record_episode
from isojepa.world.environments.registry import environment

log = logging.getLogger(__name__)
MIXED = ("policy", "action_noise", "steps")
"""Settings that the episodes of one data set may differ in."""


class Collected(NamedTuple):
    """What a collection came to."""

    out: Path
    episodes: int
    frames: int
    """In the whole data set."""
    frames_per_second: float
    """Of those recorded now, over all workers; NaN when there was nothing to do."""
    size: int
    """In bytes."""


def collect(config: CollectConfig) -> Collected:
    """Collect the episodes and write the data set, in place of nothing or of the old one.

    Episodes are kept one by one in `OUT.parts` until all are there; an interruption loses only
    those in progress, and `resume` goes on from them.

    Raises:
        UserError: for an unknown environment or policy, an existing data set, a collection
            that was begun otherwise, or an interruption.
    """
    if config.out.is_symlink():  # it stays one: its target is written
        config = replace(config, out=config.out.resolve())
    plan = _plan(config)
    parts = config.out.with_name(config.out.name + ".parts")
    done = _prepare(config, plan, parts)
    if done >= config.episodes:
        log.info("%s already holds %d episodes", config.out, done)
        frames, size = count_frames(config.out), size_in_bytes(config.out)
        return Collected(config.out, done, frames, float("nan"), size)
    missing = [k for k in range(done, config.episodes) if not _part(parts, k).is_file()]
    kept = config.episodes - done - len(missing)
    if kept:
        log.info("%d episodes of an earlier run are kept", kept)
    began, frames = time.monotonic(), 0
    with _interruptible(config, parts), bar(config.episodes, config.env, done=done + kept) as tick:
        for n in _record_all(config, parts, missing):
            frames += n
            tick(1, f"{frames / (time.monotonic() - began):.0f} frames/s")
    speed = frames / (time.monotonic() - began) if missing else float("nan")
    episodes = (_load(_part(parts, k)) for k in range(done, config.episodes))
    write_data_set(
        config.out,
        episodes,
        after=done,
        record=_record_of(config, plan, done),
        env_id=config.env,
        workplace=parts,
    )
    shutil.rmtree(parts, ignore_errors=True)
    total, size = count_frames(config.out), size_in_bytes(config.out)
    log.info(
        "%s: %d episodes, %d frames at %d pixels, %.1f MB, %.0f frames/s",
        *(config.out, config.episodes, total, config.frame_size, size / 1e6, speed),
    )
    return Collected(config.out, config.episodes, total, speed, size)


def _plan(config: CollectConfig) -> Settings:
    """What the episodes depend on; the same for every part of one data set."""
    known = environment(config.env)
    if config.policy == "scripted" and known.scripted is None:
        raise UserError(
            f"--policy scripted: {config.env} has no scripted policy ({known.no_script}); "
            "use --policy random or the folder of a trained run"
        )
    if config.policy not in {"random", "scripted"} and not Path(config.policy).is_dir():
        raise UserError(
            f"--policy {config.policy}: expected random, scripted or the folder of a trained run"
        )
    plan = asdict(config)
    for name in ("out", "episodes", "workers", "resume", "mixed", "overwrite"):
        del plan[name]
    plan["steps"] = config.steps or known.steps
    plan["platform"] = metadata.version("stable-worldmodel")
    return plan


def _prepare(config: CollectConfig, plan: Settings, parts: Path) -> int:
    """Refuse or clear what is there; the number of episodes the data set already holds."""
    if config.resume:
        put_back(config.out, parts)
    else:
        kept = config.out.exists() or any(parts.glob("episode-*.npz"))
        if kept and not config.overwrite:
            raise UserError(
                f"{config.out if config.out.exists() else parts} exists; add --resume to go on "
                "with it or --overwrite to replace it"
            )
        shutil.rmtree(parts, ignore_errors=True)
    done = 0
    if config.resume and config.out.exists():
        earlier = read_collection(config.out)
        _same_plan(config.out, earlier.get("plan", {}), plan, but=MIXED if config.mixed else ())
        done = int(earlier["episodes"])
    with writing(parts):
        parts.mkdir(parents=True, exist_ok=True)
    begun = parts / "plan.json"
    if begun.is_file():
        with reading(begun, "the plan of a collection; use --overwrite"):
            earlier = dict(json.loads(begun.read_text()))
        _same_plan(parts, earlier, plan)
    write_atomically(begun, json.dumps(plan, indent=2))
    return done


def _same_plan(place: Path, earlier: Settings, plan: Settings, but: tuple[str, ...] = ()) -> None:
    earlier = {"vary": [], **earlier}  # data sets of older versions
    for name, value in json.loads(json.dumps(plan)).items():
        if name not in but and earlier.get(name) != value:
            mixed = ", --mixed to add them all the same," if name in MIXED else ""
            raise UserError(
                f"{place} was collected with {name} = {earlier.get(name)}, not {value}; "
                f"use the same settings{mixed} or --overwrite"
            )


def _record_of(config: CollectConfig, plan: Settings, done: int) -> Settings:
    """What the data set says of its episodes; of those of other settings, what these were."""
    earlier = read_collection(config.out) if done else {}
    before = list(earlier.get("before", []))
    if earlier and earlier["plan"] != json.loads(json.dumps(plan)):
        before.append({"plan": earlier["plan"], "episodes": done})
    return {"plan": plan, "episodes": config.episodes} | ({"before": before} if before else {})


def _record_all(config: CollectConfig, parts: Path, missing: list[int]) -> Iterator[int]:
    """Record the missing episodes, yielding the frames of each as it is kept."""
    workers = min(config.workers or cores(), max(1, len(missing)))
    if workers == 1:
        for k in missing:
            yield _record_part(config, parts, k)
        return
    with ProcessPoolExecutor(
        workers, mp_context=get_context("spawn"), initializer=_one_thread
    ) as pool:
        waiting: list[Future[int]] = [pool.submit(_record_part, config, parts, k) for k in missing]
        try:
            for ready in as_completed(waiting):
                yield ready.result()
        finally:
            pool.shutdown(wait=True, cancel_futures=True)


def _record_part(config: CollectConfig, parts: Path, k: int) -> int:
    episode = record_episode(config, k)
    content = BytesIO()
    np.savez_compressed(content, allow_pickle=False, **episode)
    write_atomically(_part(parts, k), content.getvalue())
    return len(episode[ACTION])


def _one_thread() -> None:
    torch.set_num_threads(1)
    logging.getLogger("isojepa").setLevel(logging.WARNING)


@contextmanager
def _interruptible(config: CollectConfig, parts: Path) -> Iterator[None]:
    def kept() -> str:
        n = len(list(parts.glob("episode-*.npz")))
        return f"{n} episodes are kept in {parts}; go on with --resume"

    try:
        yield
    except KeyboardInterrupt:
        log.info("interrupted: %s", kept())
        raise
    except BrokenProcessPool as error:
        raise UserError(
            f"{config.env}: a worker process died, perhaps for lack of memory; try fewer "
            f"--workers; {kept()}"
        ) from error


def _load(part: Path) -> Steps:
    def damaged(why: str) -> UserError:
        return UserError(f"{shown(part)}: damaged ({why}); delete it and go on with --resume")

    with reading(part, "an episode", damaged), load_arrays(part) as columns:
        return {name: [np.asarray(x) for x in columns[name]] for name in columns.files}


def _part(parts: Path, k: int) -> Path:
    return parts / f"episode-{k:06d}.npz"
