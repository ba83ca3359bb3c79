"""The command line: a table of verbs, each a configuration and the function that takes it."""

import atexit
import errno
import logging
import os
import sys
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from importlib import import_module
from typing import Annotated, Any, NamedTuple, NoReturn

import tyro

from isojepa.boundaries import shown
from isojepa.errors import UserError
from isojepa.machine import quick_imports
from isojepa.version import __version__

DISK = {errno.ENOSPC, errno.EROFS, errno.EDQUOT, errno.EACCES, errno.EPERM}


class Verb(NamedTuple):
    """One verb of the command line."""

    config: type
    run: Callable[[Any], object]


@dataclass(frozen=True)
class WorldVerbs:
    """World models: collect, train, plan, probe and more. See isojepa world --help."""


# name: module, its configuration, its function; the second word of a group's follows a space
VERBS = {
    "demo": ("demos.images", "DemoConfig", "image_demo"),
    "pretrain": ("workflow", "PretrainConfig", "pretrain"),
    "evaluate": ("encoders.evaluation.evaluate", "EvaluateConfig", "evaluate"),
    "embed": ("encoders.embed", "EmbedConfig", "embed"),
    "export": ("encoders.export.export", "ExportConfig", "export"),
    "diagnose": ("pages.embeddings.diagnose", "DiagnoseConfig", "diagnose_file"),
    "report": ("pages.encoder.page", "ReportConfig", "report"),
    "runs": ("runs.overview", "RunsConfig", "list_runs"),
    "select": ("encoders.selection.select", "SelectConfig", "select_runs"),
    "tune": ("pages.encoder.tune", "TuneConfig", "tune"),
    "cache": ("caches.overview", "CacheConfig", "manage_cache"),
    "replay": ("encoders.replay", "ReplayConfig", "replay_update"),
    "world demo": ("demos.world", "WorldDemoConfig", "world_demo"),
    "world collect": ("world.collection.collect", "CollectConfig", "collect"),
    "world train": ("world.learning.train", "WorldTrainConfig", "train_world_model"),
    "world direct": ("world.learning.direct", "DirectConfig", "train_direct"),
    "world learn": ("pages.world.learning", "LearnConfig", "learn"),
    "world replay": ("world.learning.replay", "WorldReplayConfig", "replay_world_update"),
    "world plan": ("world.control.suite", "PlanConfig", "plan_goals"),
    "world probe": ("world.analysis.probing", "ProbeConfig", "probe"),
    "world surprise": ("world.analysis.surprise", "SurpriseConfig", "measure_surprise"),
    "world decode": ("world.analysis.decoder", "DecodeConfig", "decode"),
    "world export": ("world.model.export", "WorldExportConfig", "export_graphs"),
    "world compare": ("world.comparison.compare", "CompareConfig", "compare"),
    "world report": ("pages.world.page", "WorldReportConfig", "report_world"),
}
"""In the order of a first visit."""


def verbs(arguments: Sequence[str] = ()) -> dict[str, Verb]:
    """The verb that a command line names, or all of them if it names none.

    One alone is imported in less than half the time of all, and in two thirds of the memory.
    """
    named = [name for name in VERBS if list(arguments[: len(name.split())]) == name.split()]
    table = {}
    for name in named or VERBS:
        module, config, run = VERBS[name]
        home = import_module(f"isojepa.{module}")
        table[name] = Verb(getattr(home, config), getattr(home, run))
    return table


def parse(arguments: Sequence[str], table: dict[str, Verb]) -> Any:
    """The configuration that a command line without its first word asks for; exits on mistakes."""
    program, group = "isojepa", "world"
    from isojepa.runs.settings import only_said

    if len(table) == 1:
        ((name, verb),) = table.items()
        rest = list(arguments[len(name.split()) :])
        return only_said(tyro.cli(verb.config, args=rest, prog=f"{program} {name}"), rest)
    inside = list(arguments[:1]) == [group]
    prefix = f"{group} " if inside else ""
    configs = {
        name.removeprefix(prefix): verb.config
        for name, verb in table.items()
        if name.startswith(prefix) and " " not in name.removeprefix(prefix)
    }
    if inside:
        arguments, program = arguments[1:], f"{program} {group}"
    else:
        configs[group] = WorldVerbs
    config = tyro.cli(_subcommands(configs), args=list(arguments) or ["--help"], prog=program)
    return only_said(config, arguments)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one verb. Exit codes: 0 done, 2 a mistake of the user's, 128 + n stopped by signal n."""
    arguments = sys.argv[1:] if arguments is None else list(arguments)
    if arguments in (["--version"], ["-V"]):
        print(f"isojepa {__version__}")
        return 0
    from isojepa.progress import console, set_up_logging

    with console.status("starting"):  # PyTorch takes seconds to import
        from isojepa.distributed import rank
        from isojepa.training.interrupted import Interrupted
        from isojepa.training.ranks import SaidByFirst, lost_another

        with quick_imports():
            table = verbs(arguments)
    set_up_logging()
    if os.environ.get("LOCAL_RANK", "0") != "0":  # started by another of this run, which speaks
        logging.getLogger("isojepa").setLevel(logging.ERROR)
    try:
        config = parse(arguments, table)
        next(verb for verb in table.values() if verb.config is type(config)).run(config)
    except SaidByFirst:
        return 0  # another code would have Lightning kill the first process before it has said so
    except UserError as error:
        _say(str(error) if rank() == 0 else f"process {rank()}: {error}")
        return 2
    except Interrupted as error:
        if rank() != 0:
            return 0
        _say(str(error))
        return 128 + error.number if error.number else 0
    except RuntimeError as error:
        if not lost_another(error):
            raise
        if rank() == 0:
            _say("another process of this run has ended; what was saved is kept: see --resume")
        return 1 if rank() == 0 else 0
    except KeyboardInterrupt:
        console.print("isojepa: interrupted")
        return 130
    except BrokenPipeError:  # the reader of our output, such as `head`, has left
        sys.stdout = sys.stderr
        return 141
    except OSError as error:  # what no boundary has foreseen: a disk is no defect of ours
        if error.errno not in DISK:
            raise
        place = f"{shown(error.filename)}: " if error.filename else ""
        _say(f"{place}cannot be written ({error.strerror}); what was saved before is kept")
        return 2
    return 0


def program() -> NoReturn:
    """What the command `isojepa` is: `main`, and an end that does not wait.

    As it ends, the interpreter looks through the libraries' million objects for cycles, again and
    again: more than a second of a core, and ten for processes that share one, when a queue has
    asked a run to end. What is registered for the exit is done and what was printed is flushed.
    """
    code = 1
    try:
        code = main()
    except SystemExit as asked:  # of the parser: --help, or words that it does not know
        if isinstance(asked.code, str):
            print(asked.code, file=sys.stderr)
        code = asked.code if isinstance(asked.code, int) else int(asked.code is not None)
    except BaseException:
        sys.excepthook(*sys.exc_info())
    atexit._run_exitfuncs()
    logging.shutdown()
    for stream in (sys.stdout, sys.stderr):
        with suppress(OSError, ValueError):
            stream.flush()
    os._exit(code)


def _say(words: str) -> None:
    from rich.text import Text

    from isojepa.progress import console

    console.print(Text.assemble(("isojepa:", "bold red"), f" {words}"), soft_wrap=True)


def _subcommands(configs: dict[str, type]) -> Any:
    union: Any = None
    for name, config in configs.items():
        member = Annotated[config, tyro.conf.subcommand(name)]  # type: ignore[valid-type]
        union = member if union is None else union | member
    return union


if __name__ == "__main__":
    program()
