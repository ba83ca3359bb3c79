"""Whatever a library raises leaves a boundary as one line with the true reason."""

import os
import struct
from pathlib import Path

import pytest

from isojepa.boundaries import contents, reaching, reading, shown, trying, writing
from isojepa.cli import main
from isojepa.errors import UserError
from isojepa.files import write_atomically
from isojepa.machine import cores, memory_bytes

STRANGE = [
    struct.error("ushort format requires 0 <= number <= 65535"),
    TypeError("bad operand type for abs(): 'str'"),
    AttributeError("'IFDRational' object has no attribute 'encode'"),
    RuntimeError("Failed to decode frame 0"),
    NotImplementedError("BLP"),
    KeyError("action"),
    MemoryError(),
    ZeroDivisionError(),
    UnicodeDecodeError("utf-8", b"a\xf6", 1, 2, "invalid"),
]


@pytest.mark.parametrize("error", STRANGE, ids=lambda e: type(e).__name__)
def test_reading_names_the_file_and_the_reason(error: Exception, tmp_path: Path) -> None:
    file = tmp_path / "x.bin"
    file.write_bytes(b"abc")
    found = pytest.raises(UserError, match=r"x\.bin: cannot be read as an image: \S")
    with found as caught, reading(file, "an image"):
        raise error
    assert "\n" not in str(caught.value)


def test_reading_lets_its_own_exception_pass(tmp_path: Path) -> None:
    class Unreadable(Exception):
        pass

    for inner in (Unreadable("bands"), ValueError("bands")):
        with pytest.raises(Unreadable, match="bands"), reading(tmp_path, "an image", Unreadable):
            raise inner


@pytest.mark.parametrize(
    ("start", "says"),
    [
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:aa\n", "git lfs pull"),
        (b"\n<!DOCTYPE html><html>", "web page"),
        (b"", "empty file"),
    ],
)
def test_what_a_file_is_instead(start: bytes, says: str, tmp_path: Path) -> None:
    file = tmp_path / "x.png"
    file.write_bytes(start)
    assert says in (contents(file) or "")
    with pytest.raises(UserError, match=says), reading(file, "an image"):
        raise ValueError("not an image")


def test_refused_writes_and_networks_are_one_line(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="No space left on device"), writing(tmp_path):
        raise OSError(28, "No space left on device")
    absent = pytest.raises(UserError, match=r"--pretrained.*no route.*use --model")
    with absent, reaching("--pretrained: weights", "use --model local-dir:"):
        raise ConnectionError("no route")


def test_what_can_be_done_without_is_left_out(caplog: pytest.LogCaptureFixture) -> None:
    with trying("the cache"):
        raise OSError(30, "Read-only file system")
    assert "the cache: Read-only file system; going on without" in caplog.text


@pytest.mark.parametrize(
    ("name", "text"),
    [
        (os.fsdecode(b"caf\xe9.png"), r"caf\xe9.png"),
        ("new\nline\t.png", r"new\nline\t.png"),
        ("café [old].png", "café [old].png"),
    ],
)
def test_names_are_shown_in_one_line_of_text(name: str, text: str, tmp_path: Path) -> None:
    assert shown(name) == text
    write_atomically(tmp_path / "page.html", name)


@pytest.mark.parametrize("name", ["emb[old].npy", "x[/].npy", "run[bold].npy"])
def test_brackets_in_paths_are_no_markup(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["evaluate", name]) == 2
    assert f"isojepa: {name}" in capsys.readouterr().err


def test_container_limits_count(tmp_path: Path) -> None:
    (tmp_path / "memory.max").write_text("1000000\n")
    (tmp_path / "cpu.max").write_text("100000 100000\n")
    assert memory_bytes(tmp_path) == 1_000_000
    assert cores(tmp_path) == 1
    (tmp_path / "memory.max").write_text("max\n")
    (tmp_path / "cpu.max").write_text("max 100000\n")
    assert memory_bytes(tmp_path) > 1_000_000
    assert cores(tmp_path) == len(os.sched_getaffinity(0))
