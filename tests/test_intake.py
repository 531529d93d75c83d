"""Pictures of a visitor: what is refused as a whole, what is left out one by one, and that nothing is unpacked."""

import io
import os
import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from core import photos
from core.errors import PhotoError, SettingsError
from core.systems.clusters import intake
from core.systems.clusters.intake import check_pictures, entries_in


@pytest.fixture(autouse=True)
def found(monkeypatch):
    """A face is wherever the picture is not black; its points are the template's."""
    def find(picture):
        if not np.asarray(picture).any():
            raise PhotoError("No face was found in this picture.", "Use another one.")
        return [photos.Face((0, 0, *picture.size), photos.TEMPLATE * (picture.width / photos.SIZE), 1.0, "hand")]

    monkeypatch.setattr(photos, "find", find)
    monkeypatch.setattr(photos, "is_aligned", lambda picture: picture.width == 130)


def picture(seed: int, size: int = 140) -> Image.Image:
    rough = np.random.default_rng(seed).integers(20, 256, (5, 5, 3), dtype=np.uint8)
    return Image.fromarray(rough).resize((size, size), Image.Resampling.BICUBIC)


def picture_bytes(seed: int) -> bytes:
    file = io.BytesIO()
    picture(seed).save(file, "PNG")
    return file.getvalue()


def png(folder: Path, name: str, image: Image.Image) -> Path:
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    image.save(path)
    return path


def archive(path: Path, files: dict[str, bytes], compression: int = zipfile.ZIP_STORED) -> Path:
    with zipfile.ZipFile(path, "w", compression) as packed:
        for name, content in files.items():
            packed.writestr(name, content)
    return path


def names_of(path) -> list[str]:
    return [entry.name for entry in entries_in(path)]


def problems(path, **settings) -> dict[str, str]:
    return {one.name: one.problem for one in check_pictures(entries_in(path), **settings)}


def test_a_folder_and_its_zip_hold_the_same(tmp_path):
    folder = tmp_path / "faces"
    for number in range(3):
        png(folder, f"{'b/' if number else ''}{number}.png", picture(number))
    for junk in (".DS_Store", "Thumbs.db", "__MACOSX/b.png", "b/._1.png"):
        (folder / junk).parent.mkdir(exist_ok=True)
        (folder / junk).write_bytes(b"junk")
    packed = archive(tmp_path / "faces.zip", {path.relative_to(folder).as_posix(): path.read_bytes()
                                              for path in folder.rglob("*") if path.is_file()})
    assert names_of(folder) == names_of(packed) == ["0.png", "b/1.png", "b/2.png"]
    for one, other in zip(check_pictures(entries_in(folder)), check_pictures(entries_in(packed)), strict=True):
        assert one.face.shape == (128, 128, 3) and np.array_equal(one.face, other.face) and one.problem == ""
    assert sorted(tmp_path.iterdir()) == [folder, packed]       # nothing was unpacked


def test_what_is_no_picture_of_a_face_is_left_out_with_a_sentence(tmp_path):
    folder = tmp_path / "faces"
    png(folder, "1.png", picture(1))
    png(folder, "2-again.png", picture(1))
    png(folder, "3-jpeg.png", picture(1)).rename(folder / "3.png")
    picture(1).save(folder / "4.jpg", quality=92)
    png(folder, "5-black.png", Image.new("RGB", (90, 90)))
    (folder / "6.png").write_text("hello")
    (folder / "6.txt").write_text("hello")       # another kind of file
    (folder / "7.png").write_bytes((folder / "1.png").read_bytes()[:200])
    (folder / "8.png").write_bytes(archive(tmp_path / "inner.zip", {"a.png": b"x"}).read_bytes())
    png(folder, "9.png", picture(9, 130))
    found = problems(folder)
    assert [name for name, problem in found.items() if not problem] == ["1.png", "9.png"]
    assert found["2-again.png"] == "This is the same file as 1.png." == found["3.png"]
    assert found["4.jpg"] == "This is the same picture as 1.png."
    assert found["5-black.png"].startswith("No face was found")
    assert "not a picture" in found["6.png"] and "not a picture" in found["8.png"] and "damaged" in found["7.png"]
    assert "6.txt" not in found


def test_pictures_can_be_taken_as_they_are(tmp_path):
    png(tmp_path, "faces/wide.png", picture(3).resize((300, 100)))
    png(tmp_path, "faces/black.png", Image.new("RGB", (90, 90)))
    checked = [*check_pictures(entries_in(tmp_path / "faces"), aligned=True)]
    assert [one.face.shape for one in checked] == [(128, 128, 3)] * 2


@pytest.mark.parametrize("name", ["../up.png", "a/../../up.png", "/etc/up.png", "C:\\up.png", "..\\up.png",
                                  "\\\\host\\up.png"])
def test_a_path_that_climbs_out_is_refused(tmp_path, name):
    packed = archive(tmp_path / "x.zip", {"fine.png": b"x", name: b"x"})
    with pytest.raises(SettingsError, match="path outside itself"):
        entries_in(packed)
    assert [*tmp_path.iterdir()] == [packed]


def test_an_archive_that_unpacks_to_far_more_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(intake, "RATIO_FROM_MB", 1)
    packed = archive(tmp_path / "bomb.zip", {"a.png": bytes(2 << 20)}, zipfile.ZIP_DEFLATED)
    assert packed.stat().st_size < 10_000
    with pytest.raises(SettingsError, match="unpacks to more than 100 times"):
        entries_in(packed)
    monkeypatch.setattr(intake, "RATIO_FROM_MB", 64)
    monkeypatch.setattr(intake, "MAX_TOTAL_MB", 3)
    with pytest.raises(SettingsError, match="unpacks to more than 3 MB"):
        entries_in(archive(tmp_path / "sum.zip", {f"{n}.png": bytes(1 << 20) for n in range(4)}, zipfile.ZIP_DEFLATED))


def test_an_entry_that_lies_about_its_size_is_cut_off(tmp_path, monkeypatch):
    """What the table of contents says is not trusted: no more is unpacked than it says, nor than is allowed."""
    monkeypatch.setattr(intake, "MAX_PICTURE_MB", 1)
    packed = archive(tmp_path / "lie.zip", {"a.png": bytes(3 << 20)}, zipfile.ZIP_DEFLATED)
    assert problems(packed)["a.png"].startswith("a.png is larger than 1 MB.")
    content = packed.read_bytes()
    packed.write_bytes(content.replace((3 << 20).to_bytes(4, "little"), (1000).to_bytes(4, "little")))
    assert problems(packed)["a.png"].startswith("This file is damaged.")


def test_too_many_files_are_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(intake, "MAX_PICTURES", 3)
    packed = archive(tmp_path / "many.zip", {f"{number}.png": b"x" for number in range(4)})
    with pytest.raises(SettingsError, match="holds 4 pictures, and 3 is the most"):
        entries_in(packed)
    monkeypatch.setattr(intake, "MAX_ENTRIES", 3)
    for number in range(4):
        png(tmp_path, f"faces/{number}.png", picture(number, 8))
    folders = archive(tmp_path / "folders.zip", {f"{number}/": b"" for number in range(4)} | {"1.png": b"x"})
    for path in (packed, tmp_path / "faces", folders):
        with pytest.raises(SettingsError, match="more than 3 files"):
            entries_in(path)


def test_a_damaged_entry_costs_only_itself(tmp_path):
    packed = archive(tmp_path / "faces.zip", {"a.png": picture_bytes(1), "b.png": picture_bytes(2)}, zipfile.ZIP_LZMA)
    content = bytearray(packed.read_bytes())
    start = content.index(b"b.png") + len("b.png")
    content[start:start + 9] = b"\xff" * 9
    packed.write_bytes(content)
    found = problems(packed)
    assert found["a.png"] == "" and found["b.png"].startswith("This file is damaged.")


def test_what_is_no_archive_is_refused_in_a_sentence(tmp_path):
    (tmp_path / "empty").mkdir()
    (tmp_path / "text.zip").write_text("no archive")
    cut = archive(tmp_path / "cut.zip", {"a.png": bytes(5000)})
    cut.write_bytes(cut.read_bytes()[:-30])
    for path in (tmp_path / "empty", tmp_path / "text.zip", tmp_path / "missing", cut, "a\0b"):
        with pytest.raises(SettingsError, match="images can't be"):
            entries_in(path)


def test_an_encrypted_archive_is_refused(tmp_path):
    packed = archive(tmp_path / "secret.zip", {"a.png": b"x"})
    content = bytearray(packed.read_bytes())
    content[content.index(b"PK\x01\x02") + 8] |= 1
    packed.write_bytes(content)
    with pytest.raises(SettingsError, match="encrypted"):
        entries_in(packed)


@pytest.mark.skipif(not hasattr(os, "symlink"), reason="no links here")
def test_a_link_out_of_the_folder_is_not_followed(tmp_path):
    outside = png(tmp_path, "outside.png", picture(1))
    png(tmp_path, "faces/in.png", picture(2))
    os.symlink(outside, tmp_path / "faces" / "link.png")
    assert names_of(tmp_path / "faces") == ["in.png"]
