"""What the README says is so: commands run, the tree is true, the app starts as on a Space, checkpoints have cards."""

import json
import os
import re
import shlex
import socket
import subprocess
import sys
import time
import urllib.request
from contextlib import contextmanager
from fnmatch import fnmatch
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
FRONT, BODY = README.split("---\n", 2)[1:]
CHECKPOINTS = ROOT / "checkpoints"
ROWS = json.loads((CHECKPOINTS / "manifest.json").read_text())["checkpoints"]
SHIPPED = [row for row in ROWS if row["origin"] == "shipped"]
HEADINGS = ["What it is", "Data", "Recipe and seed", "Training time", "Measured bars", "Limits", "Licence"]
SLOW = {"train", "teach", "score", "bench"}  # run by their own tests; here their words and options are read
ONLINE = {"fetch"}


def commands() -> list[str]:
    """Every command line the README shows, in blocks and in tables, `&&` taken apart."""
    blocks = re.findall(r"```sh\n(.*?)```", BODY, re.DOTALL)
    lines = [line for block in blocks for line in block.splitlines()] + re.findall(r"^\| `([^`]+)`", BODY, re.MULTILINE)
    return list(dict.fromkeys(part.strip() for line in lines for part in line.split("&&") if part.strip()))


def python_lines(quick: bool) -> list[str]:
    lines = [line for line in commands() if line.startswith("python -m core")]
    return [line for line in lines if (shlex.split(line)[3] not in SLOW | ONLINE) is quick]


# --- commands ------------------------------------------------------------------------------------------------------


def test_the_two_commands_come_first():
    assert commands()[:2] == ["make demo", "make test"]


def test_every_command_is_of_a_kind_that_is_tested():
    known = ("make ", "python -m core ", "python app.py", "pip install -r ")
    assert [line for line in commands() if not line.startswith(known)] == []


@pytest.mark.parametrize("line", [line for line in commands() if line.startswith("make ")])
def test_make_knows_its_targets(line: str):
    planned = subprocess.run([*shlex.split(line), "-n"], cwd=ROOT, capture_output=True, text=True)
    assert planned.returncode == 0, planned.stderr


def smaller(line: str) -> str:
    """The same command asked for as little as it takes."""
    return re.sub(r"--(count|looks|identities|images|limit) \d+", r"--\1 2", line)


@pytest.mark.parametrize("line", python_lines(quick=True))
def test_quick_commands_run(line: str, tmp_path: Path, monkeypatch):
    from core.__main__ import application

    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    arguments = shlex.split(smaller(line))[3:]
    done = CliRunner().invoke(application(arguments[0]), arguments)
    assert done.exception is None, done.output
    for out in (tmp_path / name for name in re.findall(r"--out (\S+)", line)):
        pictures = list(out.glob("*.png")) if out.is_dir() else [out]
        assert pictures
        assert all(picture.stat().st_size > 5_000 for picture in pictures)


def test_a_command_is_a_process_of_its_own(tmp_path: Path):
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    done = subprocess.run([sys.executable, "-m", "core", "list"], cwd=tmp_path, env=environment, capture_output=True,
                          text=True)
    assert done.returncode == 0, done.stderr
    assert "vectors-tiny" in done.stdout


@pytest.mark.parametrize("line", python_lines(quick=False))
def test_slow_commands_are_understood(line: str):
    """Name, arguments and options are read by the command's own parser, which refuses what it does not know."""
    from core.__main__ import application

    _, _, _, called, *arguments = shlex.split(line)
    group = typer.main.get_command(application(called))
    group.commands[called].make_context(called, arguments)


def test_the_options_of_the_app_are_those_the_readme_names(capsys):
    import app

    with pytest.raises(SystemExit):
        app.options(["--help"])
    shown = capsys.readouterr().out
    named = re.findall(r"`(--\w+)`", BODY.split("Without make", 1)[1].split("##", 1)[0])
    assert len(named) >= 5
    assert [option for option in named if option not in shown] == []


# --- the Space -----------------------------------------------------------------------------------------------------


def front(key: str) -> str:
    return re.search(rf"^{key}: *\"?([^\"\n]+)", FRONT, re.MULTILINE)[1]


def test_the_front_matter_names_what_is_there():
    pinned = re.search(r"^gradio==(\S+)", (ROOT / "requirements.txt").read_text(), re.MULTILINE)[1]
    assert (front("sdk"), front("sdk_version")) == ("gradio", pinned)
    assert (ROOT / front("app_file")).is_file()
    assert front("python_version") == "3.11"
    assert len(front("short_description")) <= 60
    for repo, file in re.findall(r"^  - (\S+) (\S+)", FRONT, re.MULTILINE):
        assert any((row["repo"], row["file"]) == (repo, file) for row in ROWS)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@contextmanager
def app(folder: Path, *arguments: str, **environment: str):
    """The app as a process of its own, started from `folder`."""
    with (folder / "app.log").open("w+") as log:
        process = subprocess.Popen([sys.executable, str(ROOT / "app.py"), *arguments], cwd=folder, stdout=log,
                                   stderr=subprocess.STDOUT, env=os.environ | environment)
        try:
            yield process, log
        finally:
            process.terminate()
            process.wait(20)


def first_page(process: subprocess.Popen, log, address: str, seconds: float = 180) -> str:
    """The page, as soon as the app answers 200; what it printed, if it never does."""
    end = time.monotonic() + seconds
    while time.monotonic() < end and process.poll() is None:
        try:
            with urllib.request.urlopen(address, timeout=5) as answer:
                assert answer.status == 200
                return answer.read().decode()
        except OSError:
            time.sleep(0.2)
    log.seek(0)
    raise AssertionError(f"{address} did not answer (exit status {process.poll()}):\n{log.read()[-3000:]}")


def test_the_app_starts_as_on_a_space(tmp_path: Path):
    """From another folder, with the Hub's variables, and reachable from outside the container: any loopback address
    but the usual one.
    """
    port = free_port()
    hub = {"SYSTEM": "spaces", "SPACE_ID": "a/b", "GRADIO_SERVER_NAME": "0.0.0.0", "GRADIO_SERVER_PORT": str(port)}
    host = "127.0.0.2" if sys.platform == "linux" else "127.0.0.1"
    with app(tmp_path, **hub) as (process, log):
        assert "Facet" in first_page(process, log, f"http://{host}:{port}/")


# --- the tree ------------------------------------------------------------------------------------------------------


def tree(text: str = BODY) -> dict[str, str]:
    """The README's tree: path or pattern -> caption; a folder's path ends in a slash."""
    block = re.search(r"## What is where\n+```\n(.*?)```", text, re.DOTALL)[1]
    rows, folders = {}, []
    for line in filter(None, block.splitlines()):
        depth, (name, _, caption) = (len(line) - len(line.lstrip())) // 2, line.strip().partition(" ")
        folders = [*folders[:depth], name]
        rows["".join(folders)] = caption.strip()
    return rows


def files() -> list[str]:
    """The project's own files: what lies beside the README, and in its folders."""
    beside = [path for path in ROOT.iterdir() if path.is_file() and path.suffix in {".py", ".md", ".txt", ".toml", ""}]
    folders = (".ci", "spaces", "core", "checkpoints", "tests")
    below = [path for folder in folders for path in (ROOT / folder).rglob("*")]
    mine = [path for path in beside + below if path.is_file() and "__pycache__" not in path.parts]
    return sorted(path.relative_to(ROOT).as_posix() for path in mine if not path.name.startswith("."))


def unlisted(rows: dict[str, str]) -> list[str]:
    """Files no row speaks of. A folder speaks for its files only if none of them has a row."""
    whole = tuple(row for row in rows if row.endswith("/") and not any(row in other for other in rows if other != row))
    return [name for name in files() if not (name.startswith(whole) or any(fnmatch(name, row) for row in rows))]


def test_every_file_has_a_caption():
    """A folder whose files have rows needs none."""
    rows = tree()
    parents = {row for row in rows for other in rows if row.endswith("/") and row in other and row != other}
    assert [row for row, caption in rows.items() if len(caption) < 8 and row not in parents] == []


def test_every_file_is_in_the_tree():
    assert unlisted(tree()) == []


def test_everything_in_the_tree_is_there():
    found = files()
    assert [row for row in tree() if not any(fnmatch(name, row) or name.startswith(row) for name in found)] == []


# --- checkpoints ---------------------------------------------------------------------------------------------------


def test_every_shipped_file_has_a_row_and_every_row_a_file():
    assert sorted(row["file"] for row in SHIPPED) == sorted(path.name for path in CHECKPOINTS.glob("*.safetensors"))
    assert {"vectors-tiny", "embedder-tiny-v3", "embedder-check-tiny-v3", "judge-tiny-v3", "judge-check-tiny-v3",
            "embedder-tiny", "embedder-check-tiny", "judge-tiny",
            "judge-check-tiny"} <= {row["name"] for row in SHIPPED}


@pytest.mark.parametrize("name", [row["name"] for row in SHIPPED])
def test_every_shipped_checkpoint_has_a_card(name: str):
    """The seven headings in order, each with something under it."""
    card = (CHECKPOINTS / "cards" / f"{name}.md").read_text(encoding="utf-8")
    assert card.startswith(f"# {name}\n")
    sections = re.split(r"^## ", card, flags=re.MULTILINE)[1:]
    assert [section.splitlines()[0] for section in sections] == HEADINGS
    assert all(len(section.split("\n", 1)[1].strip()) > 5 for section in sections)


def test_no_card_without_a_checkpoint():
    assert {path.stem for path in (CHECKPOINTS / "cards").glob("*.md")} <= {row["name"] for row in SHIPPED}


def test_the_defaults_stay_small():
    assert sum(path.stat().st_size for path in CHECKPOINTS.rglob("*") if path.is_file()) < 80e6


# --- the wheels ----------------------------------------------------------------------------------------------------


def test_requirements_admit_what_they_should():
    from packaging.requirements import Requirement

    lines = (ROOT / "requirements.txt").read_text().splitlines()
    wanted = {r.name: r for r in (Requirement(line.split("#")[0]) for line in lines if line.split("#")[0].strip())}
    assert [str(v) for v in ("2.9.1", "2.10.0", "2.11.0", "2.13.0", "2.13.1") if v in wanted["torch"].specifier] == [
        "2.10.0", "2.11.0", "2.13.0"]
    homes = {("x86_64", "Linux"): True, ("AMD64", "Windows"): True, ("arm64", "Darwin"): False,
             ("x86_64", "Darwin"): False, ("aarch64", "Linux"): False}
    for (machine, system), there in homes.items():
        place = {"platform_machine": machine, "platform_system": system}
        assert wanted["xformers"].marker.evaluate(place) is there, place
    assert "spaces" not in wanted
    ranges = {"torch", "nvidia-cuda-runtime-cu12"}
    assert all(str(r.specifier).startswith("==") for name, r in wanted.items() if name not in ranges)


def test_the_cuda_12_runtime_comes_along_where_xformers_needs_it():
    """torch 2.10 asks for exactly 12.8.90, so every torch in the range finds a runtime; none below, where xFormers is
    built with 12.8, and none without the cap that makes two installs the same."""
    from packaging.requirements import Requirement

    line = re.search(r"^nvidia-cuda-runtime-cu12.*$", (ROOT / "requirements.txt").read_text(), re.MULTILINE)[0]
    runtime = Requirement(line)
    assert [v for v in ("12.6.77", "12.8.90", "12.9.79", "12.9.80", "13.0.48") if v in runtime.specifier] == [
        "12.8.90", "12.9.79"]
    for machine, system, there in (("x86_64", "Linux", True), ("aarch64", "Linux", False), ("AMD64", "Windows", False),
                                   ("x86_64", "Darwin", False), ("arm64", "Darwin", False)):
        assert runtime.marker.evaluate({"platform_machine": machine, "platform_system": system}) is there
