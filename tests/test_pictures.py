"""Pictures on disk: folders and tables of any sizes and kinds become one pool, or one clear line says why not."""

import numpy as np
import pandas as pd
import pytest
from PIL import Image

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
        ("file,label\na.png,\nc.png,cat\n", "1 of 2 rows have no label"),
        ("file\n", "has no rows"),
    ):
        table.write_text(text)
        with pytest.raises(McalError, match=says):
            from_table(table)
