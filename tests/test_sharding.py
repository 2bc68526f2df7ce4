"""Several devices give what one gives, up to rounding. CPU devices are simulated, in a process of their own."""

import json
import os
import subprocess
import sys

import devices_example
import jax
import numpy as np
import pytest

from mcal_jax.training import sharding

pytestmark = pytest.mark.skipif(jax.local_device_count() > 1, reason="compares with one device")


@pytest.fixture(scope="module")
def one():
    return devices_example.found()


@pytest.mark.parametrize("count", [2, pytest.param(4, marks=pytest.mark.slow), pytest.param(8, marks=pytest.mark.slow)])
def test_several_devices_give_what_one_gives(one, count):
    """The mini-batch of 18 images is divided by 2 alone, and the pool of 203 by none."""
    environment = {**os.environ, "XLA_FLAGS": f"--xla_force_host_platform_device_count={count}", "JAX_PLATFORMS": "cpu"}
    command = [sys.executable, devices_example.__file__]
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
    assert done.returncode == 0, done.stderr[-2000:]
    several = json.loads(done.stdout)
    assert (several["device"], several["layout"]) == (f"cpu: cpu, {count} devices", "NHWC")
    assert several["held"] == {"whole": [203] * count, "divided": [-(-203 // count)] * count}
    (alone,) = one["nets"].values()
    for net in several["nets"].values():
        for leaf, expected in zip(net["weights"], alone["weights"], strict=True):
            np.testing.assert_allclose(leaf, expected, rtol=1e-4, atol=1e-5)
        np.testing.assert_allclose(net["margins"], alone["margins"], atol=1e-4)
        assert net["labels"] == alone["labels"]
    assert several["nets"].keys() == {"whole", "divided", "streamed"}
    assert several["run"] == one["run"]
    assert 0 < len(one["run"]["S"]) < 203


def test_one_device_is_no_mesh_and_nothing_is_constrained():
    assert sharding.mesh() is None
    x = {"a": jax.numpy.ones(3)}
    assert sharding.whole(x)["a"] is x["a"]
    assert sharding.divided(x["a"]) is x["a"]
    assert sharding.settled(x) is x
