"""Writing pictures: formats, depth, color profile, record, all or nothing."""

import io
import os
import zlib
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import tifffile
from PIL import Image, ImageCms

from jaxnst.images import (
    check_output,
    load_picture,
    read_record,
    save,
    save_picture,
    to_pil,
)
from jaxnst.images.color_profile import srgb_profile
from jaxnst.images.metadata import place_of_part


RECORD = {"jaxnst": "0", "settings": {"size": 32}, "note": 'ü → "quoted"'}
FORMATS = ["a.png", "a.jpg", "a.jpeg", "a.webp", "a.tif", "a.tiff", "a.PNG"]


@pytest.fixture
def alpha(content):
    return np.linspace(0, 1, content[..., 0].size, dtype=np.float32).reshape(40, 48)


@pytest.mark.parametrize("name", FORMATS)
def test_written_pictures_are_read_back(tmp_path, content, name):
    path = save_picture(tmp_path / name, content, record=RECORD)
    # The lossy ones halve the resolution of colors or round them.
    tolerance = 0.1 if path.suffix in (".jpg", ".jpeg", ".webp") else 0.5001 / 255
    assert np.abs(load_picture(path).rgb - content).max() <= tolerance
    assert read_record(path) == RECORD
    assert [entry.name for entry in tmp_path.iterdir()] == [name]


@pytest.mark.parametrize("name", FORMATS)
def test_srgb_is_embedded(tmp_path, content, name):
    with Image.open(save_picture(tmp_path / name, content)) as image:
        profile = image.info["icc_profile"]
    assert profile == srgb_profile()


def test_srgb_profile_is_a_profile_and_always_the_same():
    import io

    profile = ImageCms.ImageCmsProfile(io.BytesIO(srgb_profile()))
    assert "sRGB" in ImageCms.getProfileDescription(profile)
    # Little CMS stamps the time into bytes 24 to 35, in whole seconds.
    assert srgb_profile()[24:36] == bytes([7, 208, 0, 1, 0, 1, 0, 0, 0, 0, 0, 0])


@pytest.mark.parametrize("name", ["a.png", "a.tif", "a.webp"])
def test_alpha_is_written(tmp_path, content, alpha, name):
    path = save_picture(tmp_path / name, content, alpha, record=RECORD)
    with Image.open(path) as image:
        assert image.mode == "RGBA"
        written = np.asarray(image)[..., 3]
    np.testing.assert_array_equal(written, np.round(alpha * 255))
    assert read_record(path) == RECORD


def test_jpeg_lays_alpha_on_white(tmp_path, content):
    transparent = np.zeros((40, 48), np.float32)
    with pytest.warns(UserWarning, match=r"a\.jpg: JPEG has no transparency"):
        path = save_picture(tmp_path / "a.jpg", content, transparent)
    assert load_picture(path).rgb.min() > 0.98


@pytest.mark.parametrize("with_alpha", [False, True])
def test_sixteen_bits(tmp_path, content, alpha, with_alpha):
    given = alpha if with_alpha else None
    expected = np.dstack([content, alpha]) if with_alpha else content
    expected = np.round(expected * 65535).astype(np.uint16)
    path = save_picture(tmp_path / "a.tif", content, given, record=RECORD, bits=16)
    np.testing.assert_array_equal(tifffile.imread(path), expected)
    assert read_record(path) == RECORD
    path = save_picture(tmp_path / "a.png", content, given, record=RECORD, bits=16)
    np.testing.assert_array_equal(decode_png(path.read_bytes()), expected)
    assert read_record(path) == RECORD
    with Image.open(path) as image:
        image.verify()  # the checksums
    assert np.abs(load_picture(path).rgb[20:] - content[20:]).max() < 1 / 255


def decode_png(data):
    """Decode 16-bit color PNG whose rows all have filter 2, by the standard's words."""
    chunks, place = {}, 8
    while place < len(data):
        length = int.from_bytes(data[place : place + 4])
        chunks[data[place + 4 : place + 8]] = data[place + 8 : place + 8 + length]
        place += 12 + length
    width, height = np.frombuffer(chunks[b"IHDR"][:8], ">u4")
    rows = np.frombuffer(zlib.decompress(chunks[b"IDAT"]), np.uint8).reshape(height, -1)
    assert np.all(rows[:, 0] == 2)
    sums = np.cumsum(rows[:, 1:], axis=0, dtype=np.uint8)
    return sums.view(">u2").reshape(height, width, -1)


@pytest.mark.parametrize("with_alpha", [False, True])
def test_long_pictures_are_written_by_rows(tmp_path, monkeypatch, with_alpha):
    """65,535 px, in many strips and chunks; read by Pillow, with the record."""
    monkeypatch.setattr(save, "_LARGE", 10**6)
    monkeypatch.setattr(save, "_MAX_TIFF", 3 * 10**6)
    levels = (np.indices((65535, 16)).sum(0)[..., None] * [1, 3, 7, 1]) % 251
    levels = levels.astype(np.uint8)[..., : 4 if with_alpha else 3]
    rgb = levels[..., :3].astype(np.float32) / 255
    alpha = levels[..., 3].astype(np.float32) / 255 if with_alpha else None
    for name in ("a.png", "a.tif"):
        path = save_picture(tmp_path / name, rgb, alpha, record=RECORD)
        with Image.open(path) as image:
            assert image.info["icc_profile"] == srgb_profile()
            np.testing.assert_array_equal(np.asarray(image), levels)
        assert read_record(path) == RECORD
    with tifffile.TiffFile(tmp_path / "a.tif") as file:
        assert file.is_bigtiff
        assert len(file.pages.first.dataoffsets) > 10
        np.testing.assert_array_equal(file.pages.first.asarray(), levels)


@pytest.mark.parametrize("name", ["a.png", "a.tif"])
def test_writing_needs_few_bytes_beside_the_picture(tmp_path, monkeypatch, name):
    """A sixth of the picture's own array, and of a larger one no more."""
    import tracemalloc

    monkeypatch.setattr(save, "_LARGE", 0)
    rgb = np.zeros((2000, 4000, 3), np.float32)
    tracemalloc.start()
    save_picture(tmp_path / name, rgb)
    most = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert most < 60_000_000


def test_sides_that_a_format_cannot_hold_are_named(tmp_path):
    rgb = np.zeros((16, 65535, 3), np.float32)
    for name, most in (("a.jpg", 65500), ("a.webp", 16383)):
        message = f"cannot hold 65535 px a side, only {most}; use .png or .tif"
        with pytest.raises(ValueError, match=message):
            save_picture(tmp_path / name, rgb)
        with pytest.raises(ValueError, match=message):
            check_output(tmp_path / name, longest=65535)
        save_picture(tmp_path / name, rgb[:, :most])  # by the encoders' own word


def test_equal_pictures_are_equal_files(tmp_path, content):
    for name in ("a.png", "a.jpg", "a.webp", "a.tif"):
        first = save_picture(tmp_path / name, content, record=RECORD).read_bytes()
        assert (
            save_picture(tmp_path / name, content, record=RECORD).read_bytes() == first
        )


def test_a_failed_write_leaves_the_old_file(tmp_path, content, monkeypatch):
    path = save_picture(tmp_path / "a.png", content)
    before = path.read_bytes()

    def fail(stream, *_):
        stream.write(b"half")
        raise OSError("No space left on device")

    monkeypatch.setattr(save, "_write", fail)
    with pytest.raises(OSError, match="No space left"):
        save_picture(path, content * 0)
    assert path.read_bytes() == before
    assert len(list(tmp_path.iterdir())) == 1


@pytest.mark.parametrize("exists", [True, False])
def test_a_symbolic_link_stays_and_its_target_is_written(tmp_path, content, exists):
    (tmp_path / "elsewhere").mkdir()
    target, link = tmp_path / "elsewhere" / "target.png", tmp_path / "out.png"
    if exists:
        save_picture(target, content * 0)
    link.symlink_to(target)
    check_output(link)
    assert target.exists() == exists
    assert save_picture(link, content) == link
    assert link.is_symlink()
    assert not target.is_symlink()
    np.testing.assert_allclose(load_picture(target).rgb, content, atol=0.5001 / 255)
    assert len([*tmp_path.iterdir(), *target.parent.iterdir()]) == 3


def test_to_pil(content, alpha):
    image = to_pil(content)
    assert image.mode == "RGB"
    np.testing.assert_array_equal(np.asarray(image), np.round(content * 255))
    assert to_pil(content, alpha).mode == "RGBA"


def test_bad_outputs_are_named(tmp_path):
    with pytest.raises(IsADirectoryError, match="is a folder; give a file name"):
        check_output(tmp_path)
    with pytest.raises(ValueError, match=r"unknown extension '.gif'; known: .png"):
        check_output(tmp_path / "a.gif")
    with pytest.raises(ValueError, match=r"no extension; known: \.png"):
        check_output(tmp_path / "picture")
    with pytest.raises(FileNotFoundError, match="no such folder"):
        check_output(tmp_path / "none" / "a.png")
    with pytest.raises(ValueError, match="cannot hold 16 bits"):
        check_output(tmp_path / "a.jpg", bits=16)
    with pytest.raises(ValueError, match="must be 8 or 16, got 12"):
        check_output(tmp_path / "a.png", bits=12)


@pytest.mark.skipif(os.getuid() == 0, reason="root may write anywhere")
def test_a_folder_that_cannot_be_written(tmp_path):
    tmp_path.chmod(0o500)
    with pytest.raises(PermissionError, match="Permission denied"):
        check_output(tmp_path / "a.png")


def test_unwritable_output_is_named_before_anything_is_computed(tmp_path, monkeypatch):
    with pytest.raises(OSError, match=r"cannot be written: File name too long"):
        check_output(tmp_path / ("a" * 300 + ".png"))

    def refuse(*_):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("pathlib.Path.open", refuse)
    with pytest.raises(PermissionError, match="cannot be written: Permission denied"):
        check_output(tmp_path / "a.png")
    assert list(tmp_path.iterdir()) == []


def test_checking_an_output_changes_nothing(tmp_path, content):
    check_output(tmp_path / "new.png")
    assert list(tmp_path.iterdir()) == []
    path = save_picture(tmp_path / "old.png", content)
    before = path.read_bytes()
    check_output(path)
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


def test_pictures_without_a_record_are_named(tmp_path, files):
    with pytest.raises(ValueError, match="holds no jaxnst record"):
        read_record(files[0])
    with pytest.raises(FileNotFoundError, match="no such file"):
        read_record(tmp_path / "none.png")
    (tmp_path / "empty").mkdir()
    with pytest.raises(ValueError, match="is a folder without pictures"):
        read_record(tmp_path / "empty")
    (tmp_path / "a.png").write_text("text")
    with pytest.raises(ValueError, match="not a picture that can be read"):
        read_record(tmp_path / "a.png")
    image = Image.new("RGB", (32, 32))
    exif = Image.Exif()
    exif[0x010E] = "holiday"  # somebody's own description
    image.save(tmp_path / "b.jpg", exif=exif)
    with pytest.raises(ValueError, match="holds no jaxnst record"):
        read_record(tmp_path / "b.jpg")


def test_many_threads_write_into_one_folder(tmp_path, content):
    paths = [tmp_path / f"{index}.png" for index in range(24)]
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda path: save_picture(path, content), paths))
    assert len({path.read_bytes() for path in paths}) == 1
    assert sorted(tmp_path.iterdir()) == sorted(paths)


def test_a_record_too_long_for_a_jpeg_is_left_out(tmp_path):
    points = [[i, 0.5] for i in range(9000)]
    record = {"settings": {}, "over_time": {"strength": points}}
    rgb = np.zeros((8, 8, 3), np.float32)
    with pytest.warns(UserWarning, match="too long for a JPEG"):
        save_picture(tmp_path / "a.jpg", rgb, record=record)
    with pytest.raises(ValueError, match="holds no jaxnst record"):
        read_record(tmp_path / "a.jpg")
    save_picture(tmp_path / "a.png", rgb, record=record)
    assert read_record(tmp_path / "a.png") == record


def test_what_was_interrupted_is_never_written_over_what_was_finished(tmp_path):
    path, rgb = tmp_path / "a.png", np.zeros((8, 8, 3), np.float32)
    assert place_of_part(path) == path
    for stopped, place in ((None, "a.partial.png"), ("interrupted", "a.png")):
        result = {"height": 8, "width": 8, "steps": 1, "stopped": stopped}
        save_picture(path, rgb, record={"settings": {}, "result": result})
        assert place_of_part(path).name == place
    save_picture(path, rgb)  # of another program
    assert place_of_part(path).name == "a.partial.png"


def test_a_file_that_is_none_is_told(as_installed):
    with pytest.raises(TypeError, match="`output` must be text or a path, got"):
        save_picture(io.BytesIO(), np.zeros((8, 8, 3), np.float32))  # pyright: ignore


def test_a_folder_of_pictures_has_no_record_of_its_own(tmp_path):
    save_picture(tmp_path / "a.png", np.zeros((8, 8, 3), np.float32), record={})
    with pytest.raises(ValueError, match="folder of pictures, not of a clip; give one"):
        read_record(tmp_path)
