"""What all devices of a process find in a training, a scoring and a run, as JSON; XLA_FLAGS says how many there are."""

import json
from functools import partial

import jax
import numpy as np

from mcal_jax.algorithm.config import Config
from mcal_jax.algorithm.job import Job
from mcal_jax.annotators.ground_truth import GroundTruth
from mcal_jax.data import from_arrays
from mcal_jax.runs.driver import drive
from mcal_jax.runs.provenance import device
from mcal_jax.training import devices, nets
from mcal_jax.training.pool import pool_of
from mcal_jax.training.programs import compilations, key_of
from mcal_jax.training.recipes import RECIPES
from mcal_jax.training.streaming import Streamed
from mcal_jax.training.trainer import Trainer
from mcal_jax.worlds.trained import TrainedWorld

RECIPE = RECIPES["fast"]._replace(batch=18, epochs=1, power=0, learning_rate=0.05)
BACKEND = devices.CPU._replace(ops=devices.XLA)
RNG = np.random.default_rng(0)
LABELS = RNG.integers(0, 3, 203)
IMAGES = RNG.integers(0, 120, (203, 6, 6, 1), dtype=np.uint8)
for image, label in zip(IMAGES, LABELS, strict=True):
    image[2 * label : 2 * label + 2] += 60


def trained(pool):
    """Weights, held whole by each device, and margins of a net."""
    build = partial(nets.ResNet, nets.basic, (1, 1))
    trainer = Trainer(pool, 3, architecture=build, width=4, recipe=RECIPE, backend=BACKEND)
    trainer.rehearse()
    before = compilations()
    model = trainer.fit(np.arange(100), LABELS[:100], key_of(0))
    assert compilations() == before
    scores = trainer.score(model, np.arange(203))
    leaves = jax.tree.leaves(model[:2])
    assert all(leaf.sharding.is_fully_replicated for leaf in leaves)
    weights = [np.asarray(leaf).ravel().tolist() for leaf in leaves]
    return {"weights": weights, "margins": scores.margin.tolist(), "labels": scores.label.tolist()}


def run():
    """What is decided and labelled in a run of MCAL, and how its classifier labels the same images again."""
    data = from_arrays(IMAGES.reshape(203, -1)[:, ::2].astype(np.float32), LABELS)
    job = Job(n=203, architectures=("linear",), config=Config(test_fraction=0.2, theta_step=0.25))
    world = TrainedWorld(data, GroundTruth(data))
    done = drive(job, world)
    outcome = done.outcome
    last = outcome.history[-1].model
    return {
        "sizes": [fit.size for fit in outcome.history],
        "wrong": [fit.wrong.tolist() for fit in outcome.history],
        "S": outcome.S.tolist(),
        "labels": done.labels.tolist(),
        "cost": outcome.ledger.total,
        "again": world.classifier(last).predict(data.images).label.tolist(),
    }


def found():
    """What the devices find; several hold the pool whole, divided and streamed."""
    pools = {"whole": pool_of(IMAGES)}
    if jax.local_device_count() > 1:
        pools["divided"] = pool_of(IMAGES, divided=True)
    held = {name: [len(shard.data) for shard in pool.images.addressable_shards] for name, pool in pools.items()}
    assert all(pool.n == len(IMAGES) for pool in pools.values())
    if jax.local_device_count() > 1:
        pools["streamed"] = Streamed(IMAGES)
    layout = devices.default().layout
    nets = {name: trained(pool) for name, pool in pools.items()}
    return {"device": device(), "layout": layout, "held": held, "nets": nets, "run": run()}


if __name__ == "__main__":
    print(json.dumps(found()))
