"""Checkpoints by name: found, checked, loaded strictly, saved; the command line; what the project ships."""

import hashlib
import json
import re
import subprocess
import sys
import time
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from dataclasses import replace
from multiprocessing import get_context
from pathlib import Path

import hub_place
import pytest
import torch
from hub_place import DATA, ROOT, Toy, edit, seeded, ship
from safetensors.torch import load_file, safe_open
from safetensors.torch import save as save_tensors
from torch import nn

from core import hub, models
from core.commands import hub as commands
from core.errors import CheckpointError, FacetError, SettingsError
from core.hub import files, manifest
from core.hub.manifest import Row

the_server, server, place = hub_place.the_server, hub_place.server, hub_place.place     # the fixtures


# --- shipped files

def test_a_shipped_network_comes_back(place):
    ship()
    network, x = hub.load("toy-tiny", "cpu"), torch.randn(3, 4)
    assert not network.training
    assert not any(parameter.requires_grad for parameter in network.parameters())
    assert network.inner.weight.dtype == torch.float32
    torch.testing.assert_close(network(x), seeded().eval()(x), rtol=1e-2, atol=2e-3)
    assert network.order.tolist() == [0, 1, 2, 3]


def test_it_is_loaded_and_hashed_once(place, monkeypatch):
    read, digest = [], hashlib.file_digest
    monkeypatch.setattr(files.hashlib, "file_digest", lambda *args: (read.append(1), digest(*args))[1])
    ship()
    first = hub.load("toy-tiny", "cpu")
    hub.file("toy-tiny")
    assert hub.load("toy-tiny", torch.device("cpu")) is first
    assert len(read) == 1


def test_many_visitors_share_one_network(place, monkeypatch):
    ship()
    built = []
    slow = hub.weights.fit
    monkeypatch.setattr(hub.weights, "fit", lambda *args: (built.append(1), time.sleep(0.1), slow(*args))[2])
    with ThreadPoolExecutor(8) as pool:
        networks = set(pool.map(lambda _: hub.load("toy-tiny", "cpu"), range(8)))
    assert len(networks) == len(built) == 1


def test_a_new_version_replaces_the_loaded_one(place):
    ship()
    old = hub.load("toy-tiny", "cpu")
    ship()
    assert hub.load("toy-tiny", "cpu") is not old
    assert [row.name for row in hub.rows()] == ["plain", "toy-tiny"]


@pytest.mark.parametrize(("damage", "said"), [
    (lambda path: path.unlink(), "is missing"),
    (lambda path: path.write_bytes(path.read_bytes()[:-7]), "bytes instead of"),
    (lambda path: path.write_bytes(path.read_bytes()[:-1] + b"\x7f"), "expected sha256"),
])
def test_a_damaged_shipped_file(place, damage, said):
    damage(ship())
    with pytest.raises(CheckpointError, match=said) as caught:
        hub.load("toy-tiny", "cpu")
    assert "git restore -- checkpoints/toy-tiny.safetensors" in caught.value.next_step


def test_a_file_that_fits_its_row_but_is_no_safetensors(place):
    path = ship()
    path.write_bytes(b"\x10" * 100)
    edit("toy-tiny", sha256=None, bytes=None)
    with pytest.raises(CheckpointError, match="no safetensors file"):
        hub.load("toy-tiny", "cpu")


def test_a_git_lfs_pointer_is_recognised(place):
    path = ship()
    path.write_text(f"version https://git-lfs.github.com/spec/v1\noid sha256:{64 * 'a'}\nsize 1234\n")
    for use in (lambda: hub.load("toy-tiny", "cpu"), lambda: hub.opened(path, "toy")):
        with pytest.raises(CheckpointError, match="Git LFS pointer") as caught:
            use()
        assert "git lfs pull" in caught.value.next_step


def test_an_unknown_name_lists_the_known_ones(place):
    ship()
    with pytest.raises(CheckpointError, match=r"(?s)'toy-tinny'.*Did you mean toy-tiny\?.*plain, toy-tiny"):
        hub.load("toy-tinny")


def test_a_plain_file_is_no_network(place):
    with pytest.raises(CheckpointError, match=r"(?s)plain file.*hub\.file\('plain'\)"):
        hub.load("plain")


@pytest.mark.parametrize("text", ["", "[]", '{"checkpoints": [{"name": "x"}]}', '{"checkpoints": [{"nome": "x"}]}'])
def test_a_broken_manifest(place, text):
    (manifest.CHECKPOINTS / "manifest.json").write_text(text)
    with pytest.raises(CheckpointError, match=r"git restore -- checkpoints/manifest\.json"):
        hub.rows()


# --- onto networks

@pytest.mark.parametrize(("change", "said"), [
    (lambda state: state.pop("inner.bias"), "missing inner.bias"),
    (lambda state: state.update(extra=torch.zeros(1)), "unexpected extra"),
    (lambda state: state.update({"inner.bias": torch.zeros(5)}), "of another shape inner.bias"),
])
def test_weights_that_do_not_fit(place, change, said):
    state = seeded().state_dict()
    change(state)
    with pytest.raises(CheckpointError, match=f"those of toy small: {said}"):
        hub.from_published("toy", state, "small")


def test_two_keys_with_one_name_are_refused(place):
    state = seeded().state_dict()
    state["body.weight"] = state["inner.weight"] + 1
    with pytest.raises(CheckpointError, match=r"twice, as inner\.weight and as body\.weight"):
        hub.from_published("toy", state, "small")


def test_the_state_dict_is_left_as_it_was(place):
    state = {f"module.{key}": value for key, value in seeded().state_dict().items()}
    before = dict(state)
    hub.from_published("toy", state, "small")
    assert state.keys() == before.keys()
    assert all(state[key] is before[key] for key in state)


def test_a_buffer_left_on_meta_is_noticed(place, monkeypatch):
    class Forgetful(Toy):
        def __init__(self, config):
            super().__init__(config)
            self.register_buffer("table", torch.ones(3), persistent=False)

    monkeypatch.setattr(sys.modules["core.models.toy"], "Toy", Forgetful)
    with pytest.raises(CheckpointError, match="no value for table"):
        hub.from_published("toy", seeded().state_dict(), "small")


def test_half_precision_becomes_float32(place):
    state = {key: value.half() if value.is_floating_point() else value for key, value in seeded().state_dict().items()}
    assert {value.dtype for value in hub.from_published("toy", state, "small").parameters()} == {torch.float32}


@pytest.mark.parametrize(("network", "preset"), [("toy", "huge"), ("tyo", "small")])
def test_an_unknown_network_or_preset(place, network, preset):
    with pytest.raises(SettingsError, match="Choose from"):
        hub.from_published(network, {}, preset)


# --- saving

def test_what_is_written(place):
    path = ship()
    with safe_open(path, "pt") as stream:
        facts = stream.metadata()
    assert facts == {"format": "pt", "name": "toy-tiny", "network": "toy", "preset": "small", "recipe": "none",
                     "about": "a toy", "licence": "Apache-2.0"}
    tensors = load_file(path)
    assert tensors["inner.weight"].dtype == torch.float16
    assert tensors["norm.running_var"].dtype == torch.float32
    row = hub.row("toy-tiny")
    assert (row.file, row.bytes, row.origin) == (path.name, path.stat().st_size, "shipped")
    assert {entry.name for entry in path.parent.iterdir()} == {path.name, "manifest.json"}


def test_a_tied_channels_last_network_with_a_large_weight(place):
    network = nn.ModuleDict({"a": nn.Conv2d(3, 3, 3), "b": nn.Conv2d(3, 3, 3)}).to(memory_format=torch.channels_last)
    network["b"].weight = network["a"].weight
    network["a"].bias.data[0] = 1e6
    path = hub.save(network, "odd", network="toy", preset="small", recipe="", about="", folder=place / "out")
    tensors = load_file(path)
    torch.testing.assert_close(tensors["b.weight"].float(), network["a"].weight.data, rtol=1e-3, atol=1e-4)
    assert tensors["a.bias"][0] == 1e6
    assert manifest.rows(place / "out")[0].name == "odd"


def test_large_weights_are_packed_into_8_bits(place):
    """Each number moves by less than 1/254 of the largest of its output; small ones stay in half precision."""
    network = models.build("judge", "tiny-check").eval()
    large = next(key for key, value in network.named_parameters() if value.ndim == 4 and value.numel() >= 4096)
    network.get_parameter(large).data[0] *= 1e-6
    network.get_parameter(large).data[1] = 0
    path = hub.save(network, "small", network="judge", preset="tiny-check", recipe="", about="", bits=8)
    stored, state = load_file(path), network.state_dict()
    assert stored[large].dtype == torch.int8 and path.stat().st_size < 0.55 * 2 * sum(
        value.numel() for value in network.parameters())
    loaded = hub.load("small", "cpu").state_dict()
    assert loaded.keys() == state.keys()
    for key, value in state.items():
        if stored[key].dtype == torch.int8:
            largest = value.flatten(1).abs().amax(1)
            moved = (loaded[key] - value).flatten(1).abs().amax(1)
            assert (moved <= largest / 253).all() and moved.max() > 0
        else:
            torch.testing.assert_close(loaded[key].float(), value.float(), rtol=1e-3, atol=1e-6)


def test_a_packed_weight_without_its_scale_is_refused(place):
    network = models.build("judge", "tiny-check").eval()
    path = hub.save(network, "small", network="judge", preset="tiny-check", recipe="", about="", bits=8)
    state = load_file(path)
    lost = next(key for key in state if key.endswith(".scale"))
    without = {key: value for key, value in state.items() if key != lost}
    for wrong in ({}, {lost: state[lost][:1]}, {lost: state[lost] * float("nan")}):
        with pytest.raises(CheckpointError, match=re.escape(lost.removesuffix(".scale")) + ".*8 bits"):
            hub.from_published("judge", without | wrong, "tiny-check")


def test_a_diverged_network_is_not_saved(place):
    network = seeded()
    network.inner.bias.data[1] = float("nan")
    with pytest.raises(CheckpointError, match=r"inner\.bias.*not finite"):
        hub.save(network, "bad", network="toy", preset="small", recipe="", about="")
    assert not (manifest.CHECKPOINTS / "bad.safetensors").exists()
    assert "bad" not in {row.name for row in hub.rows()}


def test_rows_put_at_once_are_all_there(place):
    names = [f"row-{number:02}" for number in range(16)]
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda name: manifest.put(Row(name, name), manifest.CHECKPOINTS), names))
    assert sorted(row.name for row in hub.rows()) == ["plain", *names]


# --- as a repository

def test_a_checkpoint_travels_as_a_repository(place, server):
    ship()
    (manifest.CHECKPOINTS / "cards").mkdir()
    (manifest.CHECKPOINTS / "cards" / "toy-tiny.md").write_text("# Toy\n")
    hub.portable("toy-tiny").save_pretrained(place / "out")
    text = (place / "out" / "README.md").read_text()
    assert "license: apache-2.0" in text
    assert text.endswith("# Toy\n")
    for path in (place / "out").iterdir():
        server.put("you/toy", path.name, path.read_bytes())
    from core.hub.repository import Portable

    back, x = Portable.from_pretrained("you/toy"), torch.randn(3, 4)
    assert not back.training
    torch.testing.assert_close(back(x), hub.load("toy-tiny", "cpu")(x))
    server.commit = 40 * "b"
    server.put("you/toy", "model.safetensors", save_tensors({"network.inner.bias": torch.zeros(4)}))
    with pytest.raises(RuntimeError, match=r"network\.inner\.weight"):
        Portable.from_pretrained("you/toy")


def test_what_others_published_is_not_pushed_again(place):
    with pytest.raises(CheckpointError, match=r"(?s)published by others.*huggingface\.co/someone/things"):
        hub.portable("plain")


# --- the command line

def test_terms_are_shown_and_must_be_agreed_to(place, server, capsys):
    edit("plain", agreement="Research only.", licence="non-commercial")
    with pytest.raises(CheckpointError, match=r"(?s)Research only\..*fetch plain --yes-i-agree"):
        commands.fetch(["plain"])
    assert server.log == []
    assert "licence: non-commercial" in capsys.readouterr().err
    commands.fetch(["plain"], yes=True)
    assert "verified" in capsys.readouterr().out
    assert hub.file("plain")                            # here now: the Hub is not asked again


def test_fetch_mends_a_damaged_copy(place, server):
    path = hub.file("plain")
    path.resolve().write_bytes(b"x" * len(DATA))
    with pytest.raises(CheckpointError, match="python -m core fetch plain"):
        hub.file("plain")
    commands.fetch(["plain"])
    assert hub.file("plain").read_bytes() == DATA


def test_a_file_put_there_by_hand(place, server):
    (manifest.CHECKPOINTS / "plain.bin").write_bytes(DATA)
    assert hub.file("plain") == manifest.CHECKPOINTS / "plain.bin"
    (manifest.CHECKPOINTS / "plain.bin").write_bytes(DATA[1:])
    with pytest.raises(CheckpointError, match=r"(?s)bytes instead of.*Remove .*plain\.bin, then:"):
        hub.file("plain")
    assert server.log == []


def test_fetch_needs_a_known_name_before_it_fetches_anything(place, server):
    with pytest.raises(CheckpointError, match="fetch plain"):
        commands.fetch([])
    with pytest.raises(CheckpointError, match="no checkpoint called 'plane'"):
        commands.fetch(["plain", "plane"])
    assert server.log == []


def test_list_says_where_things_are(place, capsys):
    ship()
    commands.list_()
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split()[:5] == ["plain", "on", "Hub", "1.0", "MB"]
    assert lines[2].split()[:2] == ["toy-tiny", "here"]
    hub.file("plain")
    commands.list_()
    assert capsys.readouterr().out.split()[:2] == ["plain", "cached"]


def test_verify(place, capsys):
    path = ship()
    commands.verify()
    assert [line.split(maxsplit=1) for line in capsys.readouterr().out.splitlines()] == [
        ["plain", "not fetched"], ["toy-tiny", "ok"]]
    (path.parent / "stray.safetensors").write_bytes(b"")
    path.write_bytes(b"x" + path.read_bytes()[1:])
    with pytest.raises(Exception) as caught:        # noqa: PT011 (typer.Exit has its own code)
        commands.verify()
    assert caught.value.exit_code == 1
    out = capsys.readouterr().out
    assert "expected sha256" in out
    assert "stray.safetensors" in out


def test_verify_knows_what_was_put_there_by_hand(place, capsys):
    manifest.put(replace(hub.row("plain"), name="big", file="unet/model.safetensors"), manifest.CHECKPOINTS)
    by_hand = hub.row("big").shipped                # where the sentence about a lost connection says it may be put
    by_hand.write_bytes(DATA)
    commands.verify()
    assert by_hand.name == "big.safetensors"
    assert capsys.readouterr().out.split() == ["plain", "not", "fetched", "big", "ok"]


def test_the_command_line_ends_in_one_sentence(place):
    run = subprocess.run([sys.executable, "-m", "core", "fetch", "unknown"], cwd=ROOT, capture_output=True, text=True)
    assert run.returncode == 1
    assert run.stderr.startswith("CheckpointError: There is no checkpoint called 'unknown'")
    assert "Traceback" not in run.stderr


# --- files that only their holders have

def held(place, name: str = "toy", **changes) -> Path:
    """A published pickle on this machine, and the row that it is imported for."""
    path = place / "downloads" / "toy.pth.tar"
    path.parent.mkdir(exist_ok=True)
    state = {f"module.body.{key.removeprefix('inner.')}" if key.startswith("inner.") else f"module.{key}": value
             for key, value in seeded().state_dict().items()}
    torch.save({"epoch": 3, "weights": state}, path)
    row = Row(name, f"toy-{files.sha256(path)[:8]}.pth.tar", "toy", "small", "imported", wrapper_key="weights",
              licence="MIT", about="held by few")
    manifest.put(replace(row, **changes), manifest.CHECKPOINTS)
    return path


def test_a_held_file_is_imported(place):
    path, x = held(place), torch.randn(3, 4)
    assert hub.place(hub.row("toy")) is None
    for get in (hub.file, hub.load, hub.fetch):
        with pytest.raises(CheckpointError, match="can't be fetched") as error:
            get("toy")
        assert "import toy FILE" in error.value.next_step
    commands.import_("toy", path)
    assert hub.file("toy").is_relative_to(files.cache_dir()) and hub.place(hub.row("toy")) == hub.file("toy")
    torch.testing.assert_close(hub.load("toy", "cpu")(x), seeded().eval()(x))


def test_another_file_is_not_imported(place):
    path = held(place, file="toy-00000000.pth.tar")
    with pytest.raises(CheckpointError, match="SHA-256 begins with"):
        hub.import_file("toy", path)
    with pytest.raises(CheckpointError, match="is no file"):
        hub.import_file("toy", place / "missing")
    held(place, file="toy.pth.tar", wrapper_key="teacher")
    with pytest.raises(CheckpointError, match="has no 'teacher'"):
        hub.import_file("toy", path)
    torch.save({"weights": {"inner.weight": torch.zeros(4, 4)}}, path)
    edit("toy", wrapper_key="weights")
    with pytest.raises(CheckpointError, match="missing"):
        hub.import_file("toy", path)
    with pytest.raises(CheckpointError, match="not imported from a file"):
        hub.import_file("plain", path)
    assert hub.place(hub.row("toy")) is None


def test_listing_and_verifying_know_files_to_import(place, capsys):
    path = held(place)
    commands.list_()
    commands.verify()
    assert "to import" in capsys.readouterr().out
    hub.import_file("toy", path)
    commands.verify()
    assert "ok" in capsys.readouterr().out.split("toy", 1)[1]


# --- what the project really ships

PUBLISHED = {
    "vec2face-base": "03aa57b408d5ce946bf1f7fc4713fb945bd7beab4f377611bffd6f7257cdffce",
    "arcface-r100": "2820bafd66fcfa23891b7297368376266930bf19b09336b3053fd44e8300f6d6",
    "magface-r100": "254f0b55b9e25786e476c18ca43e4b2ed836c4baf364403bd9719ccc7e23df83",
}


def test_the_published_rows():
    rows = {row.name: row for row in hub.rows()}
    assert {name: rows[name].sha256 for name in PUBLISHED} == PUBLISHED
    for row in rows.values():
        if row.network:
            assert row.preset in models.NETWORKS[row.network].presets
        assert row.licence
        assert row.about
        if row.origin == "hub":
            assert row.revision and (row.bytes or row.rounded_bytes)
            assert row.sha256 or row.name == "hsface-20k"       # its hash is not published
        if "non-commercial" in row.licence:
            assert "non-commercial" in row.agreement


@pytest.mark.parametrize("row", [row for row in hub.rows() if row.origin == "shipped"], ids=lambda row: row.name)
def test_every_shipped_file_is_the_one_its_row_describes(row):
    assert row.sha256
    assert row.bytes
    assert hub.file(row.name) == manifest.CHECKPOINTS / row.file
    assert row.network is None or hub.load(row.name, "cpu")


def test_importing_the_hub_is_cheap():
    code = "import sys, core.commands.hub; print({'torch', 'safetensors', 'huggingface_hub'} & set(sys.modules))"
    assert subprocess.check_output([sys.executable, "-c", code], cwd=ROOT, text=True).strip() == "set()"


def test_errors_keep_sentence_and_step():
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as other:
        error = other.submit(CheckpointError, "It is gone", "fetch it").result()
    assert (error.message, error.next_step, str(error)) == ("It is gone", "fetch it", "It is gone\n  fetch it")
    assert isinstance(error, FacetError)


def test_a_device_that_is_not_there(monkeypatch):
    monkeypatch.setattr(hub, "_chosen", None)
    with pytest.raises(SettingsError, match="no device called 'abacus'"):
        hub.set_device("abacus")
    hub.set_device("cpu")
    assert hub.default_device() == "cpu"


def test_a_manifest_is_plain_json(place):
    ship()
    rows = json.loads((manifest.CHECKPOINTS / "manifest.json").read_text())["checkpoints"]
    assert set(rows[1]) == {"name", "file", "network", "preset", "origin", "repo", "revision", "wrapper_key", "sha256",
                            "bytes", "licence", "recipe", "about"}
