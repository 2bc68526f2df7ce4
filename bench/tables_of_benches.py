"""Tables for docs/ of what the scripts beside this one measured, as Markdown; docs_tables.py writes them there."""

import csv
from pathlib import Path

import numpy as np
import pandas as pd
from peers import PEAK_FLOPS
from tables_of_runs import NAMES

from mcal_jax.algorithm import cards
from mcal_jax.plots.architectures import display_name

ROOT = Path(__file__).parent.parent


def rows_of(name: str) -> list[dict[str, str]]:
    """The rows of a table under results/bench."""
    with (ROOT / f"results/bench/{name}.csv").open(encoding="utf-8") as file:
        return list(csv.DictReader(file))


def junk() -> str:
    """What a bound on the error within S avoids and costs, from results/bench/junk.csv, as Markdown."""
    rows = rows_of("junk")
    bounds = list(dict.fromkeys(row["machine_epsilon"] for row in rows))
    named = [f"{float(bound):.0%}" for bound in bounds if bound != "none"]
    lines = [
        f"| runs | configuration | junk, savings without a bound | {' | '.join(f'with {name}' for name in named)} |",
        f"|---|---|---|{'---|' * len(named)}",
    ]
    for k in range(0, len(rows), len(bounds)):
        free, *bounded = rows[k : k + len(bounds)]
        cells = [f"{free['runs']} of {free['worlds']}", free["reading"]]
        cells.append(f"{free['junk']}, {float(free['savings']):.1%}")
        cells += [f"{row['junk']}, {-100 * float(row['lost']) + 0.0:+.1f}" for row in bounded]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def peers(case: str, service: str) -> str:
    """MCAL and its peers on the same images, classifier, prices and seeds (bench/peers_labelling.py), as Markdown."""
    lines = [
        "| method | cost | more than certified MCAL | labelled by machine | wrong of X | epsilon broken | wrong of S |",
        "|---|---|---|---|---|---|---|",
    ]
    for row in rows_of("peers_labelling"):
        if (row["case"], row["service"]) == (case, service):
            got = {name: 100 * float(value) for name, value in row.items() if name not in TEXT}
            cells = [
                row["method"], f"{got['cost_share']:.1f} %",
                f"{got['more_than_certified']:+.1f} [{got['more_low']:+.1f}, {got['more_high']:+.1f}]",
                f"{got['machine']:.1f} %", f"{got['error']:.2f} %",
                f"{got['broken']:.0f} % [{got['broken_low']:.0f}, {got['broken_high']:.0f}]",
                f"{got['error_on_S']:.2f} %",
            ]  # fmt: skip
            lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


TEXT = ("case", "service", "method")


def pac_data() -> str:
    """PAC labels and MCAL's certificate on the data of PAC labels (bench/peers_labelling.py), as Markdown."""
    lines = [
        "| data | images | wrong | calibration labels | method | labels saved | wrong of all | epsilon broken |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for row in rows_of("peers_pac_data"):
        share = {name: f"{float(row[name]):.1%}" for name in ("wrong", "saved", "broken", "broken_low", "broken_high")}
        cells = [
            row["data"], f"{int(row['n']):,}", share["wrong"], row["calibration"], row["method"], share["saved"],
            f"{float(row['error']):.2%}", f"{share['broken']} [{share['broken_low']}, {share['broken_high']}]",
        ]  # fmt: skip
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


CERTIFIERS = {"trimmed": "mcal certify", "PAC, betting": "PAC labels", "PAC, asymptotic": "PAC labels, asymptotic"}
"""Methods of bench/certificates.py that the page on certifying compares, and what it calls them."""


def certificates_tables() -> str:
    """What certifying public tables of predictions costs, from results/bench/certificates_tables.csv, as Markdown."""
    lines = [
        "| table | items | planned sample | method | labelled by humans | 90th percentile | epsilon broken |",
        "|---|---|---|---|---|---|---|",
    ]
    for row in rows_of("certificates_tables"):
        if name := CERTIFIERS.get(row["method"]):
            share = {key: f"{float(row[key]):.1%}" for key in ("labels", "p90", "broke", "low", "high")}
            cells = [
                row["ranking"], f"{int(row['images']):,}", row["planned_V"], name, share["labels"], share["p90"],
                f"{share['broke']} [{share['low']}, {share['high']}]",
            ]  # fmt: skip
            lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


KINDS = {"real": "20 real classifiers", "world": "20 simulated worlds"}
METHODS = {
    "trimmed": "**smallest V** (`trimmed`)",
    "planned": "planned V",
    "strata": "two strata",
    "strata, betting": "two strata, betting",
    "Clopper-Pearson": "Clopper and Pearson, 100 thresholds in sequence",
    "PAC, betting": "PAC labels, betting",
    "PAC, asymptotic": "PAC labels, asymptotic: no guarantee",
}
"""Of bench/certificates.py, as they are called in docs/."""


def certificates() -> str:
    """What certificates cost by their sample and bound, from results/bench/certificates.csv, as Markdown."""
    rows = pd.DataFrame(rows_of("certificates")).astype({"labels": float, "p90": float, "broke": float})
    rows["kind"] = rows["ranking"].str.partition(" ")[0].str.rstrip(",")
    hard = rows[~rows["kind"].isin(KINDS)]
    titles = [f"{name}: labelled by humans, 90th percentile, broken" for name in KINDS.values()]
    titles += [f"broken most often of {hard['ranking'].nunique()} made to break them"]
    lines = [f"| sample and bound | {' | '.join(titles)} |", "|---|---|---|---|"]
    for method, name in METHODS.items():
        cells = [name]
        for kind in KINDS:
            own = rows[(rows["kind"] == kind) & (rows["method"] == method)]
            cells.append(f"{own['labels'].mean():.1%}, {own['p90'].mean():.1%}, {own['broke'].mean():.1%}")
        worst = hard[hard["method"] == method].sort_values("broke").iloc[-1]
        share = {key: f"{float(worst[key]):.1%}" for key in ("broke", "low", "high")}
        cells.append(f"{share['broke']} [{share['low']}, {share['high']}]: {worst['ranking']}")
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def bias() -> str:
    """The error that T predicts for the pool over the true one, from results/bench/bias.csv, as Markdown."""
    lines = [
        "| images | acquisition | \\|B\\| | seeds | error of U | by all of T | by the aged T | left of T |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for row in rows_of("bias"):
        size, error, left = int(row["B"]), float(row["error_of_U"]), float(row["left_of_T"])
        cells = [WORLDS[row["world"]], row["acquisition"].replace("_", " "), f"{size:,}", row["seeds"], f"{error:.1%}"]
        cells += [f"{float(row[of]):.2f} ± {float(row[f'{of}_se']):.2f}" for of in ("plain", "aged")]
        lines.append(f"| {' | '.join([*cells, f'{left:.0%}'])} |")
    return "\n".join(lines)


WORLDS = {"simulated": "simulated", "shipped": "Fashion-MNIST, 10,000"}


FEATURES = {
    "synthetic": "synthetic",
    "pixels": "pixels",
    "net": "of a ResNet18 trained on CIFAR-100",
    "": "none: the images",
}
"""Of bench/features.py, as they are called in docs/."""


def features() -> str:
    """What heads on features save beside a net on the images, certified, from results/bench/features.csv."""
    numbers = ["savings", "error", "training_cost", "seconds", "cpu_s", "peak_mb"]
    rows = pd.DataFrame(rows_of("features")).query("certify != ''").astype(dict.fromkeys(numbers, float))
    lines = [
        "| items | features | architecture | seeds | savings | true error | training | run | processor | memory |",
        "|---|---|---|---|---|---|---|---|---|---|",
    ]
    for (name, n, kind, d, head), own in rows.groupby(["data", "n", "features", "d", "head"], sort=False):
        mean = own[numbers].mean()
        cells = [f"{NAMES.get(name, name)}: {int(n):,}", f"{d} {FEATURES[kind]}" if int(d) else FEATURES[kind], head]
        cells += [f"{len(own)}", f"{mean['savings']:.1%}", f"{mean['error']:.2%}", f"${mean['training_cost']:,.2f}"]
        cells += [f"{mean['seconds']:.0f} s", f"{mean['cpu_s']:.0f} s", f"{mean['peak_mb'] / 1024:.1f} GB"]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def self_training() -> str:
    """Self-training beside ``fast``, from results/bench/semi_supervised.csv, as Markdown; what it is worth also by the
    sizes of ``fast`` in results/bench/recipes.csv."""
    numbers = ["images", "accuracy", "bias"]
    rows = pd.DataFrame(rows_of("semi_supervised")).astype({**dict.fromkeys(numbers, float), "size": int})
    more = pd.DataFrame(rows_of("recipes")).query("data == 'cifar10' and width == '8' and recipe == 'fast'")
    by_recipe = {name: own.groupby("size")[numbers].mean() for name, own in rows.groupby("recipe")}
    fast, taught = by_recipe["fast"], by_recipe["self_training"]
    seeds = rows.groupby("size")["seed"].nunique()
    extra = taught["images"] - fast["images"]
    curve = pd.concat([rows[rows["recipe"] == "fast"], more])[["size", "accuracy"]].astype(float)
    curve = curve.groupby("size")["accuracy"].mean()
    labels = np.exp(np.interp(taught["accuracy"], curve, np.log(curve.index))) - fast.index
    prices = [cards.image_price(name) for name in ("paper", "rtx3090")]
    lines = [
        "| \\|B\\| | seeds | `fast` | `self_training` | images processed | worth, labels | at $0.04 | at $0.003 "
        "| costs in 2021 | costs today | bias |",
        f"|{'---|' * 11}",
    ]
    for size, worth in zip(fast.index, labels, strict=True):
        was, now = fast.loc[size], taught.loc[size]
        cells = [f"{size:,}", f"{seeds[size]}", f"{was['accuracy']:.1%}", f"{now['accuracy']:.1%}"]
        cells += [f"{was['images']:,.0f} / {now['images']:,.0f}", f"{worth:,.0f}"]
        cells += [f"${price * worth:,.2f}" for price in (0.04, 0.003)]
        cells += [f"${price * extra[size]:,.4f}" for price in prices]
        cells += [f"{100 * was['bias']:+.1f} / {100 * now['bias']:+.1f}"]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def annotator_quality() -> str:
    """Three annotators of different quality, from results/bench/annotator_quality.csv, as Markdown."""
    lines = [
        "| policy | opinions a label | dollars | wrong of humans' labels | wrong of all | bound | runs above 5 % |",
        "|---|---|---|---|---|---|---|",
    ]
    for row in rows_of("annotator_quality"):
        share = {key: f"{float(row[key]):.1%}" for key in ("human_error", "error", "bound")}
        cells = [
            row["policy"], f"{float(row['opinions']):.2f}",
            f"{float(row['dollars']):.0f} (sd {float(row['dollars_sd']):.0f})",
            share["human_error"], f"{share['error']} (sd {float(row['error_sd']):.1%})", share["bound"],
            f"{row['broken']} of {row['seeds']}",
        ]  # fmt: skip
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def doors() -> str:
    """A whole labelling by each door, from results/bench/label_files.csv, as Markdown."""
    lines = [
        "| door | pictures | answers | lost | asked again | dollars | bound | true error | as `mcal.label` |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for row in rows_of("label_files"):
        share = [f"{float(row[key]):.2%}" for key in ("bound", "wrong")]
        cells = [row["door"], f"{int(row['images']):,}", *(row[key] for key in ("answers", "lost", "asked_again"))]
        cells += [f"${row['dollars']}", *share, {"True": "yes", "False": "no"}[row["same_bill"]]]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def annotators_load() -> str:
    """Many annotators at once on one server, from results/bench/annotators_load.csv, as Markdown."""
    lines = [
        "| annotators | seconds | answers | lost | to two | per s | latency, median | 99th percentile | load average |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for row in rows_of("annotators_load"):
        cells = [row["annotators"], row["seconds"], f"{int(row['answers']):,}", row["lost"], row["handed_to_two"]]
        cells += [f"{float(row['answers_a_second']):.0f}"]
        cells += [f"{float(row[key]) / 1000:.1f} s" for key in ("median_ms", "p99_ms")]
        cells += [f"{float(row['load_average']):.1f}"]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def services() -> str:
    """Several services under one certificate against each alone, from results/bench/services.csv, as Markdown."""
    lines = [
        "| who labels | worlds | cost over the expert's, median | quartiles | cheaper than the expert | epsilon broken "
        "| T and V / B / R, most often |",
        "|---|---|---|---|---|---|---|",
    ]
    for row in rows_of("services"):
        cells = [
            row["services"], row["worlds"], f"{float(row['cost_median']):.3f}",
            f"{float(row['cost_q1']):.3f} to {float(row['cost_q3']):.3f}", f"{float(row['cheaper_than_expert']):.0%}",
            f"{row['broken']} ({float(row['broken_low']):.1%} to {float(row['broken_high']):.1%})", row["T_V/B/R"],
        ]  # fmt: skip
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def speed() -> str:
    """Images a second on a CPU beside PyTorch and Keras, from results/bench/throughput.csv, as Markdown; without the
    smallest images."""
    lines = [
        "| architecture | images | training, images/s | over PyTorch | over Keras | scoring, images/s | over PyTorch "
        "| over Keras |",
        "|---|---|---|---|---|---|---|---|",
    ]
    cases: dict[tuple[str, ...], dict[str, dict[str, str]]] = {}
    for row in rows_of("throughput"):
        if row["device"].startswith("cpu") and int(row["shape"].split("x")[0]) >= 14:
            cases.setdefault((row["net"], row["shape"], row["width"]), {})[row["framework"]] = row
    for (net, shape, width), by in cases.items():
        cells = [display_name(net), f"{shape}, width {width}"]
        for what in ("train", "score"):
            ratios = [by.get(name, {}).get(f"{what}_ours_over_theirs", "") for name in ("torch", "keras")]
            cells += [f"{float(by['mcal_jax'][f'{what}_images_per_s']):,.0f}", *ratios]
        lines.append(f"| {' | '.join(cells)} |".replace("|  |", "| |"))
    return "\n".join(lines)


def kernels() -> str:
    """A training step on GPUs that are not at hand, from results/bench/kernels.csv, as Markdown."""
    lines = [
        "| GPU | batch | kernels | kernels under 1 MB | MB | TFLOP | least time, ms | launches at 2 us each, ms "
        "| images/s at most | share of the peak at most |",
        "|---|---|---|---|---|---|---|---|---|---|",
    ]
    rows, peak = rows_of("kernels"), PEAK_FLOPS["NVIDIA H200"]  # an H100's is the same
    small = {(row["card"], row["batch"]): row["kernels"] for row in rows if row["part"] == "small"}
    for row in (row for row in rows if row["part"] == "all"):
        flop, rate = 1e9 * float(row["gflop"]), float(row["images_a_second_at_most"])
        cells = [
            row["card"].upper(), row["batch"], row["kernels"], small[row["card"], row["batch"]],
            f"{float(row['mb']):,.0f}", f"{flop / 1e12:.2f}", f"{float(row['least_ms']):.2f}",
            f"{float(row['launch_ms']):.2f}", f"{rate:,.0f}", f"{rate / int(row['batch']) * flop / peak:.0%}",
        ]  # fmt: skip
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def streamed() -> str:
    """Pools that are streamed beside pools in memory, from results/bench/streamed_pool.csv, as Markdown."""
    lines = [
        "| net | images | work | file | in memory, images/s | streamed, images/s | ratio, median | by processor time "
        "| peak memory, MB | pool, MB |",
        "|---|---|---|---|---|---|---|---|---|---|",
    ]
    for row in rows_of("streamed_pool"):
        cells = [
            {"cheap": "linear head"}.get(row["net"], display_name(row["net"])), f"{int(row['n']):,}", row["work"],
            row["file"], f"{float(row['memory_images_s']):,.0f}", f"{float(row['streamed_images_s']):,.0f}",
            f"{float(row['ratio']):.2f}", f"{float(row['cpu_ratio']):.2f}", f"{float(row['peak_mb']):,.0f}",
            f"{float(row['pool_mb']):,.0f}",
        ]  # fmt: skip
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)
