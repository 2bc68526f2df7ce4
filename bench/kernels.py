"""What one training step is for a GPU that is not at hand: kernels, bytes and the least time, as XLA compiles it.

    python bench/kernels.py --batches 64 256 --out results/bench/kernels.csv

JAX's CUDA plugin (``pip install 'jax[cuda12]'``) compiles ``run_steps`` for a described H100. A kernel takes at least
the time of its bytes at the bandwidth of the card, and of its arithmetic at the peak; ``least_ms`` is the sum, one
kernel after the other. Launches come on top: ``launch_ms`` is ``--launch`` microseconds for each. Parts: convolutions
(cuDNN), sums (reductions), other passes over a megabyte or more, and small kernels.

Bytes are those of operands and results once, without caches. cuDNN chooses its algorithms on the card: what it reads
again or pads is not in here.
"""

import argparse
import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.experimental import topologies
from jax.sharding import SingleDeviceSharding
from peers import PEAK_FLOPS
from tables import publish

from mcal_jax.training import devices, nets
from mcal_jax.training.pool import Pool
from mcal_jax.training.programs import State, program_of, run_steps, split
from mcal_jax.training.recipes import RECIPES


class Card(NamedTuple):
    """By data sheet: bytes a second, bfloat16 FLOP a second."""

    bandwidth: float
    peak: float


CARDS = {"h100": Card(3.35e12, PEAK_FLOPS["NVIDIA H100 80GB HBM3"]), "h200": Card(4.8e12, PEAK_FLOPS["NVIDIA H200"])}
"""Of the SXM modules. Both have the same chip, and so the same program."""
H100 = """
gpu_device_info {
  threads_per_block_limit: 1024 threads_per_warp: 32 shared_memory_per_block: 49152 shared_memory_per_core: 233472
  threads_per_core_limit: 2048 core_count: 132 fpus_per_core: 128 block_dim_limit_x: 2147483647
  block_dim_limit_y: 65535 block_dim_limit_z: 65535 memory_bandwidth: 3352320000000 l2_cache_size: 52428800
  clock_rate_ghz: 1.98 device_memory_size: 84942979072 shared_memory_per_block_optin: 232448
  cuda_compute_capability { major: 9 minor: 0 } registers_per_core_limit: 65536 registers_per_block_limit: 65536
}
platform_name: "CUDA"
dnn_version_info { major: 9 minor: 8 }
device_description_str: "NVIDIA H100 80GB HBM3"
"""
BYTES = {"pred": 1, "u8": 1, "s8": 1, "bf16": 2, "f16": 2, "s32": 4, "u32": 4, "f32": 4, "s64": 8, "u64": 8}
ARRAY = re.compile(rf"\b({'|'.join(BYTES)})\[([\d,]*)\]")
FREE = {"parameter", "get-tuple-element", "tuple", "bitcast", "constant"}
"""Instructions that run nothing."""
SMALL = 1e6
POOL = 60_000
"""Images of the pool."""


class Kernel(NamedTuple):
    part: str
    bytes: int
    flops: float


def step_for_h100(net: str, width: int, batch: int, pixels: int) -> str:
    """The optimized program of ``run_steps`` on colour images of 10 classes, as text."""
    (card,) = topologies.get_topology_desc("h100", "cuda", target_config=H100, topology="1x1x1").devices
    there = SingleDeviceSharding(card)

    def of(shape: tuple[int, ...], dtype: object) -> jax.ShapeDtypeStruct:
        return jax.ShapeDtypeStruct(shape, dtype, sharding=there)

    rng = np.random.default_rng(0)
    built = nets.build(net, classes=10, channels=3, width=width, backend=devices.ACCELERATOR, rng=rng)
    graph, params, stats = split(built)
    recipe = RECIPES["fast"]._replace(batch=batch)
    state = State(params, stats, recipe.optimizer.init(params))
    pool = Pool(of((POOL, pixels, pixels, 3), jnp.uint8), of((3,), jnp.float32), of((3,), jnp.float32))
    picks = of((devices.ACCELERATOR.chunk, batch), jnp.int32)
    number = of((), jnp.int32)
    state = jax.tree.map(lambda x: of(x.shape, x.dtype), state)
    key = of((), jax.random.key(0).dtype)
    settings = (number, number, number, of((), jnp.float32), key)
    lowered = run_steps.lower(graph, program_of(recipe), state, pool, picks, picks, *settings)
    return lowered.compile().as_text()


def sizes(kind: str) -> list[tuple[int, tuple[int, ...]]]:
    """Bytes and shape of each array of a type as HLO writes it."""
    shapes = [(name, tuple(map(int, filter(None, dims.split(","))))) for name, dims in ARRAY.findall(kind)]
    return [(BYTES[name] * int(np.prod(shape, dtype=np.int64)), shape) for name, shape in shapes]


def kernels(program: str) -> Iterator[Kernel]:
    """Those of one pass of the loop over mini-batches."""
    body = re.search(r" while\(.*?body=%([\w.-]+), metadata=\{op_name=\"jit\(run_steps\)/while\"", program)
    text = re.search(rf"^%{re.escape(body[1])} .*?^\}}", program, re.MULTILINE | re.DOTALL)[0]
    kinds: dict[str, str] = {}
    for name, kind, op, rest in re.findall(r"^ +(?:ROOT )?%(\S+) = (.*?) ([\w-]+)\((.*)$", text, re.MULTILINE):
        kinds[name] = kind
        if op in FREE:
            continue
        results = sizes(kind)
        written = sum(size for size, _ in results)
        operands = [sizes(kinds[at]) for at in re.findall(r"%([\w.-]+)", rest.split("), ")[0]) if at in kinds]
        # Of the whole pool a kernel reads no more than it writes.
        arrays = [array for operand in operands for array in operand]
        read = sum(min(size, written) if shape[:1] == (POOL,) else size for size, shape in arrays)
        target = re.search(r'custom_call_target="__cudnn\$conv(\w+)"', rest)
        if target:
            yield Kernel("convolutions", read + written, convolution_flops(target[1], results, operands))
        elif read + written < SMALL:
            yield Kernel("small", read + written, 0.0)
        else:
            yield Kernel("sums" if "reduce" in name else "other passes", read + written, 0.0)


def convolution_flops(which: str, results: list, operands: list) -> float:
    """Two for each number of the activation beyond the convolution and each number of the kernel of one filter."""
    (_, first), (_, second) = operands[0][0], operands[1][0]
    result = results[0][1]
    beyond, filters = {
        "Forward": (result, second),
        "BackwardInput": (first, second),
        "BackwardFilter": (second, result),
    }[which]
    return 2.0 * np.prod(beyond, dtype=float) * np.prod(filters, dtype=float) / beyond[-1]


def table(args: argparse.Namespace) -> list[dict]:
    rows = []
    for batch in args.batches:
        found = list(kernels(step_for_h100(args.net, args.width, batch, args.pixels)))
        for name in args.cards:
            card = CARDS[name]
            for part in ("convolutions", "sums", "other passes", "small", "all"):
                own = [kernel for kernel in found if part in (kernel.part, "all")]
                least = sum(max(k.bytes / card.bandwidth, k.flops / card.peak) for k in own)
                launches = len(own) * args.launch * 1e-6
                rows.append(
                    {"card": name, "batch": batch, "part": part, "kernels": len(own)}
                    | {"mb": sum(k.bytes for k in own) / 1e6, "gflop": sum(k.flops for k in own) / 1e9}
                    | {"least_ms": 1e3 * least, "launch_ms": 1e3 * launches}
                    | {"images_a_second_at_most": round(batch / (least + launches)) if part == "all" else ""}
                )
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--net", default="resnet18")
    parser.add_argument("--width", type=int, default=64)
    parser.add_argument("--pixels", type=int, default=32)
    parser.add_argument("--batches", type=int, nargs="+", default=[64, 256])
    parser.add_argument("--cards", nargs="+", choices=CARDS, default=["h100", "h200"])
    parser.add_argument("--launch", type=float, default=2.0, help="microseconds between kernels, an assumption")
    parser.add_argument("--out", type=Path)
    args = parser.parse_args()
    publish(table(args), args.out, net=args.net)


if __name__ == "__main__":
    main()
