"""Many independent jobs on whatever runs them: processes here, SLURM, Ray. No scheduler of our own.

A job is a function without arguments, such as `functools.partial(train_one, seed=3)`, whose result
is JSON. Each result is a file as soon as there is one, so that the same call after an interruption
makes only what is missing.
"""

import json
import logging
import traceback
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from multiprocessing import get_context
from multiprocessing.connection import wait
from pathlib import Path
from typing import Any, Literal, NamedTuple

from isojepa.boundaries import reading, shown, writing
from isojepa.errors import UserError
from isojepa.files import write_atomically
from isojepa.progress import bar

log = logging.getLogger(__name__)
Engine = Literal["here", "processes", "slurm", "ray"]
Job = Callable[[], Any]


class Done(NamedTuple):
    """A job that has ended."""

    name: str
    result: Any
    """What it returned, as JSON holds it; None if it failed."""
    error: str | None = None
    """The traceback of a job that failed."""


def run_jobs(
    jobs: Mapping[str, Job],
    folder: Path,
    *,
    engine: Engine = "processes",
    workers: int = 1,
    options: Mapping[str, Any] | None = None,
) -> Iterator[Done]:
    """Run the jobs whose results are missing, and yield all as they end; those made before first.

    One that fails leaves FOLDER/NAME.error and does not keep the others from running; it is tried
    again by the next call. Results are FOLDER/NAME.json.

    Args:
        jobs: by names that can be names of files. All but `here` pickle them: functions of modules.
        engine: `here`, one after the other in this process; `processes` on this machine; `slurm`
            through submitit; `ray`, on the cluster that it finds.
        workers: jobs at a time; with SLURM, at most so many of its array.
        options: for SLURM what submitit's `update_parameters` takes, such as `timeout_min`,
            `gpus_per_node`, `slurm_partition`; for Ray those of `remote`, such as `num_gpus`.

    Raises:
        UserError: if the engine is not installed, a name is no file's, or a result cannot be read.
    """
    if wrong := [name for name in jobs if Path(name).name != name or name.startswith(".")]:
        raise UserError(f"{wrong[0]!r} cannot be the name of a job: it names its files")
    with writing(folder):
        folder.mkdir(parents=True, exist_ok=True)
    known = {name: folder / f"{name}.json" for name in jobs}
    missing = {name: job for name, job in jobs.items() if not known[name].is_file()}
    for name in jobs:
        if name not in missing:
            with reading(known[name], "a job's result"):
                result = json.loads(known[name].read_text(encoding="utf-8"))
            yield Done(name, result)
    started = ENGINES[engine](missing, folder, workers, options or {})
    with bar(len(jobs), "jobs", done=len(jobs) - len(missing)) as advance:
        for ended in started:
            _keep(ended, folder)
            advance(1, ended.name)
            yield ended


def _keep(ended: Done, folder: Path) -> None:
    failure = folder / f"{ended.name}.error"
    if ended.error is not None:
        log.warning(
            "%s failed: %s; all of it in %s", ended.name, _last(ended.error), shown(failure)
        )
        write_atomically(failure, ended.error)
        return
    write_atomically(folder / f"{ended.name}.json", json.dumps(ended.result, indent=2) + "\n")
    failure.unlink(missing_ok=True)


def _last(error: str) -> str:
    return error.strip().splitlines()[-1]


def attempt(name: str, job: Job) -> Done:
    """The job's end, however it ends; its process lives on."""
    try:
        result = job()
        json.dumps(result)  # what cannot be kept is the job's failure, not the launcher's
        return Done(name, result)
    except Exception:
        return Done(name, None, traceback.format_exc())


def _here(jobs: Mapping[str, Job], _: Path, _workers: int, _options: Mapping) -> Iterator[Done]:
    yield from (attempt(name, job) for name, job in jobs.items())


def _processes(jobs: Mapping[str, Job], _: Path, workers: int, _options: Mapping) -> Iterator[Done]:
    """Each in a process of its own: one that is killed takes no other along."""
    context, waiting = get_context("spawn"), list(jobs.items())
    running: dict[Any, tuple[str, Any]] = {}
    try:
        while waiting or running:
            while waiting and len(running) < max(1, workers):
                name, job = waiting.pop(0)
                answer, its_end = context.Pipe(duplex=False)
                process = context.Process(target=_answer, args=(its_end, name, job))
                process.start()
                its_end.close()
                running[answer] = (name, process)
            ended: list[Any] = wait(list(running))
            for answered in ended:
                name, process = running.pop(answered)
                yield _outcome(name, answered.recv)
                process.join()
    finally:
        for _name, process in running.values():
            process.terminate()


def _answer(to: Any, name: str, job: Job) -> None:
    to.send(attempt(name, job))


def _slurm(
    jobs: Mapping[str, Job], folder: Path, workers: int, options: Mapping[str, Any]
) -> Iterator[Done]:
    with _needed("slurm", "submitit"):
        from submitit import AutoExecutor
        from submitit.helpers import as_completed as ended
    options = dict(options)
    executor = AutoExecutor(folder / "slurm", cluster=options.pop("cluster", None))
    if executor.cluster == "slurm":
        options.setdefault("slurm_array_parallelism", workers)
    executor.update_parameters(**options)
    with executor.batch():
        made = [(name, executor.submit(attempt, name, job)) for name, job in jobs.items()]
    names = {job.job_id: name for name, job in made}
    for job in ended([job for _, job in made]) if made else ():
        yield _outcome(names[job.job_id], job.result)


def _ray(
    jobs: Mapping[str, Job], _: Path, workers: int, options: Mapping[str, Any]
) -> Iterator[Done]:
    with _needed("ray", "ray"):
        import ray
    remote = ray.remote(**options)(attempt) if options else ray.remote(attempt)
    waiting = list(jobs.items())
    running: dict[Any, str] = {}
    while waiting or running:
        while waiting and len(running) < max(1, workers):
            name, job = waiting.pop(0)
            running[remote.remote(name, job)] = name
        (ready, *_), _rest = ray.wait(list(running))
        yield _outcome(running.pop(ready), partial(ray.get, ready))


ENGINES: dict[Engine, Callable[[Mapping[str, Job], Path, int, Mapping], Iterable[Done]]] = {
    "here": _here, "processes": _processes, "slurm": _slurm, "ray": _ray,
}  # fmt: skip


def _outcome(name: str, result: Callable[[], Done]) -> Done:
    """A job's end; a process that was killed, or a node that vanished, fails it alone."""
    try:
        return result()
    except Exception:
        return Done(name, None, traceback.format_exc())


@contextmanager
def _needed(engine: str, package: str) -> Iterator[None]:
    try:
        yield
    except ImportError as error:
        raise UserError(f"--engine {engine}: run `pip install {package}` first") from error
