"""The pictures show the numbers they are given, keep their colours, and are saved whole or not at all."""

import csv
import re
import subprocess
import sys
import warnings
from typing import NamedTuple

import matplotlib.pyplot as plt
import numpy as np
import pytest
from conftest import HOPELESS, MIDDLING, curves, readings
from hypothesis import given, settings
from hypothesis import strategies as st
from matplotlib import cbook
from matplotlib.collections import PolyCollection
from matplotlib.colors import to_hex, to_rgb

from mcal_jax import plots
from mcal_jax.algorithm import costs
from mcal_jax.algorithm.config import Config
from mcal_jax.algorithm.job import Job
from mcal_jax.data import Dataset
from mcal_jax.errors import McalError
from mcal_jax.runs.driver import Delivery, drive
from mcal_jax.worlds.simulated import Analytic, SimulatedWorld

N = 3000


class Done(NamedTuple):
    finished: Delivery
    config: Config
    steps: list


def run(config=None, curve=MIDDLING, **job):
    config, steps = config or Config(), []
    world = SimulatedWorld(N, curve)
    job = Job(n=N, config=config, **job)
    return Done(drive(job, world, observe=lambda number, *step: steps.append(step)), config, steps)


RUNS = {
    "usual": dict(),
    "hopeless": dict(curve=HOPELESS, config=Config(epsilon=0.002)),
    "budget": dict(config=Config(budget=60)),
    "on_S": dict(config=Config.authors_code()),
    "certified": dict(config=Config.certified(epsilon=0.1, repeat=0.3)),
    "race": dict(
        curve={"cnn18": Analytic(gamma=0.3), "resnet18": MIDDLING, "resnet50": Analytic(gamma=0.41)},
        architectures=("cnn18", "resnet18", "resnet50"),
    ),
}


@pytest.fixture(scope="module")
def runs():
    return {name: run(**setting) for name, setting in RUNS.items()}


@pytest.fixture(scope="module")
def usual(runs):
    return runs["usual"]


def figures(done):
    outcome, config = done.finished.outcome, done.config
    plans, history = outcome.plans, outcome.history
    dataset = Dataset("noise", np.zeros((N, 4, 4, 1), np.uint8), np.zeros(N, np.int32), ("right", "wrong"))
    return {
        "first surface": plots.cost_surface(plans[:1], N, config),
        "surface": plots.cost_surface(plans, N, config),
        "sizes": plots.cost_against_size(plans, N, config),
        "path": plots.plan_path(plans, N, config),
        "fits": plots.fits(history, plans[-1], config),
        "training": plots.training_cost(history, plans[-1], outcome.architecture, config),
        "rank": plots.error_by_rank(history[-1], plans[-1], N, config),
        "sets": plots.sets(outcome),
        "ledger": plots.ledger(outcome),
        "gallery": plots.gallery(dataset, done.finished, done.steps, columns=4),
    }


def bars(ax):
    """Widths of the bars of each row, in order, with their colours."""
    rows = {}
    for bar in ax.patches:
        rows.setdefault(round(bar.get_y() + bar.get_height() / 2), []).append((bar.get_width(), to_hex(bar.get_fc())))
    return rows


@pytest.mark.parametrize("name", RUNS)
def test_no_kind_of_run_breaks_a_figure_and_no_legend_covers_anything(runs, name):
    for kind, figure in figures(runs[name]).items():
        figure.draw_without_rendering()
        for ax in figure.axes:
            if legend := ax.get_legend():
                box = legend.get_window_extent()
                assert not box.overlaps(ax.get_window_extent()), kind
                assert not box.overlaps(ax.xaxis.label.get_window_extent()), kind
                assert figure.bbox.x0 - 1 <= box.x0 and box.x1 <= figure.bbox.x1 + 1 and box.y0 >= -1, kind  # noqa: PT018
    assert not plt.get_fignums(), "a figure left open is shown twice in a notebook"


def test_runs_are_what_their_names_say(runs):
    assert runs["hopeless"].finished.outcome.theta == 0
    assert len(runs["race"].finished.outcome.race) == 3


def breaks_the_constraint(plan, config):
    """Where a cost surface breaks Eqn 2, or the budget: bool [sizes, thetas]."""
    surface = plan.surface
    return surface.error >= config.epsilon if config.budget is None else surface.cost > config.budget


@pytest.mark.parametrize("name", ["usual", "budget"])
def test_the_shade_ends_at_the_line_and_is_just_what_breaks_the_constraint(runs, name):
    done = runs[name]
    plan = done.finished.outcome.plans[0]
    surface = plan.surface
    ax = plots.cost_surface([plan], N, done.config).axes[0]
    (shade,) = [
        c for c in ax.collections if isinstance(c, PolyCollection) and to_hex(c.get_facecolor()[0]) == "#d9d9d9"
    ]
    (outline,) = shade.get_paths()
    sizes, thetas = np.meshgrid(surface.sizes[1:-1], surface.thetas[:-1], indexing="ij")
    inside = outline.contains_points(np.column_stack([sizes.ravel(), thetas.ravel()])).reshape(sizes.shape)
    broken = breaks_the_constraint(plan, done.config)[1:-1, :-1]
    off_the_line = np.abs(thetas - surface.best_theta[1:-1, None]) > 1e-9
    assert np.array_equal(inside[off_the_line], broken[off_the_line])
    assert broken.any()
    edge = "largest θ allowed" if name == "usual" else "smallest θ within the budget"
    (line,) = [line for line in ax.lines if line.get_label() == edge]
    assert np.array_equal(line.get_ydata(), surface.best_theta)


def test_the_ring_is_at_the_optimum_and_the_frontier_under_the_shade(usual):
    plan = usual.finished.outcome.plans[1]
    lines = {line.get_label(): line for line in plots.cost_surface([plan], N, usual.config).axes[0].lines}
    ring = next(line for label, line in lines.items() if label.startswith("optimum"))
    assert (ring.get_xdata()[0], ring.get_ydata()[0]) == (plan.B_opt, plan.theta)
    best = lines["largest θ allowed"].get_ydata()
    for theta, allowed in zip(best, ~breaks_the_constraint(plan, usual.config), strict=True):
        assert theta == plan.surface.thetas[allowed][-1]


def test_the_bars_are_the_ledger(runs, usual):
    race = runs["race"].finished.outcome
    ax = plots.ledger(race, {"the usual": usual.finished.outcome}).axes[0]
    rows = bars(ax)
    for row, bill in enumerate((race.ledger, usual.finished.outcome.ledger)):
        widths = [width for width, _ in rows[row]]
        assert widths == pytest.approx([bill.test, bill.train, bill.residual, bill.training, bill.race])
        ends = [bar.get_x() + bar.get_width() for bar in ax.patches if round(bar.get_y() + 0.3) == row]
        assert ends == pytest.approx(np.cumsum(widths))
    assert race.ledger.race > 0
    assert rows[2] == [(race.ledger.humans_only, to_hex(plots.COLOURS["humans only"]))]
    assert [label.get_text() for label in ax.get_yticklabels()] == ["MCAL", "the usual", "humans only"]


def test_the_sets_fill_the_bar(usual):
    widths = [width for width, _ in bars(plots.sets(usual.finished.outcome).axes[0])[0]]
    assert widths == [len(getattr(usual.finished.outcome, name)) for name in "TBSR"]
    assert sum(widths) == N


def test_a_certified_run_shows_the_labels_of_its_certificate(runs):
    outcome = runs["certified"].finished.outcome
    widths = [width for width, _ in bars(plots.sets(outcome).axes[0])[0]]
    assert widths == [len(getattr(outcome, name)) for name in "TBVSR"]
    assert sum(widths) == N
    bill = outcome.ledger
    widths = [width for width, _ in bars(plots.ledger(outcome).axes[0])[0]]
    assert widths == pytest.approx([bill.test, bill.train, bill.certificate, bill.residual, bill.repeat, bill.training])
    assert sum(widths) == pytest.approx(bill.total)
    assert plots.set_columns(outcome)["images"][-1] == len(outcome.V) > 0


def test_a_thing_has_one_colour_everywhere(usual):
    outcome = usual.finished.outcome
    by_set = {name: to_hex(plots.COLOURS[name]) for name in "TBSR"}
    assert [colour for _, colour in bars(plots.sets(outcome).axes[0])[0]] == list(by_set.values())
    billed = [colour for _, colour in bars(plots.ledger(outcome).axes[0])[0]]
    assert billed[:3] == [by_set["T"], by_set["B"], by_set["R"]]
    sizes = {line.get_label(): line for line in plots.plan_path(outcome.plans, N, usual.config).axes[0].lines}
    assert to_hex(sizes["|B|"].get_color()) == by_set["B"]
    assert set(plots.APPEARANCES) >= set(costs.PAPER_PRICES["grey"])
    nets = {known.colour for known in plots.APPEARANCES.values()}
    assert len({*nets, *by_set.values()}) == len(plots.APPEARANCES) + len(by_set)
    unknown = plots.appearance("alexnet")
    assert unknown.name == "alexnet"
    assert unknown.colour not in nets


def test_fits_show_the_counts_and_no_mistakes_as_upper_limits(usual):
    outcome = usual.finished.outcome
    none = [fit._replace(wrong=fit.wrong[fit.wrong >= 0.5 * fit.n_test]) for fit in outcome.history]
    ax = plots.fits(none, outcome.plans[-1], usual.config, thetas=(0.5, 1.0)).axes[0]
    triangles = [line for line in ax.lines if line.get_marker() == "v" and len(line.get_xdata())]
    assert [len(line.get_xdata()) for line in triangles] == [len(none)]
    assert all(0 < p < 0.1 for p in triangles[0].get_ydata())
    points = ax.containers[-1].lines[0].get_ydata()
    assert points == pytest.approx([len(fit.wrong) / fit.n_test for fit in none])


@pytest.mark.parametrize(
    ("law", "name"), [("truncated", "a truncated power law (Eqn 3)"), ("pow3", "a power law with a floor")]
)
def test_the_panel_of_the_fits_names_their_law(usual, law, name):
    outcome = run(config=Config(law=law)).finished.outcome
    (ax,) = plots.fits(outcome.history, outcome.plans[-1], usual.config).axes
    assert ax.get_title("left") == f"the error falls as {name} of |B|"


def test_doubling_B_cuts_the_error_as_the_curve_drawn_does(usual):
    plan, outcome = usual.finished.outcome.plans[-1], usual.finished.outcome
    ax = plots.fits(outcome.history, plan, usual.config, thetas=(0.5,)).axes[0]
    (curve,) = [line for line in ax.lines if line.get_label() == "θ = 50 %"]
    now, then = np.exp(np.interp(np.log([plan.size, 2 * plan.size]), *np.log(curve.get_data())))
    bent = plan._replace(laws=tuple(law._replace(kappa=0.7) for law in plan.laws))
    law = bent.laws[int(np.argmin(np.abs(usual.config.thetas - 0.5)))]
    by_hand = 1 - 2.0**-law.gamma * np.exp(-law.kappa * plan.size / law.B0)
    for one, cut in ((plan, 1 - then / now), (bent, by_hand)):
        title = plots.run_findings(outcome._replace(plans=(one,)), usual.config)["fits"].finding
        (share,) = re.findall(r"Doubling \|B\| would cut the error at θ = 50 % by ([\d.]+) %", title)
        assert float(share) == pytest.approx(100 * cut, abs=0.7)


def test_where_X_is_too_small_to_double_B_the_title_ends_at_X(usual):
    outcome = usual.finished.outcome
    plan = outcome.plans[-1]
    most = int(1.5 * plan.size)
    small = plan._replace(surface=plan.surface._replace(sizes=np.array([plan.size, most])))
    title = plots.run_findings(outcome._replace(plans=(small,)), usual.config)["fits"].finding
    assert title.startswith(f"Raising |B| from {plan.size:,} to {most:,} would cut")


def test_nothing_is_to_be_labelled_after_the_last_training(usual):
    plans = usual.finished.outcome.plans
    above, below = plots.plan_path(plans, N, usual.config).axes
    assert [bar.get_height() for bar in above.containers[0]] == [plan.delta for plan in plans[:-1]]
    assert not below.containers
    one, _ = plots.plan_path(plans[:1], N, usual.config).axes
    assert not one.containers


def test_titles_and_notes_of_every_picture(runs):
    for done in runs.values():
        outcome = done.finished.outcome
        shown = plots.run_findings(outcome, done.config, "the scale", mistakes=3)
        assert all(headline.note.endswith("the scale") for headline in shown.values())
        assert ("certify" in shown["ledger"].note) == (outcome.ledger.certificate > 0)
        assert ("ε:" in shown["fits"].note) == (done.config.budget is None)
        assert ("Stable:" in shown["plan_path"].note) == any(plan.stable for plan in outcome.plans)
    outcome = runs["usual"].finished.outcome
    machine = len(outcome.S)
    titles = [plots.run_findings(outcome, Config(), mistakes=m)["gallery"].finding for m in (machine // 10, None)]
    assert titles == [
        f"{machine // 10:,} of the machine's {machine:,} labels (9.9 %) are wrong",
        f"The machine labelled {machine:,} images",
    ]
    nothing = outcome._replace(S=outcome.S[:0])
    assert plots.run_findings(nothing, Config())["gallery"].finding == "Humans labelled all images"


def test_rank_shows_the_error_of_every_top_share(usual):
    fit, plan = usual.finished.outcome.history[-1], usual.finished.outcome.plans[-1]
    ax = plots.error_by_rank(fit, plan, N, usual.config).axes[0]
    counted = next(line for line in ax.lines if "counted" in line.get_label())
    assert counted.get_ydata()[-1] == len(fit.wrong) / fit.n_test
    assert any(line.get_xdata()[0] == plan.theta_now for line in ax.lines if "taken" in line.get_label())
    (laws,) = [line for line in ax.lines if "laws" in line.get_label()]
    assert laws.get_xdata()[-1] == 1
    assert not laws.get_clip_on(), "the point at the edge would be cut in half"


def test_gallery_names_the_mistakes_and_only_those(usual):
    figure = figures(usual)["gallery"]
    mistakes = np.count_nonzero(usual.finished.labels[usual.finished.outcome.S])
    titles = [ax.get_title(loc="center") for ax in figure.axes]
    assert titles[-4:] == ["wrong\n(right)"] * 4
    assert set(titles[:12]) == {"right"}
    rows = [text.get_text() for ax in figure.axes for text in ax.texts]
    assert [row.split(":")[0] for row in rows] == ["humans"] * 3 + ["machine"] * 2
    assert f"{mistakes:,}\nmistakes" in rows[-1]
    texts = [text for ax in figure.axes for text in (*ax.texts, ax.title) if text.get_text()]
    assert min(plots.contrast(to_rgb(text.get_color())) for text in texts) >= 4.5


def test_drawing_on_given_axes_returns_their_figure(usual):
    figure, axes = plt.subplots(1, 2)
    assert plots.sets(usual.finished.outcome, ax=axes[0]) is figure
    assert plots.ledger(usual.finished.outcome, ax=axes[1]) is figure
    assert all(ax.patches for ax in axes)
    plt.close(figure)


def test_save_writes_the_picture_twice_and_its_numbers(usual, tmp_path):
    figure = plots.sets(usual.finished.outcome)
    paths = plots.save(figure, tmp_path / "new", "sets", {"set": ["T", "B"], "share": np.array([0.05, 1 / 3])})
    assert sorted(path.name for path in tmp_path.glob("new/*")) == ["sets.csv", "sets.png", "sets.svg"]
    assert all(path.stat().st_size for path in paths)
    with open(tmp_path / "new" / "sets.csv", encoding="utf-8") as file:
        assert list(csv.reader(file)) == [["set", "share"], ["T", "0.05"], ["B", "0.33333333"]]
    before = (tmp_path / "new" / "sets.svg").read_bytes()
    plots.save(figure, tmp_path / "new", "sets", {"set": []})
    assert (tmp_path / "new" / "sets.svg").read_bytes() == before, "the same figure, the same file"


def test_a_failed_save_leaves_what_was_there(usual, tmp_path, monkeypatch):
    figure = plots.sets(usual.finished.outcome)
    plots.save(figure, tmp_path, "sets", {"old": [1]})
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    with pytest.raises(ValueError, match="same length"):
        plots.save(figure, tmp_path, "sets", {"a": [1, 2], "b": [1]})
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before

    def full(*args, **kwargs):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(figure, "savefig", full)
    with pytest.raises(McalError, match="No space left"):
        plots.save(figure, tmp_path, "sets", {"new": [2]})
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before


def test_save_where_no_folder_can_be_is_one_line(usual, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(McalError, match=r"can't write .*file"):
        plots.save(plots.sets(usual.finished.outcome), tmp_path / "file", "sets", {})


@pytest.mark.parametrize(
    ("dollars", "text"),
    [
        (0, r"\$0"),
        (0.00066, r"\$0.00066"),
        (0.04, r"\$0.04"),
        (5, r"\$5"),
        (31.5, r"\$31.50"),
        (1234.5, r"\$1,234"),
        (-1234.5, r"−\$1,234"),
        (np.float64(-0.04), r"−\$0.04"),
        (np.inf, r"\$inf"),
    ],
)
def test_money(dollars, text):
    assert plots.money(dollars) == text


def test_table_escapes_what_would_end_a_cell():
    assert plots.table({"|B|": [1, 2], "p": ["a", "b"]}).splitlines() == [
        r"| \|B\| | p |",
        "| ---: | ---: |",
        "| 1 | a |",
        "| 2 | b |",
    ]


def test_pictures_need_no_jax():
    code = "import sys, mcal_jax.plots; sys.exit('jax' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_money_is_money_in_a_notebook_a_picture_and_a_file():
    text = f"{plots.money(601)} instead of {plots.money(2000)}, $|B|$ = 5"
    assert plots.plain(text) == "$601 instead of $2,000, $|B|$ = 5"
    shown = "<span>&#36;</span>601 instead of <span>&#36;</span>2,000, $|B|$ = 5"
    assert plots.html(text) == shown
    assert plots.markdown("A.", text).data == f"A.\n\n{shown}"
    assert not cbook.is_math_text(plots.money(601) + plots.money(2000))


NAMES = ("a$b$c", "$", "_x", r"\alpha $^", "two\nlines", "very long " * 20, "", "a|b", "犬")


@pytest.mark.parametrize("name", NAMES)
def test_names_are_shown_as_they_are(name):
    shown = plots.literal(name, 18)
    assert not cbook.is_math_text(shown)
    line = " ".join(name.split())
    assert shown.replace(r"\$", "$") == (line if len(line) <= 18 else line[:17] + "…")
    assert "\n" not in plots.table({"name": [name]}).splitlines()[2]


@pytest.mark.parametrize(
    ("channels", "note"), [(1, ""), (2, "2 channels"), (3, ""), (4, "4 channels"), (5, "5 channels")]
)
def test_images_of_any_number_of_channels_are_shown_and_it_says_how(usual, channels, note):
    images = np.arange(N * 12 * channels, dtype=np.uint8).reshape(N, 3, 4, channels)
    dataset = Dataset("noise", images, np.zeros(N, np.int32), NAMES[:2])
    figure = plots.gallery(dataset, usual.finished, usual.steps, columns=2)
    figure.draw_without_rendering()
    drawn = figure.axes[0].images[0].get_array()
    assert drawn.shape == ((3, 4, 3) if channels == 3 else (3, 4))
    assert note in figure.get_suptitle()
    assert bool(figure.get_suptitle()) == bool(note)


@st.composite
def tiny_worlds(draw):
    """A run on 4 to 200 images, whatever comes of it, with images of odd names and channels."""
    n = draw(st.sampled_from([4, 5, 7, 10, 20, 50, 120, 200]))
    config = draw(readings)(
        epsilon=draw(st.sampled_from([0.01, 0.05, 0.3])),
        label_price=draw(st.sampled_from([0.003, 0.04, 1000.0])),
        test_fraction=draw(st.sampled_from([0.02, 0.1, 0.3])),
        seed_fraction=draw(st.sampled_from([0.02, 0.1, 0.2])),
        max_steps=draw(st.integers(1, 6)),
        theta_step=0.25,
    )
    algorithm = draw(st.sampled_from(["mcal", "mcal", "humans_only", "without_active_learning"]))
    steps, seed = [], draw(st.integers(0, 99))
    job = Job(n=n, config=config, algorithm=algorithm)
    finished = drive(job, SimulatedWorld(n, draw(curves), seed=seed), observe=lambda number, *step: steps.append(step))
    rng, classes, channels = np.random.default_rng(seed), draw(st.integers(1, 5)), draw(st.integers(1, 5))
    finished = finished._replace(labels=rng.integers(0, classes, n))
    truth = draw(st.sampled_from([None, rng.integers(0, classes, n)]))
    images = rng.integers(0, 256, (n, 3, 4, channels)).astype(np.uint8)
    return Done(finished, config, steps), Dataset("odd", images, truth, NAMES[:classes])


def all_pictures(done, dataset):
    outcome, n = done.finished.outcome, done.finished.outcome.n
    yield plots.sets(outcome)
    yield plots.ledger(outcome, {"$a$": outcome})
    yield plots.gallery(dataset, done.finished, done.steps, columns=2)
    plans, history = outcome.plans, outcome.history
    if plans and history:
        yield plots.cost_surface(plans, n, done.config)
        yield plots.cost_against_size(plans, n, done.config)
        yield plots.plan_path(plans, n, done.config)
        yield plots.fits(history, plans[-1], done.config)
        yield plots.training_cost(history, plans[-1], outcome.architecture, done.config)
        yield plots.error_by_rank(history[-1], plans[-1], n, done.config)


def test_tiny_and_odd_worlds_are_drawn_without_error_or_warning():
    counts = []

    @settings(max_examples=8)
    @given(tiny_worlds())
    def draw(world):
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            counts.append(sum(figure.draw_without_rendering() is None for figure in all_pictures(*world)))

    draw()
    assert set(counts) <= {3, 9}
    assert counts.count(9) > 3


def test_a_surface_of_one_size_is_drawn(usual):
    plan = usual.finished.outcome.plans[0]
    first = {name: getattr(plan.surface, name)[:1] for name in ("sizes", "error", "cost", "best_theta", "least_cost")}
    one = plan._replace(surface=plan.surface._replace(**first), B_opt=plan.size)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        plots.cost_surface([one], N, usual.config).draw_without_rendering()
