"""Data sets as arrays: the one that ships, TFDS folders, own files, and what is said of bad ones."""

import hashlib
import io
import json
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from PIL import Image

from mcal_jax.data import SHIPPED, Dataset, available, from_arrays, load, prepare
from mcal_jax.types import McalError

SHA256_IMAGES = "a84f70bc4eaa1b2c5e671e99525a60f9dbe89328fa62013e4aa30ba11800c4df"
SHA256_LABELS = "85e2be1b62985fe36ef293a029e9559c3f6822643be932622c5042b8a1654a94"

uint8_images = hnp.arrays(np.uint8, hnp.array_shapes(min_dims=4, max_dims=4, min_side=1, max_side=4))


@pytest.fixture(scope="module")
def shipped() -> Dataset:
    return load(SHIPPED)


def pixels(n, side=4, channels=3, seed=0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (n, side, side, channels), np.uint8)


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
@pytest.mark.parametrize("value", [0, -3, 2.5])
def test_counts_must_be_positive_whole_numbers(option, value):
    with pytest.raises(McalError, match=f"{option} must be a whole number, 1 or more, not {value}"):
        load(SHIPPED, **{option: value})


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
    with pytest.raises(McalError, match="downsample 3 does not divide the 28 x 28 pixels of 'fashion_mnist_10k'"):
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
        ({"images": pixels(2) / 255.0}, "images of 'mine' are float64; .* uint8"),
        ({"images": pixels(2).astype(np.int64)}, "images of 'mine' are int64; .* uint8"),
        ({"images": pixels(2)[0, 0]}, r"images of 'mine' have shape \(4, 3\)"),
        ({"images": pixels(0)}, r"images of 'mine' have shape \(0, 4, 4, 3\)"),
        (
            {"images": pixels(2, side=5).transpose(0, 3, 1, 2)},
            r"shape \(2, 3, 5, 5\): the channels must come last",
        ),
        ({"images": [pixels(1)[0], pixels(1, side=5)[0]]}, "images of 'mine' do not make an array"),
        ({"images": np.array([None, None])}, "images of 'mine' are Python objects"),
        ({"images": pixels(2), "labels": [0.0, np.nan]}, "labels of 'mine' are float64"),
        ({"images": pixels(2), "labels": ["cat", "dog"]}, "labels of 'mine' are <U3"),
        ({"images": pixels(2), "labels": [True, False]}, "labels of 'mine' are bool"),
        ({"images": pixels(2), "labels": [0, 1, 0]}, r"labels of 'mine' have shape \(3,\), not \(2,\)"),
        ({"images": pixels(2), "labels": [[0], [1]]}, r"labels of 'mine' have shape \(2, 1\), not \(2,\)"),
        ({"images": pixels(2), "labels": [0, -1]}, "labels of 'mine' .* one is -1"),
        (
            {"images": pixels(2), "labels": [0, 2], "classes": ["a", "b"]},
            "labels of 'mine' .* 0 to 1, and one is 2",
        ),
        ({"images": pixels(2), "labels": [0, 10**12]}, "labels of 'mine' go up to 1000000000000"),
        ({"images": pixels(2), "classes": ["a", "b", "a"]}, "classes of 'mine' name 'a' more than once"),
        ({"images": pixels(2), "classes": [0, 1]}, "classes of 'mine' must be a list of names"),
        ({"images": pixels(2), "classes": "cat"}, "classes of 'mine' must be a list of names"),
    ],
)
def test_bad_arrays_are_named(arrays, message):
    with pytest.raises(McalError, match=message) as caught:
        from_arrays(**arrays, name="mine")
    assert "\n" not in str(caught.value)


def test_missing_npz():
    with pytest.raises(McalError, match=r"no file 'nowhere/own\.npz'"):
        load("nowhere/own.npz")


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
    with pytest.raises(McalError, match=r"own\.npz' has no array 'images', only: x_train, y_train"):
        load(tmp_path / "own.npz")


def test_pickled_npz_is_refused(tmp_path):
    np.savez(tmp_path / "own.npz", images=np.array([pixels(1)[0], None], object))
    with pytest.raises(McalError, match=r"own\.npz' cannot be read: .*[Oo]bject arrays"):
        load(tmp_path / "own.npz")


def test_bad_array_in_an_npz_names_the_file(tmp_path):
    np.savez(tmp_path / "own.npz", images=pixels(2) / 255.0)
    with pytest.raises(McalError, match=r"images of '.*own\.npz' are float64"):
        load(tmp_path / "own.npz")


def test_per_class_needs_labels(tmp_path):
    np.savez(tmp_path / "own.npz", images=pixels(2))
    with pytest.raises(McalError, match=r"per_class needs labels, and '.*own\.npz' has none"):
        load(tmp_path / "own.npz", per_class=1)


# TFDS folders


def test_train_and_test_are_pooled_in_this_order(tmp_path):
    train, test, spare = pixels(1500, seed=1), pixels(300, seed=2), pixels(20, seed=3)
    labels = np.arange(1820) % 3
    splits = {
        "test": (test, labels[1500:1800]),
        "extra": (spare, labels[1800:]),
        "train": (train, labels[:1500]),
    }
    write_tfds(tmp_path, "mnist", splits)
    both = load("mnist", data_dir=tmp_path)
    np.testing.assert_array_equal(both.images, np.concatenate([train, test]))
    np.testing.assert_array_equal(both.labels, labels[:1800])
    assert both.classes == ("cat", "dog", "emu")
    few = load("mnist", data_dir=tmp_path, first=1550)
    np.testing.assert_array_equal(few.images, both.images[:1550])
    np.testing.assert_array_equal(few.labels, both.labels[:1550])
    with pytest.raises(McalError, match=r"first 1801 images of 'mnist'.* has 1800"):
        load("mnist", data_dir=tmp_path, first=1801)


def test_without_a_test_split_all_labelled_splits_are_pooled(tmp_path):
    splits = {name: (pixels(2, seed=k), [k, k]) for k, name in enumerate(["train", "unlabelled", "validation"])}
    write_tfds(tmp_path, "own_set", splits)
    assert load("own_set", data_dir=tmp_path).labels.tolist() == [0, 0, 2, 2]


def test_a_set_without_labelled_images_is_named(tmp_path):
    write_tfds(tmp_path, "own_set", {"unsupervised": (pixels(2), [0, 0])})
    with pytest.raises(McalError, match=r"data set 'own_set' in .* has no labelled images"):
        load("own_set", data_dir=tmp_path)


def test_supervised_keys_choose_among_several_labels(tmp_path):
    splits = {"train": (pixels(2), [0, 1])}
    write_tfds(tmp_path, "two_labels", splits, kinds=("other", "label"))
    assert load("two_labels", data_dir=tmp_path).labels.tolist() == [0, 1]
    write_tfds(tmp_path, "unclear", splits, kinds=("other", "label"), supervised=None)
    with pytest.raises(McalError, match=r"'unclear/1\.0\.0' must have one class label, and has 0"):
        load("unclear", data_dir=tmp_path)
    write_tfds(tmp_path, "unlabelled_set", splits, kinds=(), supervised=None)
    with pytest.raises(McalError, match=r"'unlabelled_set/1\.0\.0' must have one class label"):
        load("unlabelled_set", data_dir=tmp_path)


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
        ("qqqzzz", "neither a TFDS set nor the path of a .npz file"),
        ("../pictures", "neither a TFDS set nor the path of a .npz file"),
        ("", "neither a TFDS set nor the path of a .npz file"),
    ],
)
def test_unknown_names_get_a_hint(tmp_path, name, hint):
    for function in (load, prepare):
        with pytest.raises(McalError) as caught:
            function(name, data_dir=tmp_path)
        assert str(caught.value) == f"unknown data set '{name}': {hint}"
    assert list(tmp_path.iterdir()) == []


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


def test_available_lists_what_load_can_read(tmp_path):
    assert [(s.name, s.images, s.shape, s.classes) for s in available(tmp_path)] == [(SHIPPED, 10000, (28, 28, 1), 10)]
    folder = write_tfds(tmp_path, "own_set", {"train": (pixels(5), [0] * 5), "test": (pixels(2), [1, 1])})
    write_tfds(tmp_path, "not_images", {"train": (pixels(2), [0, 1])}, kinds=(), supervised=None)
    (tmp_path / "broken" / "1.0.0").mkdir(parents=True)
    (tmp_path / "broken" / "1.0.0" / "dataset_info.json").write_text("{")
    _, own = available(tmp_path)
    assert own == ("own_set", 7, (None, None, 3), 3, folder)
