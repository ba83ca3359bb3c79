"""`isojepa world collect`: episodes of an environment, by a policy, into one data set."""

import atexit
import json
import logging
import os
import re
import shutil
import time
from collections.abc import Iterator
from concurrent.futures import Future, ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from functools import lru_cache
from importlib import metadata
from io import BytesIO
from multiprocessing import get_context
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch

from isojepa.errors import UserError
from isojepa.files import explain_write_errors, write_atomically
from isojepa.progress import bar
from isojepa.randomness import seed_from
from isojepa.world.environments import (
    environment,
    explained,
    make_environments,
    platform,
    quiet,
    reset,
    seeded,
)

log = logging.getLogger(__name__)
RESET_STREAM, POLICY_STREAM = 0, 1
# Durations, random names, images that repeat, and what an episode's own order says
LEFT_OUT = {"render_time", "id", "goal", "env_name", "step_idx"}
FORMATS = {".h5": "hdf5", ".hdf5": "hdf5", ".lance": "lance"}
REPLACED = "replaced"  # where the old data set waits while the new one takes its place
Episode = dict[str, np.ndarray]


@dataclass(frozen=True, kw_only=True)
class CollectConfig:
    """Record episodes of one environment."""

    env: str
    """Id of the environment, such as swm/TwoRoom-v1."""
    out: Path
    """The data set to write: .h5 (frames kept exactly) or .lance (frames as JPEG)."""
    episodes: int = 1000
    """How many."""
    policy: str = "scripted"
    """random, scripted (the platform's policy for this environment), or the folder of a run."""
    frame_size: int = 64
    """Side of the stored frames in pixels; the published models see 224."""
    workers: int = 0
    """Processes; 0 is one per processor. The data does not depend on it."""
    seed: int = 0
    """Episode k is a function of (seed, k)."""
    steps: int | None = None
    """Longest episode; by default that of the published data."""
    action_noise: float | None = None
    """Deviation of the noise on scripted actions, in units of the action; by default the published
    one."""
    resume: bool = False
    """Go on with an interrupted collection, or add episodes to a finished one."""
    overwrite: bool = False
    """Replace an existing data set."""

    def __post_init__(self) -> None:
        for name, least in (("episodes", 1), ("frame_size", 8), ("workers", 0), ("seed", 0)):
            if getattr(self, name) < least:
                raise UserError(
                    f"--{name.replace('_', '-')} {getattr(self, name)}: expected at least {least}"
                )
        if self.steps is not None and self.steps < 1:
            raise UserError(f"--steps {self.steps}: expected at least 1")
        if self.action_noise is not None and self.action_noise < 0:
            raise UserError(f"--action-noise {self.action_noise}: expected at least 0")
        if self.out.suffix not in FORMATS:
            raise UserError(f"--out {self.out}: expected a name ending in .h5, .hdf5 or .lance")
        if self.resume and self.overwrite:
            raise UserError("--resume and --overwrite exclude one another")


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


def run(config: CollectConfig) -> Collected:
    """Collect the episodes and write the data set, in place of nothing or of the old one.

    Episodes are kept one by one in `OUT.parts` until all are there; an interruption loses only
    those in progress, and `resume` goes on from them.

    Raises:
        UserError: for an unknown environment or policy, an existing data set, a collection
            that was begun otherwise, or an interruption.
    """
    plan = _plan(config)
    parts = config.out.with_name(config.out.name + ".parts")
    done = _prepare(config, plan, parts)
    missing = [k for k in range(done, config.episodes) if not _part(parts, k).is_file()]
    if not missing and done >= config.episodes:
        log.info("%s already holds %d episodes", config.out, done)
        return Collected(config.out, done, _count_frames(config.out), float("nan"), _size(config))
    kept = config.episodes - done - len(missing)
    if kept:
        log.info("%d episodes of an earlier run are kept", kept)
    began, frames = time.monotonic(), 0
    with _interruptible(config, parts), bar(config.episodes, config.env, done=done + kept) as tick:
        for n in _record_all(config, parts, missing):
            frames += n
            tick(1, f"{frames / (time.monotonic() - began):.0f} frames/s")
    speed = frames / (time.monotonic() - began) if missing else float("nan")
    _assemble(config, plan, parts, done)
    total = _count_frames(config.out)
    log.info(
        "%s: %d episodes, %d frames at %d pixels, %.1f MB, %.0f frames/s",
        *(config.out, config.episodes, total, config.frame_size, _size(config) / 1e6, speed),
    )
    return Collected(config.out, config.episodes, total, speed, _size(config))


def record(config: CollectConfig, k: int) -> Episode:
    """Episode k, as columns: a function of (config, k), whatever came before in this process.

    Row i holds what is seen after i steps, and the action taken then; the last action is NaN.
    """
    world, loaded = _world(config), _loaded_policy(config)
    policy = _scripted(config, k) if loaded is None else loaded
    seed = seed_from(config.seed, k, RESET_STREAM)
    rows: list[dict[str, Any]] = []
    actions: list[np.ndarray] = []
    reset(world, [seed])
    with quiet(), seeded(seed_from(config.seed, k, POLICY_STREAM)):
        world.set_policy(policy)
        if hasattr(policy, "set_seed"):
            policy.set_seed(seed_from(config.seed, k, POLICY_STREAM) % 2**31)
        rows.append(_row(world.infos))
        for _ in range(config.steps or environment(config.env).steps):
            action = np.asarray(policy.get_action(world.infos), np.float32)
            _, _, terminated, truncated, world.infos = world.envs.step(action)
            actions.append(action[0])
            rows.append(_row(world.infos))
            if terminated[0] or truncated[0]:
                break
    names = [name for name in rows[0] if all(name in row for row in rows)]
    episode = {name: np.stack([row[name] for row in rows]) for name in names}
    episode["action"] = np.stack([*actions, np.full_like(actions[0], np.nan)])
    return episode


def policy_from_run(run: Path, env_id: str, seed: int) -> Any:
    """A trained world model as a policy of the platform: `get_action(infos)` and `set_env`.

    `planning.control.load_policy(run, env_id, seed)` makes it: an object with the platform's policy
    interface (`set_env(envs)`, `get_action(infos) -> (n, a)`, and `set_seed(seed)`, after which its
    actions depend on nothing that came before).
    """
    try:
        from isojepa.world.planning.control import load_policy
    except ImportError as error:
        raise UserError(f"--policy {run}: planning is not available ({error})") from error
    return load_policy(run, env_id, seed)


def _plan(config: CollectConfig) -> dict[str, Any]:
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
    for name in ("out", "episodes", "workers", "resume", "overwrite"):
        del plan[name]
    plan["steps"] = config.steps or known.steps
    plan["platform"] = metadata.version("stable-worldmodel")
    return plan


def _prepare(config: CollectConfig, plan: dict[str, Any], parts: Path) -> int:
    """Refuse or clear what is there; the number of episodes the data set already holds."""
    if config.overwrite:
        shutil.rmtree(parts, ignore_errors=True)
    elif not config.resume:
        if config.out.exists() or any(parts.glob("episode-*.npz")):
            raise UserError(
                f"{config.out if config.out.exists() else parts} exists; add --resume to go on "
                "with it or --overwrite to replace it"
            )
        shutil.rmtree(parts, ignore_errors=True)
    if config.resume and (parts / REPLACED).exists() and not config.out.exists():
        (parts / REPLACED).replace(config.out)
    done = 0
    if config.resume and config.out.exists():
        earlier = _recorded_plan(config.out)
        _same_plan(config.out, earlier.get("plan", {}), plan)
        done = int(earlier["episodes"])
    with explain_write_errors(parts):
        parts.mkdir(parents=True, exist_ok=True)
        begun = parts / "plan.json"
        if begun.is_file():
            _same_plan(parts, json.loads(begun.read_text()), plan)
        write_atomically(begun, json.dumps(plan, indent=2))
    return done


def _same_plan(place: Path, earlier: dict[str, Any], plan: dict[str, Any]) -> None:
    for name, value in plan.items():
        if earlier.get(name) != value:
            raise UserError(
                f"{place} was collected with {name} = {earlier.get(name)}, not {value}; "
                "use the same settings, or --overwrite"
            )


def _record_all(config: CollectConfig, parts: Path, missing: list[int]) -> Iterator[int]:
    """Record the missing episodes, yielding the frames of each as it is kept."""
    workers = min(config.workers or os.cpu_count() or 1, max(1, len(missing)))
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
    episode = record(config, k)
    content = BytesIO()
    np.savez_compressed(content, allow_pickle=False, **episode)
    write_atomically(_part(parts, k), content.getvalue())
    return len(episode["action"])


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


@lru_cache(maxsize=1)
def _world(config: CollectConfig) -> Any:
    """The one environment of this process, kept from episode to episode."""
    world = make_environments(config.env, 1, frame_size=config.frame_size, collecting=True)
    atexit.register(world.close)  # MuJoCo's drawing surfaces outlive the driver otherwise
    return world


@lru_cache(maxsize=1)
def _loaded_policy(config: CollectConfig) -> Any | None:
    if config.policy in {"random", "scripted"}:
        return None
    return policy_from_run(Path(config.policy), config.env, config.seed)


def _scripted(config: CollectConfig, k: int) -> Any:
    seed = seed_from(config.seed, k, POLICY_STREAM) % 2**31
    scripted = environment(config.env).scripted
    with explained(config.env):
        if config.policy == "random" or scripted is None:
            return platform().policy.RandomPolicy(seed=seed)
        return scripted(config.action_noise, seed)


def _row(infos: dict[str, Any]) -> dict[str, np.ndarray]:
    """The columns of the platform's infos that are worth keeping, of the only environment."""
    row = {}
    for name, values in infos.items():
        if name in LEFT_OUT or name.startswith("_") or name == "action":
            continue
        values = values.numpy() if isinstance(values, torch.Tensor) else values
        if isinstance(values, np.ndarray) and values.dtype.kind in "biuf":
            row[re.sub(r"[./]", "_", name)] = np.array(values[0, 0])
    return row


def _assemble(config: CollectConfig, plan: dict[str, Any], parts: Path, done: int) -> None:
    """Write the whole data set beside its place, then move it there."""
    fresh = parts / "assembled" / config.out.name
    shutil.rmtree(fresh.parent, ignore_errors=True)
    with explain_write_errors(config.out):
        fresh.parent.mkdir(parents=True)
        episodes = (_load(_part(parts, k)) for k in range(done, config.episodes))
        if not done:
            _write(fresh, episodes)
        elif config.out.is_dir():
            shutil.copytree(config.out, fresh)
            _write(fresh.parent / "more.lance", episodes)
            _append_lance(fresh, fresh.parent / "more.lance", done)
        else:
            shutil.copyfile(config.out, fresh)
            _write(fresh, episodes)
        _write_plan(fresh, {"plan": plan, "episodes": config.episodes}, config.env)
        if config.out.is_dir() or (config.out.exists() and fresh.is_dir()):
            config.out.replace(parts / REPLACED)  # a folder cannot be replaced in one step
        fresh.replace(config.out)
    shutil.rmtree(parts, ignore_errors=True)


def _write(place: Path, episodes: Iterator[dict[str, list[np.ndarray]]]) -> None:
    writer = platform().data.get_format(FORMATS[place.suffix]).open_writer(place, mode="append")
    with quiet(), writer as out:
        out.write_episodes(episodes)


def _append_lance(table: Path, more: Path, done: int) -> None:
    """Add the rows of a second table: the platform's own appending refuses NaN actions."""
    import lance
    import pyarrow as pa

    def numbered() -> Iterator[pa.RecordBatch]:
        for batch in lance.dataset(str(more)).to_batches():
            at = batch.schema.get_field_index("episode_idx")
            shifted = pa.array(batch.column(at).to_numpy() + done, pa.int32())
            columns = [*batch.columns[:at], shifted, *batch.columns[at + 1 :]]
            yield pa.record_batch(columns, schema=batch.schema)

    schema = lance.dataset(str(more)).schema
    reader = pa.RecordBatchReader.from_batches(schema, numbered())
    lance.write_dataset(reader, str(table), mode="append")


def _load(part: Path) -> dict[str, list[Any]]:
    try:
        with np.load(part, allow_pickle=False) as columns:
            return {name: list(columns[name]) for name in columns.files}
    except (OSError, ValueError, KeyError) as error:
        raise UserError(f"{part}: damaged; delete it and go on with --resume") from error


def _write_plan(place: Path, record: dict[str, Any], env_id: str) -> None:
    content = json.dumps(record)
    if place.is_dir():
        import lance

        lance.dataset(str(place)).update_schema_metadata({"env_id": env_id, "isojepa": content})
        return
    import h5py

    with h5py.File(place, "a") as file:
        file.attrs["env_id"], file.attrs["isojepa"] = env_id, content


def _recorded_plan(place: Path) -> dict[str, Any]:
    try:
        if place.is_dir():
            import lance

            content = (lance.dataset(str(place)).schema.metadata or {}).get(b"isojepa")
        else:
            import h5py

            with h5py.File(place, "r") as file:
                content = file.attrs.get("isojepa")
        return dict(json.loads(content)) if content else _not_ours(place)
    except (OSError, ValueError) as error:
        raise UserError(f"{place}: cannot be read ({error}); use --overwrite") from error


def _not_ours(place: Path) -> dict[str, Any]:
    raise UserError(f"{place}: was not written by `isojepa world collect`; choose another --out")


def _count_frames(place: Path) -> int:
    if place.is_dir():
        import lance

        return int(lance.dataset(str(place)).count_rows())
    import h5py

    with h5py.File(place, "r") as file:
        return int(file["ep_len"][:].sum())


def _size(config: CollectConfig) -> int:
    files = config.out.rglob("*") if config.out.is_dir() else [config.out]
    return sum(file.stat().st_size for file in files if file.is_file())


def _part(parts: Path, k: int) -> Path:
    return parts / f"episode-{k:06d}.npz"
