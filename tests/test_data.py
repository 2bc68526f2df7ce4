"""Data sets as arrays: the one that ships, TFDS folders, own files, and what is said of bad ones."""

import hashlib
import io
import json
import os
import subprocess
import sys
import tracemalloc
import zipfile

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from PIL import Image

from mcal_jax.data import SHIPPED, Dataset, available, fingerprint, from_arrays, load, prepare
from mcal_jax.errors import McalError

SHA256_IMAGES = "a84f70bc4eaa1b2c5e671e99525a60f9dbe89328fa62013e4aa30ba11800c4df"
SHA256_LABELS = "85e2be1b62985fe36ef293a029e9559c3f6822643be932622c5042b8a1654a94"

KNOWN_FINGERPRINT = {
    "shape": [4, 2, 2, 3],
    "images": "45c7c252baa5eb6e75c8821a1e783ee2",
    "labels": "f7197e9aefdb2c6611b3f99007463f18",
    "classes": "f6d51755c1140219c0bc380301d6e51f",
}

uint8_images = hnp.arrays(np.uint8, hnp.array_shapes(min_dims=4, max_dims=4, min_side=1, max_side=4))


@pytest.fixture(scope="module")
def shipped() -> Dataset:
    return load(SHIPPED)


def pixels(n, side=4, channels=3, seed=0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (n, side, side, channels), np.uint8)


def peak(call) -> int:
    """Bytes allocated at most, beyond what there was, while ``call`` runs and its result is held."""
    tracemalloc.start()
    try:
        call()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def write_tfds(data_dir, name, splits, kinds=("label",), supervised=("image", "label")):
    """A TFDS folder of version 1.0.0. ``splits``: its images (a sequence, sides may differ) and labels."""
    import tensorflow_datasets as tfds
    from array_record.python.array_record_module import ArrayRecordWriter

    folder = data_dir / name / "1.0.0"
    folder.mkdir(parents=True)
    labels_of = {kind: tfds.features.ClassLabel(names=["cat", "dog", "emu"]) for kind in kinds}
    features = tfds.features.FeaturesDict({"image": tfds.features.Image(encoding_format="png"), **labels_of})
    infos = []
    for split, (images, labels) in splits.items():
        writer = ArrayRecordWriter(str(folder / f"{name}-{split}.array_record-00000-of-00001"), "group_size:1")
        for image, label in zip(images, labels, strict=True):
            png = io.BytesIO()
            Image.fromarray(image).save(png, "png")
            png.seek(0)
            example = {"image": png} | {kind: 2 if kind == "other" else label for kind in kinds}
            writer.write(features.serialize_example(example))
        writer.close()
        infos.append(tfds.core.SplitInfo(name=split, shard_lengths=[len(labels)], num_bytes=0))
    tfds.folder_dataset.write_metadata(
        data_dir=folder, features=features, split_infos=infos, supervised_keys=supervised, check_data=False
    )
    return folder


# The set that ships


def test_shipped_set_is_the_test_split_of_fashion_mnist(shipped):
    assert shipped.name == "fashion_mnist_10k"
    assert shipped.images.shape == (10000, 28, 28, 1)
    assert shipped.images.dtype == np.uint8
    assert shipped.labels.dtype == np.int32
    assert hashlib.sha256(shipped.images.tobytes()).hexdigest() == SHA256_IMAGES
    assert hashlib.sha256(shipped.labels.astype("<i4").tobytes()).hexdigest() == SHA256_LABELS
    assert np.bincount(shipped.labels).tolist() == [1000] * 10
    assert shipped.classes[0] == "T-shirt/top"
    assert shipped.classes[9] == "Ankle boot"


def test_reading_prints_nothing_and_importing_is_light():
    code = (
        "import sys, mcal_jax.data as data\n"
        "assert not {'jax', 'tensorflow_datasets', 'matplotlib'} & set(sys.modules)\n"
        "data.load('fashion_mnist_10k', first=10)\n"
        "assert 'tensorflow' not in sys.modules and 'jax' not in sys.modules\n"
    )
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert (ran.returncode, ran.stdout, ran.stderr) == (0, "", "")


# Which images


def test_first_takes_the_first_images(shipped):
    few = load(SHIPPED, first=1234)
    np.testing.assert_array_equal(few.images, shipped.images[:1234])
    np.testing.assert_array_equal(few.labels, shipped.labels[:1234])


def test_first_may_ask_for_all_but_not_for_more():
    assert len(load(SHIPPED, first=10000).images) == 10000
    with pytest.raises(McalError, match=r"first 10001 images of 'fashion_mnist_10k'.* has 10000"):
        load(SHIPPED, first=10001)


def test_per_class_takes_the_first_of_each_in_the_order_of_the_whole(shipped):
    few = load(SHIPPED, per_class=30)
    seen = np.zeros(10, int)
    expected = []
    for position, label in enumerate(shipped.labels):
        if seen[label] < 30:
            expected.append(position)
        seen[label] += 1
    np.testing.assert_array_equal(few.images, shipped.images[expected])
    np.testing.assert_array_equal(few.labels, shipped.labels[expected])


def test_per_class_names_the_class_that_has_too_few(tmp_path):
    path = tmp_path / "own.npz"
    np.savez(path, images=pixels(5), labels=[0, 1, 0, 0, 1], classes=["cat", "dog"])
    assert load(path, per_class=2).labels.tolist() == [0, 1, 0, 1]
    with pytest.raises(McalError, match=r"3 images of each class .*own\.npz.* 'dog' has 2"):
        load(path, per_class=3)


@pytest.mark.parametrize("option", ["first", "per_class", "downsample"])
@pytest.mark.parametrize("value", [0, -3, 2.5, 2.0, True, np.float64(2), "2"])
def test_counts_must_be_positive_whole_numbers(option, value):
    with pytest.raises(McalError, match=f"{option} must be a whole number, 1 or more, not {value}"):
        load(SHIPPED, **{option: value})


@pytest.mark.parametrize("kind", [np.int8, np.uint8, np.int64])
def test_counts_may_be_numbers_of_numpy(tmp_path, kind):
    images = pixels(40, side=16)
    np.savez(tmp_path / "own.npz", images=images, labels=np.arange(40) % 2)
    small = load(tmp_path / "own.npz", first=kind(5), downsample=kind(16)).images
    np.testing.assert_array_equal(small, np.floor(images[:5].mean(axis=(1, 2), keepdims=True) + 0.5))
    assert len(load(tmp_path / "own.npz", per_class=kind(3)).images) == 6


def test_first_and_per_class_exclude_each_other():
    with pytest.raises(McalError, match="first or per_class, not both"):
        load(SHIPPED, first=10, per_class=10)


def test_downsample_known_values(tmp_path):
    image = np.array([[0, 1, 255, 255], [1, 0, 255, 255], [10, 20, 7, 7], [30, 41, 7, 8]], np.uint8)
    np.savez(tmp_path / "own.npz", images=image[None])
    small = load(tmp_path / "own.npz", downsample=2).images
    # 2/4 = 0.5 rounds up, 101/4 = 25.25 and 29/4 = 7.25 round down.
    assert small[0, :, :, 0].tolist() == [[1, 255], [25, 7]]


@given(hnp.array_shapes(min_dims=4, max_dims=4, max_side=4), st.integers(1, 5), st.integers(0, 99))
def test_downsample_is_the_block_mean(tmp_path_factory, shape, factor, seed):
    n, height, width, channels = shape
    big = (n, height * factor, width * factor, channels)
    images = np.random.default_rng(seed).integers(0, 256, big, np.uint8)
    path = tmp_path_factory.mktemp("down") / "own.npz"
    np.savez(path, images=images)
    small = load(path, downsample=factor).images
    assert small.dtype == np.uint8
    mean = images.reshape(n, height, factor, width, factor, channels).mean(axis=(2, 4))
    assert np.abs(small - mean).max() <= 0.5


def test_downsample_halves_the_shipped_images(shipped):
    small = load(SHIPPED, first=50, downsample=2)
    assert small.images.shape == (50, 14, 14, 1)
    np.testing.assert_array_equal(small.labels, shipped.labels[:50])


def test_downsample_must_divide_both_sides():
    told = (
        "downsample 3 does not divide the 28 x 28 pixels of 'fashion_mnist_10k': give images whose sides are multiples "
        "of 3, or keep their size .*--profile smoke or paper"
    )
    with pytest.raises(McalError, match=told):
        load(SHIPPED, first=10, downsample=3)


# Own images


@given(uint8_images, st.booleans(), st.booleans(), st.randoms(use_true_random=False))
def test_npz_round_trip(tmp_path_factory, images, labelled, named, random):
    path = tmp_path_factory.mktemp("trip") / "own.npz"
    names = ["cat", "dog", "naïve"]
    labels = [random.randrange(3) for _ in images]
    arrays = {"labels": labels} if labelled else {}
    arrays |= {"classes": names} if named else {}
    np.savez_compressed(path, images=images, **arrays)
    dataset = load(path)
    assert dataset.name == str(path)
    np.testing.assert_array_equal(dataset.images, images)
    assert dataset.images.dtype == np.uint8
    if labelled:
        np.testing.assert_array_equal(dataset.labels, labels)
        assert dataset.labels.dtype == np.int32
    else:
        assert dataset.labels is None
    counted = [str(k) for k in range(max(labels) + 1)] if labelled else []
    assert dataset.classes == tuple(names if named else counted)


def test_first_of_an_npz(tmp_path):
    images = pixels(6)
    np.savez(tmp_path / "own.npz", images=images, labels=range(6))
    few = load(tmp_path / "own.npz", first=4)
    np.testing.assert_array_equal(few.images, images[:4])
    assert few.labels.tolist() == [0, 1, 2, 3]
    with pytest.raises(McalError, match=r"first 7 images of '.*own\.npz'.* has 6"):
        load(tmp_path / "own.npz", first=7)


def test_grey_images_get_a_channel_axis():
    grey = pixels(3)[..., 0]
    dataset = from_arrays(grey, labels=[2, 0, 1], classes=["a", "b", "c"], name="mine")
    np.testing.assert_array_equal(dataset.images[..., 0], grey)
    assert dataset.images.shape == (3, 4, 4, 1)
    assert dataset.name == "mine"
    assert dataset.classes == ("a", "b", "c")


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        (
            {"images": pixels(2) / 255.0},
            r"images of 'mine' are float64, from 0 to 0\.97\d*; .* uint8, .*: images = \(images \* 255\)\.round",
        ),
        ({"images": pixels(2) * 1.0}, r"float64, from 0 to 248; .*: images = images\.round\(\)\.astype\(np\.uint8\)"),
        ({"images": pixels(2).astype(np.int64)}, r"'mine' are int64, .*: images = images\.astype\(np\.uint8\)"),
        (
            {"images": pixels(2).astype("u2") * 257},
            r"uint16, from 0 to 63736; .*: images = \(\(images - images\.min\(\)\)",
        ),
        ({"images": np.full((2, 4, 4), np.nan)}, "float64, some of them not finite; they must be uint8"),
        ({"images": ["a.png", "b.png"]}, "images of 'mine' are <U5; they must be uint8, .* the pixels themselves"),
        ({"images": pixels(2).reshape(6, 16)}, r"shape \(6, 16\); .*: images\.reshape\(-1, 4, 4\)"),
        ({"images": pixels(2)[0, 0]}, r"images of 'mine' have shape \(4, 3\)"),
        ({"images": pixels(0)}, r"'mine' has no images: their array has shape \(0, 4, 4, 3\)"),
        ({"images": []}, "'mine' has no images"),
        ({"images": pixels(2)[:, :0]}, r"shape \(2, 0, 4, 3\); .* with no side 0"),
        (
            {"images": pixels(2, side=5).transpose(0, 3, 1, 2)},
            r"shape \(2, 3, 5, 5\): the channels must come last: images = np\.moveaxis\(images, 1, -1\)",
        ),
        ({"images": [pixels(1)[0], pixels(1, side=5)[0]]}, "images of 'mine' do not make an array"),
        ({"images": np.array([None, None])}, "images of 'mine' are Python objects"),
        ({"images": pixels(2), "labels": [0.0, np.nan]}, "1 of 2 labels of 'mine' are no whole .* nan of image 1"),
        ({"images": pixels(2), "labels": [0.5, 1.0]}, r"1 of 2 labels of 'mine' are no whole .* 0\.5 of image 0"),
        ({"images": pixels(2), "labels": [0, None]}, r"labels of 'mine' are Python objects \(NoneType among them\)"),
        ({"images": pixels(2), "labels": [1j, 1]}, "labels of 'mine' are complex128; .* numbers or class names"),
        ({"images": pixels(2), "labels": [b"caf\xe9", b"tea"]}, "labels of 'mine' are bytes that are not UTF-8"),
        ({"images": pixels(2), "labels": ["cat", ""]}, "1 of 2 labels of 'mine' are empty; leave those images out"),
        ({"images": pixels(2), "labels": ["cat", "d\nog"]}, r"the name of class 1, 'd\\nog', has a line break"),
        (
            {"images": pixels(2), "labels": ["cat", "dog"], "classes": ["cat", "emu"]},
            "1 labels of 'mine' are 'dog', which is none of its 2 classes",
        ),
        ({"images": pixels(2), "labels": [0, 1, 0]}, r"labels of 'mine' have shape \(3,\), not \(2,\)"),
        ({"images": pixels(2), "labels": [[0], [1]]}, r"shape \(2, 1\), not \(2,\): labels = labels\[:, 0\]"),
        ({"images": pixels(2), "labels": [[0, 1], [1, 0]]}, r"one-hot: labels = labels\.argmax\(1\)"),
        ({"images": pixels(2), "labels": [0, -1]}, "1 of 2 labels of 'mine' are below 0, such as -1: .* leave out"),
        (
            {"images": pixels(2), "labels": [0, 2], "classes": ["a", "b"]},
            "labels of 'mine' .* 0 to 1, and one is 2",
        ),
        (
            {"images": pixels(2), "labels": [1, 2], "classes": ["a", "b"]},
            r"0 to 1, and one is 2 \(if they count from 1: labels - 1\)",
        ),
        ({"images": pixels(2), "labels": [0, 10**12]}, r"take 2 values \(0, 1000000000000\), so most classes from 0"),
        ({"images": pixels(2), "labels": [0, 2**63]}, r"take 2 values \(0, 9223372036854775808\), so"),
        ({"images": pixels(9), "labels": np.arange(9) * 7}, r"take 9 values \(0, 7, 14, \.\.\., 56\), so"),
        ({"images": pixels(2), "classes": ["a", "b", "a"]}, "classes of 'mine' name 'a' more than once"),
        ({"images": pixels(2), "classes": [0, 1]}, "classes of 'mine' must be a list of names"),
        ({"images": pixels(2), "classes": "cat"}, "classes of 'mine' must be a list of names"),
        ({"images": pixels(2), "classes": ["a", " "]}, "classes of 'mine': the name of class 1 is empty"),
        ({"images": pixels(2), "classes": ["a\u2028b", "c"]}, "the name of class 0, .* has a line break"),
    ],
)
def test_bad_arrays_are_named(arrays, message):
    with pytest.raises(McalError, match=message) as caught:
        from_arrays(**arrays, name="mine")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("kind", [">i8", "<i2", "u8", "f4", "f8"])
def test_whole_numbers_of_any_type_are_labels(kind):
    dataset = from_arrays(pixels(4), np.array([2, 0, 1, 2], kind))
    assert (dataset.labels.dtype, dataset.labels.tolist()) == (np.int32, [2, 0, 1, 2])
    assert dataset.classes == ("0", "1", "2")


def test_yes_and_no_are_labels():
    assert from_arrays(pixels(2), [True, False], ["no", "yes"]).labels.tolist() == [1, 0]


@pytest.mark.parametrize("kind", [str, bytes, object])
def test_names_are_labels(kind):
    labels = np.array(["dog", "cat", "dog", "emu"]).astype(kind)
    dataset = from_arrays(pixels(4), labels)
    assert dataset.classes == ("cat", "dog", "emu")
    assert (dataset.labels.dtype, dataset.labels.tolist()) == (np.int32, [1, 0, 1, 2])
    ordered = from_arrays(pixels(4), labels, ["emu", "dog", "yak", "cat"])
    assert ordered.classes == ("emu", "dog", "yak", "cat")
    assert ordered.labels.tolist() == [1, 3, 1, 0]


def test_class_names_may_hold_what_csv_must_quote():
    names = ("a,b", 'say "x"', "naïve 🙂", "it's")
    assert from_arrays(pixels(4), range(4), names).classes == names


def test_labels_that_leave_a_few_numbers_out_are_told():
    dataset = from_arrays(pixels(3), [3, 8, 3], name="mine")
    assert dataset.classes == tuple("012345678")
    assert dataset.notes == ("'mine': of its 9 classes, numbered from 0, these have no images: 0, 1, 2, ..., 7",)
    assert from_arrays(pixels(3), [3, 8, 3], list("abcdefghi")).notes == ()
    assert from_arrays(pixels(3), [1, 0, 2]).notes == ()


def test_more_classes_than_images_are_refused_only_where_numbers_are_left_out():
    assert len(from_arrays(pixels(30), np.arange(30) * 2).classes) == 59
    with pytest.raises(McalError, match="take 30 values"):
        from_arrays(pixels(30), np.arange(30) * 3)


@pytest.mark.parametrize("n", [1, 2, 3])
def test_tiny_pools_are_read(tmp_path, n):
    np.savez(tmp_path / "own.npz", images=pixels(n), labels=["cat"] * n)
    dataset = load(tmp_path / "own.npz")
    assert (len(dataset.images), dataset.classes) == (n, ("cat",))


def test_many_classes_take_no_long():
    """A list that is searched for every name of 200,000 takes minutes."""
    names = [f"class {k}" for k in range(200_000)]
    dataset = from_arrays(np.zeros((200_000, 1, 1), np.uint8), np.arange(200_000), names)
    assert len(dataset.classes) == 200_000
    with pytest.raises(McalError, match="name 'class 7' more than once"):
        from_arrays(pixels(1), None, [*names, "class 7"])


# Identity by content


def test_fingerprint_known_values():
    """Computed once: a log made on any machine must find its images again."""
    dataset = from_arrays(np.arange(48, dtype=np.uint8).reshape(4, 2, 2, 3), [0, 1, 1, 0], ["cat", "naïve"])
    assert fingerprint(dataset) == KNOWN_FINGERPRINT
    assert json.loads(json.dumps(fingerprint(dataset))) == KNOWN_FINGERPRINT


@given(uint8_images, st.integers(0, 2), st.sampled_from([">i4", "<i8", ">u2"]))
def test_fingerprint_is_the_same_in_any_layout(images, label, kind):
    one = from_arrays(images, [label] * len(images), list("abc"), "one")
    other = one._replace(
        name="other",
        images=np.asfortranarray(np.repeat(images, 2, 0)[::2]),
        labels=one.labels.astype(kind),
        classes=list(one.classes),
        notes=("a note",),
    )
    assert fingerprint(one) == fingerprint(other)


@given(uint8_images, st.randoms(use_true_random=False))
def test_fingerprint_tells_what_changed(images, random):
    one = from_arrays(images, [0] * len(images), list("abc"))
    print_of_one = fingerprint(one)
    changed = images.copy()
    changed.reshape(-1)[random.randrange(images.size)] ^= 1 << random.randrange(8)
    labels = one.labels.copy()
    labels[random.randrange(len(labels))] = 2
    for key, other in {
        "images": one._replace(images=changed),
        "labels": one._replace(labels=labels),
        "classes": one._replace(classes=("a", "b", "d")),
    }.items():
        assert {k for k, v in fingerprint(other).items() if v != print_of_one[k]} == {key}
    assert fingerprint(one._replace(labels=None)) == print_of_one | {"labels": None}


def test_fingerprint_of_another_shape_differs():
    images = pixels(6)
    one, other = from_arrays(images), from_arrays(images.reshape(6, 4, 3, 4))
    assert fingerprint(one)["images"] == fingerprint(other)["images"]
    assert fingerprint(one) != fingerprint(other)


def test_fingerprint_makes_no_copy_of_the_pool():
    dataset = from_arrays(np.zeros((3000, 64, 64, 3), np.uint8))
    for one in (dataset, dataset._replace(images=dataset.images[::2, ::-1])):
        assert peak(lambda one=one: fingerprint(one)) < 20e6 < dataset.images.nbytes


# Paths and files


def test_missing_npz(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(McalError, match=rf"no file 'nowhere/own\.npz' in {tmp_path}$"):
        load("nowhere/own.npz")
    with pytest.raises(McalError, match=r"no file '/nowhere/own\.npz'$"):
        load("/nowhere/own.npz")


@pytest.mark.parametrize(
    "name", ["~two.npz", "./~two.npz", "a b.npz", "TWO.NPZ", "caf\udce9.npz", "犬.npz", "own.npz/"]
)
def test_paths_as_people_have_them(tmp_path, monkeypatch, name):
    monkeypatch.chdir(tmp_path)
    with open(name.rstrip("/"), "wb") as file:
        np.savez(file, images=pixels(3))
    dataset = load(name)
    assert (dataset.name, len(dataset.images)) == (name, 3)


def test_home_is_expanded(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    np.savez(tmp_path / "own.npz", images=pixels(3))
    assert len(load("~/own.npz").images) == 3
    write_tfds(tmp_path / "sets", "own_set", {"train": (pixels(2), [0, 1])})
    assert len(load("own_set", data_dir="~/sets").images) == 2
    assert [one.name for one in available("~/sets")] == [SHIPPED, "own_set"]


@pytest.mark.parametrize("name", ["own\n.npz", "own\0.npz", "a\tb"])
def test_control_characters_in_a_name_are_refused(name):
    with pytest.raises(McalError, match="no line breaks or other control characters") as caught:
        load(name)
    assert "\n" not in str(caught.value)


def test_a_name_that_is_too_long_is_one_line():
    for name in ("a" * 300 + ".npz", "a" * 300):
        with pytest.raises(McalError, match=r"cannot be read: .*too long"):
            load(name)


@pytest.mark.parametrize(
    ("name", "content", "told"),
    [
        ("one.npy", b"\x93NUMPY\x01\0", "'one.npy' is a single array"),
        ("one.npz", b"\x93NUMPY\x01\0", "'one.npz' is a single array"),
        ("table.csv", b"image,label\n1.png,cat\n", "picture '.*1.png' cannot be read: .*No such file"),
        ("x.h5", b"\x89HDF\r\n\x1a\n\0", "'x.h5' is HDF5; .* np.savez"),
        ("x.parquet", b"PAR1\0", "'x.parquet' cannot be read as a table"),
        ("cat.png", b"\x89PNG\r\n\x1a\n\0", "'cat.png' is a single picture"),
        ("x.pkl", b"\x80\x04\x95\0", "'x.pkl' is a Python pickle"),
        ("x.npz", b"version https://git-lfs.github.com/spec/v1\n", "'x.npz' is only the pointer .*git lfs pull"),
        ("x.npz", b"", "'x.npz' is empty; "),
        ("x.npz", b"PK\x03\x04\0\0", "'x.npz' is cut off or damaged: copy it again"),
        ("x.bin", b"\0\1\2", "'x.bin' is of a kind that is not read; .* np.savez"),
        ("photos", None, "'photos' is a folder; if it holds pictures, give it as a path: './photos'"),
        ("photos/", None, "no pictures in 'photos/'"),
        ("photos.npz", None, "'photos.npz' is a folder"),
    ],
)
def test_other_files_are_named_for_what_they_are(tmp_path, monkeypatch, name, content, told):
    monkeypatch.chdir(tmp_path)
    if content is None:
        (tmp_path / name).mkdir()
    else:
        (tmp_path / name).write_bytes(content)
    with pytest.raises(McalError, match=told) as caught:
        load(name)
    assert "\n" not in str(caught.value)


def test_a_zip_archive_that_may_be_an_npz_is_told_to_be_renamed(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    np.savez("own.npz", images=pixels(2))
    os.rename("own.npz", "own.zip")
    with pytest.raises(McalError, match=r"'own\.zip' is a zip archive; if np\.savez made it, rename it"):
        load("own.zip")


def test_a_folder_of_tfds_is_told_from_one_of_pictures(tmp_path):
    folder = write_tfds(tmp_path, "own_set", {"train": (pixels(2), [0, 1])})
    for path in (tmp_path, folder.parent, folder):
        with pytest.raises(McalError, match="is a folder of TFDS: give the name of the set"):
            load(path)


def test_other_arrays_of_an_npz_are_told(tmp_path):
    np.savez(tmp_path / "own.npz", images=pixels(2), label=[0, 1], weights=[1, 1])
    dataset = load(tmp_path / "own.npz")
    assert dataset.labels is None
    assert dataset.notes == (
        f"'{tmp_path}/own.npz': not read: label, weights (only images, features, labels, classes are)",
    )


def test_an_npz_takes_no_more_memory_than_the_pool(tmp_path):
    images = np.zeros((2000, 64, 64, 3), np.uint8)
    np.savez_compressed(tmp_path / "own.npz", images=images, labels=np.zeros(2000, int))
    assert peak(lambda: load(tmp_path / "own.npz")) < 1.2 * images.nbytes
    assert peak(lambda: load(tmp_path / "own.npz", downsample=2)) < 1.6 * images.nbytes


@pytest.mark.parametrize("damage", ["empty", "text", "npy", "truncated", "flipped"])
def test_damaged_npz_is_named(tmp_path, damage):
    path = tmp_path / "own.npz"
    np.savez_compressed(path, images=pixels(50))
    whole = path.read_bytes()
    npy = io.BytesIO()
    np.save(npy, pixels(2))
    middle = len(whole) // 2
    path.write_bytes(
        {
            "empty": b"",
            "text": b"images, labels\n",
            "npy": npy.getvalue(),
            "truncated": whole[:middle],
            "flipped": whole[:middle] + bytes(255 - byte for byte in whole[middle : middle + 9]) + whole[middle + 9 :],
        }[damage]
    )
    with pytest.raises(McalError, match=r"own\.npz'") as caught:
        load(path)
    assert "\n" not in str(caught.value)


def test_npz_without_images_names_the_arrays_it_has(tmp_path):
    np.savez(tmp_path / "own.npz", x_train=pixels(2), y_train=[0, 1])
    told = r"own\.npz' has no array 'images' or 'features', only: x_train, y_train; .* np\.savez\(file, images=\.\.\."
    with pytest.raises(McalError, match=told):
        load(tmp_path / "own.npz")
    with zipfile.ZipFile(tmp_path / "pictures.npz", "w") as archive:
        for k in range(300):
            archive.writestr(f"{k}.png", b"")
    with pytest.raises(McalError, match=r"only: 0\.png, 1\.png, 2\.png, 3\.png, 4\.png and 295 more"):
        load(tmp_path / "pictures.npz")


@pytest.mark.parametrize(
    ("key", "value", "told"),
    [
        ("images", np.array([pixels(1)[0], None], object), "save them as one array of one size"),
        ("labels", np.array(["cat", "dog"], object), r"labels=np\.array\(labels, dtype=str\)"),
        ("classes", np.array(["cat", "dog"], object), r"classes=np\.array\(classes, dtype=str\)"),
    ],
)
def test_pickled_arrays_are_refused(tmp_path, key, value, told):
    np.savez(tmp_path / "own.npz", **({"images": pixels(2)} | {key: value}))
    with pytest.raises(McalError, match=rf"{key} of '.*own\.npz' are Python objects .*{told}"):
        load(tmp_path / "own.npz")


def test_bad_array_in_an_npz_names_the_file(tmp_path):
    np.savez(tmp_path / "own.npz", images=pixels(2) / 255.0)
    with pytest.raises(McalError, match=r"images of '.*own\.npz' are float64, from 0 to"):
        load(tmp_path / "own.npz")


def test_per_class_needs_labels(tmp_path):
    np.savez(tmp_path / "own.npz", images=pixels(2))
    with pytest.raises(McalError, match=r"per_class needs labels, and '.*own\.npz' has none"):
        load(tmp_path / "own.npz", per_class=1)


# TFDS folders


def test_train_and_test_are_pooled_in_this_order_then_the_rest(tmp_path):
    train, test, spare = pixels(1500, seed=1), pixels(300, seed=2), pixels(20, seed=3)
    labels = np.arange(1820) % 3
    splits = {
        "test": (test, labels[1500:1800]),
        "extra": (spare, labels[1800:]),
        "train": (train, labels[:1500]),
    }
    write_tfds(tmp_path, "mnist", splits)
    whole = load("mnist", data_dir=tmp_path)
    np.testing.assert_array_equal(whole.images, np.concatenate([train, test, spare]))
    np.testing.assert_array_equal(whole.labels, labels)
    assert whole.classes == ("cat", "dog", "emu")
    assert whole.version == "mnist/1.0.0"
    told = "the splits train (1,500 images) + test (300 images) + extra (20 images) are labelled as one pool"
    assert whole.notes == (f"'mnist': {told}",)
    few = load("mnist", data_dir=tmp_path, first=1550)
    np.testing.assert_array_equal(few.images, whole.images[:1550])
    np.testing.assert_array_equal(few.labels, whole.labels[:1550])
    with pytest.raises(McalError, match=r"first 1821 images of 'mnist'.* has 1820"):
        load("mnist", data_dir=tmp_path, first=1821)


def test_train_and_test_alone_need_no_word(tmp_path, shipped):
    write_tfds(tmp_path, "mnist", {"train": (pixels(2), [0, 1]), "test": (pixels(2), [0, 1])})
    assert load("mnist", data_dir=tmp_path).notes == ()
    assert (shipped.notes, shipped.version) == ((), "fashion_mnist_10k/1.0.0")


def test_unlabelled_splits_are_left_out_with_a_word(tmp_path):
    splits = {name: (pixels(2, seed=k), [k, k]) for k, name in enumerate(["train", "unlabelled", "validation"])}
    write_tfds(tmp_path, "own_set", splits)
    dataset = load("own_set", data_dir=tmp_path)
    assert dataset.labels.tolist() == [0, 0, 2, 2]
    assert dataset.notes[1:] == ("'own_set': left out the split unlabelled, 2 images without labels",)


def test_images_labelled_minus_one_are_left_out_with_a_word(tmp_path):
    images = pixels(2600)
    labels = np.arange(2600) % 3
    labels[1::2] = -1
    write_tfds(tmp_path, "own_set", {"train": (images[:2500], labels[:2500]), "test": (images[2500:], [-1] * 100)})
    dataset = load("own_set", data_dir=tmp_path)
    np.testing.assert_array_equal(dataset.images, images[:2500:2])
    np.testing.assert_array_equal(dataset.labels, labels[:2500:2])
    assert dataset.notes == (
        "'own_set': left out 1,250 images of the split train, labelled -1",
        "'own_set': left out 100 images of the split test, labelled -1",
    )
    few = load("own_set", data_dir=tmp_path, first=1200)
    np.testing.assert_array_equal(few.images, dataset.images[:1200])
    with pytest.raises(McalError, match=r"first 1300 images of 'own_set'.* has 1250"):
        load("own_set", data_dir=tmp_path, first=1300)


@pytest.mark.parametrize(("split", "label"), [("unsupervised", 0), ("train", -1)])
def test_a_set_without_labelled_images_is_named(tmp_path, split, label):
    write_tfds(tmp_path, "own_set", {split: (pixels(2), [label, label])})
    with pytest.raises(McalError, match=r"data set 'own_set' in .* has no labelled images"):
        load("own_set", data_dir=tmp_path)


def test_one_of_several_labels_is_chosen_by_supervised_keys_or_by_name(tmp_path):
    splits = {"train": (pixels(2), [0, 1])}
    write_tfds(tmp_path, "two_labels", splits, kinds=("other", "label"))
    assert load("two_labels", data_dir=tmp_path).labels.tolist() == [0, 1]
    assert load("two_labels#other", data_dir=tmp_path).labels.tolist() == [2, 2]
    write_tfds(tmp_path, "unclear", splits, kinds=("other", "label"), supervised=None)
    with pytest.raises(McalError, match=r"'unclear' has 2 class labels; .*: 'unclear#label' or 'unclear#other'"):
        load("unclear", data_dir=tmp_path)
    assert load("unclear#label", data_dir=tmp_path).labels.tolist() == [0, 1]
    assert load("unclear:1.0.0#other", data_dir=tmp_path).name == "unclear:1.0.0#other"
    with pytest.raises(McalError, match="'unclear#sex' has 2 class labels"):
        load("unclear#sex", data_dir=tmp_path)
    with pytest.raises(McalError, match="'two_labels#sex' has no image or class label 'sex', only image, label, other"):
        load("two_labels#sex", data_dir=tmp_path)
    write_tfds(tmp_path, "unlabelled_set", splits, kinds=(), supervised=None)
    with pytest.raises(McalError, match="'unlabelled_set' has no class label, only the features image"):
        load("unlabelled_set", data_dir=tmp_path)


def test_two_sets_of_one_name_and_version_are_told_apart(tmp_path):
    prints = []
    for folder, seed in (("one", 0), ("two", 1), ("again", 0)):
        write_tfds(tmp_path / folder, "own_set", {"train": (pixels(3, seed=seed), [0, 1, 2])})
        prints.append(fingerprint(load("own_set", data_dir=tmp_path / folder)))
    assert prints[0] == prints[2]
    assert {key for key in prints[0] if prints[0][key] != prints[1][key]} == {"images"}


def test_reading_tfds_takes_the_pool_and_one_chunk(tmp_path):
    images = np.zeros((3000, 32, 32, 3), np.uint8)
    write_tfds(tmp_path, "own_set", {"train": (images, [0] * 3000)})
    load("own_set", data_dir=tmp_path, first=10)  # what TFDS imports once is not counted
    assert peak(lambda: load("own_set", data_dir=tmp_path)) < 1.7 * images.nbytes


def test_images_of_several_sizes_are_refused(tmp_path):
    images = [*pixels(1100, side=2), *pixels(1, side=3)]
    write_tfds(tmp_path, "ragged", {"train": (images, [0] * 1101)})
    assert len(load("ragged", data_dir=tmp_path, first=1100).images) == 1100
    with pytest.raises(McalError, match=r"images of 'ragged' must have one size.*\(2, 2, 3\) and \(3, 3, 3\)"):
        load("ragged", data_dir=tmp_path)


@pytest.mark.parametrize("damage", ["truncated", "missing"])
def test_damaged_tfds_folder_is_named(tmp_path, damage):
    folder = write_tfds(tmp_path, "own_set", {"train": (pixels(2000, side=8), [0] * 2000)})
    (shard,) = folder.glob("*.array_record-*")
    if damage == "truncated":
        shard.write_bytes(shard.read_bytes()[:100_000])
    else:
        shard.unlink()
    with pytest.raises(McalError, match=r"data set 'own_set' in .*own_set/1\.0\.0 cannot be read") as caught:
        load("own_set", data_dir=tmp_path)
    assert "\n" not in str(caught.value)


def test_another_file_format_is_named(tmp_path):
    folder = write_tfds(tmp_path, "mnist", {"train": (pixels(2), [0, 1])})
    info = folder / "dataset_info.json"
    info.write_text(json.dumps(json.loads(info.read_text()) | {"fileFormat": "tfrecord"}))
    for function in (load, prepare):
        with pytest.raises(McalError, match=r"'mnist' in .*1\.0\.0 is in the format tfrecord, not array_record"):
            function("mnist", data_dir=tmp_path)


def test_not_prepared_tells_how_to_prepare(tmp_path, monkeypatch):
    with pytest.raises(McalError) as caught:
        load("cifar10", data_dir=tmp_path)
    assert str(caught.value) == (
        f"data set 'cifar10' is not prepared in {tmp_path}; "
        f"prepare it with: mcal data prepare cifar10 --data-dir {tmp_path}"
    )
    from tensorflow_datasets.core import constants

    monkeypatch.setattr(constants, "DATA_DIR", str(tmp_path / "tensorflow_datasets"))
    monkeypatch.setenv("HOME", str(tmp_path))
    with pytest.raises(McalError) as caught:
        load("cifar10")
    assert str(caught.value) == (
        "data set 'cifar10' is not prepared in ~/tensorflow_datasets; prepare it with: mcal data prepare cifar10"
    )


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("cifr10", "did you mean 'cifar10'?"),
        ("CIFAR10", "did you mean 'cifar10'?"),
        ("fashion-mnist", "did you mean 'fashion_mnist'?"),
        ("fashion_mnist10k", "did you mean 'fashion_mnist_10k'?"),
        ("qqqzzz", None),
        ("../no_pictures", None),
        ("", None),
        ("own_st", "did you mean 'own_set'?"),
        ("own_set:2.0.0", "did you mean 'own_set'?"),
        ("mnist/", "did you mean 'mnist'?"),
    ],
)
def test_unknown_names_get_a_hint(tmp_path, name, hint):
    write_tfds(tmp_path, "own_set", {"train": (pixels(2), [0, 1])})
    hint = hint or f"not in {tmp_path}, no set of TFDS, no path of a .npz file"
    for function in (load, prepare):
        with pytest.raises(McalError) as caught:
            function(name, data_dir=tmp_path)
        assert str(caught.value) == f"unknown data set '{name}': {hint}"
    assert [path.name for path in tmp_path.iterdir()] == ["own_set"]


def test_a_folder_that_is_not_there_is_named(tmp_path):
    with pytest.raises(McalError, match=r"unknown data set 'own_set': .*there is no folder '.*/nowhere'"):
        load("own_set", data_dir=tmp_path / "nowhere")
    with pytest.raises(McalError, match=r"no folder '.*/nowhere'"):
        available(tmp_path / "nowhere")


def test_a_folder_without_its_description_is_named(tmp_path):
    folder = write_tfds(tmp_path, "own_set", {"train": (pixels(2), [0, 1])})
    (folder / "features.json").unlink()
    with pytest.raises(McalError, match=r"'own_set' in .*/own_set is incomplete; delete that folder, prepare it again"):
        load("own_set", data_dir=tmp_path)


def test_the_command_that_prepares_can_be_pasted(tmp_path):
    with pytest.raises(McalError, match=r"mcal data prepare cifar10 --data-dir '.*/my sets'$"):
        load("cifar10#label", data_dir=tmp_path / "my sets")


def test_prepare_says_what_is_there_already(tmp_path, capsys):
    folder = write_tfds(tmp_path, "mnist", {"train": (pixels(2), [0, 1])})
    assert prepare("mnist", data_dir=tmp_path) == folder
    assert capsys.readouterr().out == f"data set 'mnist' is already prepared in {folder}\n"
    assert prepare(SHIPPED, data_dir=tmp_path).name == "1.0.0"


def test_prepare_without_tensorflow_says_what_to_install(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "tensorflow", None)
    with pytest.raises(McalError, match=r"'mnist' needs TensorFlow: pip install 'mcal-jax\[prepare\]'"):
        prepare("mnist", data_dir=tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_available_lists_what_is_there_and_why_some_cannot_be_read(tmp_path):
    assert [(s.name, s.images, s.shape, s.classes) for s in available(tmp_path)] == [(SHIPPED, 10000, (28, 28, 1), 10)]
    folder = write_tfds(tmp_path, "own_set", {"train": (pixels(5), [0] * 5), "test": (pixels(2), [1, 1])})
    write_tfds(tmp_path, "not_labelled", {"train": (pixels(2), [0, 1])}, kinds=(), supervised=None)
    write_tfds(tmp_path, "two_labels", {"train": (pixels(2), [0, 1])}, kinds=("one", "two"), supervised=None)
    (tmp_path / "broken" / "1.0.0").mkdir(parents=True)
    (tmp_path / "broken" / "1.0.0" / "dataset_info.json").write_text("{")
    _, *found = available(tmp_path)
    assert [one.name for one in found] == ["broken", "not_labelled", "own_set", "two_labels"]
    assert found[2] == ("own_set", 7, (None, None, 3), 3, folder, None)
    assert [one.images for one in found] == [0, 0, 7, 0]
    assert "incomplete" in found[0].problem
    assert "has no class label, only the features image" in found[1].problem
    assert "choose one by its name: 'two_labels#one' or 'two_labels#two'" in found[3].problem
    for one in found:
        if one.problem is None:
            assert len(load(one.name, data_dir=tmp_path).images) == one.images
        else:
            with pytest.raises(McalError) as caught:
                load(one.name, data_dir=tmp_path)
            assert str(caught.value) == one.problem
