"""Pictures on disk: folders and tables of any sizes and kinds become one pool, or one clear line says why not."""

import os
import struct
import zlib
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from mcal_jax.data import cache, describe, from_arrays, load
from mcal_jax.data.decode import SUFFIXES, read_pixels
from mcal_jax.data.pictures import from_folder, from_table
from mcal_jax.errors import McalError


def save(path, array, **how):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(array).save(path, **how)


def grey(height, width, level=100):
    return np.full((height, width), level, np.uint8)


def test_class_folders_are_labels_and_small_pictures_of_one_size_keep_it(tmp_path):
    for name, level in (("cat/b.png", 20), ("cat/a.png", 10), ("dog/c.png", 30)):
        save(tmp_path / name, grey(20, 30, level))
    pool = from_folder(tmp_path)
    assert pool.files == ("cat/a.png", "cat/b.png", "dog/c.png")
    assert (pool.classes, pool.labels.tolist()) == (("cat", "dog"), [0, 0, 1])
    assert pool.images.shape == (3, 20, 30, 1)
    assert pool.images[:, 0, 0, 0].tolist() == [10, 20, 30]
    assert pool.notes == ()


def test_floats_from_0_to_1_are_shades_of_grey(tmp_path):
    levels = np.linspace(0, 1, 64, dtype=np.float32).reshape(8, 8)
    levels[0, 0] = np.nan  # no value: black
    save(tmp_path / "a.tif", levels)
    pixels = from_folder(tmp_path).images[0, :, :, 0]
    assert (pixels[0, 0], pixels[4, 0], pixels[-1, -1]) == (0, round(255 * 32 / 63), 255)


def test_hidden_files_are_no_pictures_and_hidden_folders_no_classes(tmp_path):
    for name in ("cat/a.png", "dog/b.png", ".ipynb_checkpoints/a-checkpoint.png", "cat/.thumbnails/a.png"):
        save(tmp_path / name, grey(8, 8))
    (tmp_path / "dog" / "._b.png").write_bytes(b"what macOS puts beside a file")
    pool = from_folder(tmp_path)
    assert (pool.files, pool.classes) == (("cat/a.png", "dog/b.png"), ("cat", "dog"))


def test_links_to_folders_are_told_and_a_link_to_nothing_is_an_error(tmp_path):
    save(tmp_path / "pool" / "cat" / "a.png", grey(8, 8))
    save(tmp_path / "elsewhere" / "b.png", grey(8, 8))
    (tmp_path / "pool" / "dog").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "pool" / "cat" / "loop").symlink_to("..")
    pool = from_folder(tmp_path / "pool")
    assert pool.files == ("cat/a.png",)
    assert pool.notes[0].endswith("2 links to folders are not followed, such as cat/loop, dog")
    (tmp_path / "pool" / "cat" / "gone.png").symlink_to("not-there.png")
    with pytest.raises(McalError, match=r"gone.png' cannot be read"):
        from_folder(tmp_path / "pool")


def test_pictures_without_class_folders_have_no_labels(tmp_path):
    for name in ("a.png", "below/b.jpg"):
        save(tmp_path / name, grey(8, 8))
    pool = from_folder(tmp_path, classes=["cat", "dog"])
    assert pool.labels is None
    assert pool.classes == ("cat", "dog")


def test_every_kind_of_picture_becomes_one_size_in_colour(tmp_path):
    save(tmp_path / "grey.png", grey(40, 80))
    save(tmp_path / "deep.png", np.full((40, 40), 257 * 100, np.uint16))
    save(tmp_path / "clear.png", np.zeros((50, 50, 4), np.uint8))  # wholly transparent: white
    red = np.zeros((90, 60, 3), np.uint8)
    red[..., 0] = 200
    save(tmp_path / "red.png", red)
    pool = from_folder(tmp_path)
    assert pool.images.shape == (4, 32, 32, 3)
    colour = dict(zip(pool.files, pool.images[:, 16, 16].tolist(), strict=True))
    assert colour["clear.png"] == [255, 255, 255]
    assert colour["deep.png"] == colour["grey.png"] == [100, 100, 100]
    assert colour["red.png"] == [200, 0, 0]
    assert "4 sizes, 40x40 to 80x40 pixels, scaled to 32x32" in pool.notes[0]


def test_exif_turns_a_picture(tmp_path):
    half = np.zeros((32, 64), np.uint8)
    half[:, :32] = 255  # white on the left
    exif = Image.Exif()
    exif[274] = 6  # to be turned clockwise: white on top
    save(tmp_path / "photo.jpg", half, exif=exif, quality=95)
    (picture,) = from_folder(tmp_path).images
    assert picture.shape == (64, 32, 1)
    assert picture[:20].mean() > 250 > 5 > picture[-20:].mean()


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_every_format_is_read(tmp_path, suffix):
    save(tmp_path / f"a{suffix}", grey(16, 16))
    assert abs(int(from_folder(tmp_path).images[0, 8, 8, 0]) - 100) <= 2


@pytest.mark.parametrize("suffix", ["csv", "jsonl", "tsv"])
def test_a_table_names_files_and_labels_in_its_order(tmp_path, suffix):
    for name in ("b.png", "a.png"):
        save(tmp_path / name, grey(8, 8, ord(name[0])))
    rows = pd.DataFrame({"file": ["b.png", "a.png"], "label": ["dog", "cat"]})
    path = tmp_path / f"pool.{suffix}"
    if suffix == "jsonl":
        rows.to_json(path, orient="records", lines=True)
    else:
        rows.to_csv(path, index=False, sep="," if suffix == "csv" else "\t")
    pool = from_table(path)
    assert pool.files == ("b.png", "a.png")
    assert pool.images[:, 0, 0, 0].tolist() == [ord("b"), ord("a")]
    assert [pool.classes[k] for k in pool.labels] == ["dog", "cat"]


def test_what_cannot_be_read_is_told_in_a_line(tmp_path):
    with pytest.raises(McalError, match="no folder"):
        from_folder(tmp_path / "nowhere")
    with pytest.raises(McalError, match="no pictures in"):
        from_folder(tmp_path)
    save(tmp_path / "a.png", grey(8, 8))
    (tmp_path / "b.png").write_bytes((tmp_path / "a.png").read_bytes()[:40])
    with pytest.raises(McalError, match=r"picture '.*b.png' cannot be read"):
        from_folder(tmp_path)
    table = tmp_path / "pool.csv"
    for text, says in (
        ("name\na.png\n", "no column of files: call it 'file'; it has name"),
        ("file\na.png\na.png\n", "more than once, such as a.png"),
        ("file\nz.png\n", r"picture '.*z.png' cannot be read: .*No such file"),
        ("file\n../pool.csv\n", "it leads out of"),
        ("file\na.png\n./a.png\n", "names 1 files more than once, such as ./a.png"),
        ("file,label\na.png,cat\n,dog\n", "1 of 2 rows name no file"),
        ("file,label\na.png,cat,1\n", "cannot be read as a table"),
        ("file\n", "has no rows"),
    ):
        table.write_text(text)
        with pytest.raises(McalError, match=says):
            from_table(table)


def test_labels_may_be_known_in_part(tmp_path):
    for i, name in enumerate(("a.png", "b.png", "c.png")):
        save(tmp_path / name, grey(8, 8, i))
    (tmp_path / "pool.csv").write_text("file,label\na.png,dog\nb.png,\nc.png,cat\n")
    pool = from_table(tmp_path / "pool.csv", classes=["cat", "dog"])
    assert (pool.labels, pool.given.tolist()) == (None, [1, -1, 0])
    (tmp_path / "pool.csv").write_text("file,label\na.png,1\nb.png,\nc.png,0\n")
    assert from_table(tmp_path / "pool.csv", classes=["cat", "dog"]).given.tolist() == [1, -1, 0]
    (tmp_path / "pool.csv").write_text("file,label\na.png,None\nb.png,\nc.png,NA\n")
    pool = from_table(tmp_path / "pool.csv")  # names of classes, whatever they look like
    assert (pool.classes, pool.given.tolist()) == (("NA", "None"), [1, -1, 0])
    (tmp_path / "pool.csv").write_text("file,label\na.png,cow\nb.png,\n")
    with pytest.raises(McalError, match="'cow', which is none of its 2 classes"):
        from_table(tmp_path / "pool.csv", classes=["cat", "dog"])


@pytest.mark.parametrize(
    ("classes", "labels", "given"),
    [
        (["true", "false"], ["true", "false", "true"], [0, 1, 0]),
        (["1", "2", "3"], ["1", "2", "1"], [0, 1, 0]),  # names, though they look like numbers
        (["1", "2", "3"], ["0", "2", "1"], [0, 2, 1]),  # no name is 0: numbers
        (None, ["None", "mild", "NA"], [1, 2, 0]),
        (None, ["01", "1", "2"], [0, 1, 2]),
        (None, ["2.0", "0.0", "1.0"], [2, 0, 1]),
    ],
)
def test_labels_in_a_table_are_names_as_they_are_written(classes, labels, given, tmp_path):
    rows = [f"{k}.png,{label}\n" for k, label in enumerate(labels)]
    for k in range(len(labels)):
        save(tmp_path / f"{k}.png", grey(8, 8))
    (tmp_path / "pool.csv").write_text("file, Label\n" + "".join(rows))
    assert from_table(tmp_path / "pool.csv", classes=classes).labels.tolist() == given


def test_files_in_a_table_have_names_as_they_are_written(tmp_path):
    for name in ("007.png", "NA.png"):
        save(tmp_path / name, grey(8, 8))
        (tmp_path / name).rename(tmp_path / name.removesuffix(".png"))
    (tmp_path / "pool.csv").write_text("file\n007\nNA\n")
    assert from_table(tmp_path / "pool.csv").files == ("007", "NA")


def test_only_folders_of_named_classes_are_labels(tmp_path):
    for name in ("cat/a.png", "2019/b.png", "c.png"):
        save(tmp_path / name, grey(8, 8))
    pool = from_folder(tmp_path, classes=["cat", "dog"])
    assert dict(zip(pool.files, pool.given.tolist(), strict=True)) == {"2019/b.png": -1, "c.png": -1, "cat/a.png": 0}


# ---------------------------------------------------------------------------------------------------------
# Files of strangers


def png_header(width, height):
    """A PNG of a few bytes that says it is large."""
    body = b"IHDR" + struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    end = b"IEND"
    parts = [struct.pack(">I", len(b) - 4) + b + struct.pack(">I", zlib.crc32(b)) for b in (body, b"IDAT", end)]
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


@pytest.fixture
def hostile(tmp_path):
    folder = tmp_path / "photos"
    save(folder / "good.png", grey(8, 8))
    (folder / "bomb.png").write_bytes(png_header(20_000, 20_000))
    (folder / "larger.png").write_bytes(png_header(10_000, 10_000))  # Pillow itself only warns
    (folder / "drawing.png").write_text('<svg xmlns="http://www.w3.org/2000/svg"/>')
    (folder / "page.jpg").write_text("%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n")
    (folder / "empty.gif").touch()
    (folder / "cut.png").write_bytes((folder / "good.png").read_bytes()[:-30])
    save(tmp_path / "secret.png", grey(8, 8))
    (folder / "link.png").symlink_to(tmp_path / "secret.png")
    (folder / "two\nlines\x1b[31m.png").write_bytes(b"no picture")
    (folder / "notes.txt").touch()
    return folder


@pytest.mark.parametrize("cached", [False, True])
def test_what_cannot_be_read_is_left_out_and_named(hostile, tmp_path, cached, recwarn):
    pool = from_folder(hostile, cache=tmp_path / "cache" if cached else None, skip_unreadable=True)
    assert pool.files == ("good.png",)
    assert pool.images.shape == (1, 8, 8, 1)
    text = "\n".join(pool.notes)
    assert "8 pictures can't be read and are left out" in text
    assert "1 other files are left aside (1 .txt)" in text
    for name in ("bomb", "larger", "drawing", "page", "empty", "cut", "link"):
        assert f"{name}." in text
    assert "it leads out of" in text
    assert text.count("cannot identify image file") >= 3
    assert all(line.isprintable() for line in pool.notes)
    assert not [warning for warning in recwarn if "Bomb" in str(warning.category)]


@pytest.mark.parametrize("name", ["../secret.png", "/etc/passwd", "sub/../../secret.png", "link.png", "drawing.svg"])
def test_a_table_names_no_file_outside_its_folder_and_no_svg(hostile, name):
    (hostile / "drawing.svg").write_text("<svg/>")
    (hostile / "pool.csv").write_text(f"file\n{name}\n")
    with pytest.raises(McalError, match=r"leads out of|SVG is refused"):
        from_table(hostile / "pool.csv")


def test_a_pipe_is_no_picture(tmp_path):
    os.mkfifo(tmp_path / "pipe.png")
    (tmp_path / "pool.csv").write_text("file\npipe.png\n")
    with pytest.raises(McalError, match="it is no file"):
        from_table(tmp_path / "pool.csv")


def test_a_pickle_in_an_npz_is_not_loaded(tmp_path):
    np.savez(tmp_path / "pool.npz", images=np.array([{"a": 1}, None], dtype=object))
    with pytest.raises(McalError, match="Python objects"):
        load(tmp_path / "pool.npz")


# ---------------------------------------------------------------------------------------------------------
# The cache


@pytest.fixture
def many(tmp_path):
    folder = tmp_path / "photos"
    for i in range(40):
        save(folder / f"{i:02d}.png", grey(70 + i, 90, 5 * i))
    (folder / "20.png").write_bytes((folder / "20.png").read_bytes()[:-25])
    return folder


def test_pictures_that_the_disk_can_not_hold_are_refused_before_any_is_decoded(many, tmp_path, monkeypatch):
    monkeypatch.setattr("mcal_jax.data.cache.read_pixels", None)
    with pytest.raises(
        McalError, match=r"pictures of 9999999x9999999 pixels take .* GB are free in .*: choose a smaller"
    ):
        from_folder(many, size=9_999_999, cache=tmp_path / "cache", skip_unreadable=True)


def test_large_pictures_are_decoded_a_few_at_a_time(many, monkeypatch):
    whole = from_folder(many, skip_unreadable=True)
    at_once = []
    monkeypatch.setattr(cache, "_IN_MEMORY", 3 * whole.images[0].nbytes + 1)
    monkeypatch.setattr(cache.np, "stack", lambda arrays: at_once.append(len(arrays)) or np.concatenate([arrays]))
    few = from_folder(many, skip_unreadable=True)
    assert max(at_once) == 3
    assert (few.images == whole.images).all()


def test_a_cache_holds_the_same_pixels_and_is_mapped_into_memory(many, tmp_path, monkeypatch):
    plain = from_folder(many, skip_unreadable=True)
    first = from_folder(many, cache=tmp_path / "cache", skip_unreadable=True)
    monkeypatch.setattr("mcal_jax.data.cache.read_pixels", None)  # nothing is decoded again
    monkeypatch.setattr("mcal_jax.data.cache.read_header", None)
    second = from_folder(many, cache=tmp_path / "cache", skip_unreadable=True)
    for pool in (first, second):
        assert pool.files == plain.files
        assert pool.notes == plain.notes
        assert np.array_equal(pool.images, plain.images)
        assert isinstance(pool.images.base, np.memmap)
    with pytest.raises(McalError, match=r"20\.png' cannot be read"):
        from_folder(many, cache=tmp_path / "cache")


@pytest.mark.parametrize("after", [1, 3, 7])
def test_a_killed_process_goes_on_where_it_stopped(many, tmp_path, monkeypatch, after):
    monkeypatch.setattr(cache, "_AT_ONCE", 4)
    decoded = []

    def read(root, file, rule):
        if len(decoded) >= 4 * after:
            raise KeyboardInterrupt
        decoded.append(file)
        return read_pixels(root, file, rule)

    with monkeypatch.context() as patched:
        patched.setattr(cache, "read_pixels", read)
        patched.setattr(cache, "ThreadPoolExecutor", lambda n: ThreadPoolExecutor(1))
        with pytest.raises(KeyboardInterrupt):
            from_folder(many, cache=tmp_path / "cache", skip_unreadable=True)
    draft = next((tmp_path / "cache").glob("*.part"))
    with draft.open("ab") as file:
        file.write(b"torn")
    with (tmp_path / "cache" / "files.jsonl").open("ab") as file:
        file.write(b'{"file": "39.p')
    count = []
    monkeypatch.setattr(cache, "read_pixels", lambda *what: count.append(1) or read_pixels(*what))
    pool = from_folder(many, cache=tmp_path / "cache", skip_unreadable=True)
    assert len(count) == 40 - 4 * after
    assert np.array_equal(pool.images, from_folder(many, skip_unreadable=True).images)
    assert not list((tmp_path / "cache").glob("*.part"))


def test_a_changed_file_is_decoded_again_and_old_pixels_are_removed(many, tmp_path):
    def pixels():
        return from_folder(many, cache=tmp_path / "cache", skip_unreadable=True).images

    before = np.array(pixels())
    save(many / "00.png", grey(70, 90, 255))
    after = np.array(pixels())
    assert (after[0] == 255).all()
    assert np.array_equal(before[1:], after[1:])
    assert len(list((tmp_path / "cache").glob("pixels-*.u8"))) == 1
    next((tmp_path / "cache").glob("pixels-*.u8")).write_bytes(b"cut off")
    assert np.array_equal(pixels(), after)


def test_a_pool_that_is_large_is_cached_by_itself(many, tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "home"))
    monkeypatch.setattr("mcal_jax.data.pictures.LARGE", 1000)
    pool = from_folder(many, skip_unreadable=True)
    assert isinstance(pool.images.base, np.memmap)
    assert len(list((tmp_path / "home").rglob("pixels-*.u8"))) == 1


# ---------------------------------------------------------------------------------------------------------
# The report


def test_the_report_names_copies_classes_and_what_was_left_out(hostile):
    save(hostile / "again.png", grey(8, 8))
    save(hostile / "other.png", grey(8, 8, 7))
    pool = from_folder(hostile, classes=["cat", "dog"], skip_unreadable=True)
    lines = describe(pool)
    assert lines[0].endswith("photos: 3 images, 8x8 pixels, grey")
    assert lines[1] == "  2 classes: cat, dog"
    assert lines[-2:] == ["  1 images are exact copies of others, each labelled and billed on its own:",
                          "    again.png = good.png"]  # fmt: skip
    labelled = from_arrays(
        np.zeros((3, 4, 4, 3), np.uint8) + np.arange(3, dtype=np.uint8)[:, None, None, None], [0, 1, 1]
    )
    assert describe(labelled) == [
        "arrays: 3 images, 4x4 pixels, in colour",
        "  2 classes: 0 1, 1 2",
        "  all labels are known; they are used for nothing but the true error in the end",
    ]
