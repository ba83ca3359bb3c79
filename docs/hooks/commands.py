"""A hook of mkdocs: reference/cli.md is written from the dataclasses that the verbs take."""

import dataclasses
from importlib import import_module
from pathlib import Path
from types import UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin, get_type_hints

import griffe
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files

from isojepa import cli

HEAD = """# Command line

Written from the dataclasses that the command line and Python callers share, when this page was
built; `isojepa VERB --help` says the same. A mistake gives one line that names the field or file
and the remedy, and exit code 2.
"""
WORDS = {Path: "PATH", str: "TEXT", int: "INTEGER", float: "NUMBER"}


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the page to the site."""
    package = griffe.load("isojepa")
    made = {
        verb: getattr(import_module(f"isojepa.{module}"), name)
        for verb, (module, name, _) in cli.VERBS.items()
    }
    page = "\n".join([HEAD, *(section(verb, one, package) for verb, one in made.items())])
    files.append(File.generated(config, "reference/cli.md", content=page))
    return files


def section(verb: str, made: type, package: griffe.Object) -> str:
    """A verb's heading, what it does, and the table of its settings."""
    words = meanings(made, package)
    hints = get_type_hints(made, include_extras=True)
    lines = [f"## isojepa {verb} {{ #{verb.replace(' ', '-')} }}\n", f"{made.__doc__}\n"]
    lines += ["| setting | value | default | meaning |", "|---|---|---|---|"]
    for field in dataclasses.fields(made):
        flag, value = setting(field.name, hints[field.name])
        lines.append(f"| `{flag}` | {value} | {default(field)} | {words[field.name]} |")
    return "\n".join(lines) + "\n"


def meanings(made: type, package: griffe.Object) -> dict[str, str]:
    """Every field's docstring, those of the classes that it builds on first."""
    found: dict[str, str] = {}
    for owner in reversed(made.__mro__):
        if dataclasses.is_dataclass(owner):
            home = package[f"{owner.__module__.partition('.')[2]}.{owner.__name__}"]
            documented = {n: one.docstring for n, one in home.attributes.items()}
            found |= {n: " ".join(text.value.split()) for n, text in documented.items() if text}
    return found


def setting(name: str, hint: Any) -> tuple[str, str]:
    """How a setting is written, and what follows it: `--steps`, INTEGER."""
    flag = f"--{name.replace('_', '-')}"
    if get_origin(hint) is Annotated:  # tyro's marks: a flag without its opposite, or none at all
        inner = get_args(hint)[0]
        return (flag, "") if inner is bool else (name.upper(), value_of(inner))
    if hint is bool:
        return flag, f"or `--no-{flag[2:]}`"
    return flag, value_of(hint)


def value_of(hint: Any) -> str:
    """What may follow a flag."""
    origin, inner = get_origin(hint), get_args(hint)
    if origin in (Union, UnionType):
        return " or ".join(value_of(one) for one in inner if one is not type(None))
    if origin is Literal:
        return ", ".join(f"`{one}`" for one in inner)
    if origin is tuple:
        return " ".join("..." if one is Ellipsis else value_of(one) for one in inner)
    return WORDS[hint]


def default(field: dataclasses.Field) -> str:
    """The value of a setting that is not given; empty where it follows from the rest."""
    if field.default is dataclasses.MISSING:
        return "required"
    if field.default is None or field.default == ():
        return ""
    if isinstance(field.default, bool):
        return "yes" if field.default else "no"
    words = field.default if isinstance(field.default, tuple) else (field.default,)
    return f"`{' '.join(map(str, words))}`"
