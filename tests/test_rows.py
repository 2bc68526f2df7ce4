"""Rows of arrays that are mapped from files are read from there, and are those of the mapping."""

import gc
import os

import numpy as np
import pytest

from mcal_jax.data import fingerprint, from_arrays
from mcal_jax.errors import McalError
from mcal_jax.rows import Rows

IMAGES = np.random.default_rng(0).integers(0, 256, (40, 3, 5, 2), np.uint8)
ORDERS = {
    "runs": np.array([0, 1, 2, 7, 8, 30, 39]),
    "none": np.array([], int),
    "any": np.array([9, 3, 4, 4, 39, 0, 1]),
}


@pytest.fixture
def mapped(tmp_path):
    np.save(tmp_path / "images.npy", IMAGES)
    return np.load(tmp_path / "images.npy", mmap_mode="r")


def take(array, indices):
    out = np.empty((len(indices), *array.shape[1:]), array.dtype)
    Rows(array).take(indices, out)
    return out


@pytest.mark.parametrize("indices", ORDERS.values(), ids=ORDERS)
def test_rows_from_a_file_are_those_of_the_array(mapped, indices):
    for array, expected in ((mapped, IMAGES), (mapped[5:][:35], IMAGES[5:]), (np.asarray(mapped), IMAGES)):
        some = indices[indices < len(array)]
        assert Rows(array)._part
        assert np.array_equal(take(array, some), expected[some])
        assert np.array_equal(Rows(array).block(2, 99), expected[2:])
    floats = IMAGES.astype(np.float32)
    assert np.array_equal(take(floats, indices), floats[indices])


def test_what_is_not_one_piece_of_the_file_is_read_by_its_mapping(mapped, tmp_path):
    changed = np.load(tmp_path / "images.npy", mmap_mode="c")
    changed[3] = 7
    for array in (mapped[::2], mapped[:, ::-1], changed):
        assert Rows(array)._part is None
        assert np.array_equal(take(array, np.arange(5)), array[:5])


def test_a_file_that_was_put_in_the_place_of_the_one_mapped_is_not_read(mapped, tmp_path):
    np.save(tmp_path / "new.npy", 255 - IMAGES)
    os.replace(tmp_path / "new.npy", tmp_path / "images.npy")
    assert np.array_equal(take(mapped, np.arange(40)), IMAGES)
    (tmp_path / "images.npy").unlink()
    assert np.array_equal(take(mapped, np.arange(40)), IMAGES)


def test_a_file_that_was_cut_off_is_named(tmp_path, mapped):
    rows = Rows(mapped)
    os.truncate(tmp_path / "images.npy", 300)
    with pytest.raises(McalError, match=r"images.npy has become shorter since it was opened"):
        rows.block(0, 40)


def test_files_are_closed_with_their_rows(mapped):
    gc.collect()  # those of other tests
    before = len(os.listdir("/proc/self/fd"))
    rows = [Rows(mapped) for _ in range(5)]
    assert len(os.listdir("/proc/self/fd")) == before + 5
    del rows
    gc.collect()
    assert len(os.listdir("/proc/self/fd")) == before


def test_a_pool_has_one_fingerprint_in_memory_and_on_disk(mapped):
    assert fingerprint(from_arrays(mapped)) == fingerprint(from_arrays(IMAGES))
