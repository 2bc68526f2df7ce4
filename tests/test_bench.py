"""The benchmarks: command lines, counts by hand, the recipe told twice, and rivals whose nets are ours."""

import importlib.util
import subprocess
import sys
from itertools import combinations, product

import jax
import numpy as np
import pandas as pd
import pytest
from flax import nnx
from hypothesis import given
from hypothesis import strategies as st

from mcal_jax.algorithm.config import Config
from mcal_jax.algorithm.mcal import mcal
from mcal_jax.algorithm.protocol import TrainResult
from mcal_jax.errors import McalError
from mcal_jax.runs.settings import home
from mcal_jax.training.nets import build
from mcal_jax.training.recipes import RECIPES
from mcal_jax.worlds.difficulty import DifficultyWorld
from mcal_jax.worlds.simulated import THETA_GRID, Analytic, Recorded

sys.path.insert(0, str(home() / "bench"))
import device
import labelling_peers
import labelling_worlds
import learned_confidence
import mcal_run
import peers
import peers_labelling
import recipes
import simulated_worlds
import speed_net
import throughput
from two_strata import TwoStrata

NETS = tuple(peers.KINDS)


def test_resnets_have_the_published_size_and_work():
    """He et al.'s nets for CIFAR-10 with a 3x3 stem: 11.17 and 23.52 million parameters, 0.56 and 1.30 G."""
    known = {"resnet18": (11_173_962, 0.556e9), "resnet50": (23_520_842, 1.298e9)}
    for name, (size, work) in known.items():
        layers = peers.net(name, 3, 64)
        assert peers.parameters(layers, 10) == size
        assert peers.multiply_adds(layers, (32, 32, 3), 10) == pytest.approx(work, rel=2e-3)
    assert peers.training_flops(peers.size("cnn18", (32, 32, 3), 64, 10).multiply_adds) < 6 * 0.556e9


@pytest.mark.parametrize("name", NETS)
@pytest.mark.parametrize(("channels", "width"), [(1, 4), (3, 2)])
def test_rivals_are_built_from_a_plan_of_our_nets(name, channels, width):
    ours = build(name, classes=7, channels=channels, width=width, rng=np.random.default_rng(0))
    found = sum(p.size for p in jax.tree.leaves(nnx.state(ours, nnx.Param)))
    assert peers.parameters(peers.net(name, channels, width), 7) == found


@pytest.mark.parametrize("name", NETS)
def test_multiply_adds_are_those_of_the_compiled_forward_pass(name):
    """XLA counts two FLOPs a multiply-add, those on the zeros of the padding too, and the batch norms."""
    net = build(name, classes=10, channels=1, width=16, rng=np.random.default_rng(0))
    images = jax.ShapeDtypeStruct((8, 28, 28, 1), np.float32)
    cost = jax.jit(lambda x: net(x)[0]).lower(images).cost_analysis()
    counted = peers.multiply_adds(peers.net(name, 1, 16), (28, 28, 1), 10)
    assert cost["flops"] / 2 / 8 == pytest.approx(counted, rel=0.2)


@given(size=st.integers(1, 100_000), done=st.floats(0, 1))
def test_the_rivals_recipe_is_ours(size, done):
    ours, theirs = RECIPES["short"], peers.Recipe()
    for field in ("epochs", "power", "batch", "learning_rate", "label_smoothing", "shift", "flip"):
        assert getattr(ours, field) == getattr(theirs, field)
    assert ours.steps(size) == theirs.steps(size)
    assert float(ours.rate(done, 1)) == pytest.approx(theirs.learning_rate * theirs.factor(done), abs=1e-6)


def test_the_rivals_optimizer_is_ours():
    rival, params = peers.Recipe(), {"w": np.full((2, 2), 3.0), "b": np.full(2, 3.0)}
    optimizer = RECIPES["short"].optimizer
    state, velocity = optimizer.init(params), dict.fromkeys(params, 0.0)
    for gradient in (1.0, -2.0, 0.5):
        grads = {name: np.full_like(p, gradient) for name, p in params.items()}
        update, state = optimizer.update(grads, state, params)
        for name, p in params.items():
            g = grads[name] + (rival.decay * p if p.ndim > 1 else 0)
            velocity[name] = rival.momentum * velocity[name] + g
            assert np.allclose(update[name], g + rival.momentum * velocity[name], atol=1e-5)


def test_a_rival_of_another_size_is_an_error():
    peers.check_parameters("torch", 5, 5)
    with pytest.raises(McalError, match="the net of torch has 6 parameters, not 5"):
        peers.check_parameters("torch", 6, 5)


def test_peaks_are_known_by_the_name_of_the_device():
    assert peers.peak_flops("NVIDIA H100 80GB HBM3") == 989e12
    assert peers.peak_flops("NVIDIA A100-SXM4-80GB") == 312e12
    assert peers.peak_flops("NVIDIA H100 PCIe") is None
    assert peers.peak_flops("cpu, 2 cores") is None


def test_what_is_not_installed_is_told():
    peers.check_installed(["numpy"])
    with pytest.raises(McalError, match=r"no_such_thing is not installed.*bench"):
        peers.check_installed(["numpy", "no_such_thing"])


@pytest.mark.parametrize(
    ("module", "line"),
    [
        (throughput, "--cases smoke paper --nets resnet18 --against torch keras --rounds 1 --seconds 0.5 --out a.csv"),
        (mcal_run, "--seeds 0 1 --first 600 --out a.csv"),
        (recipes, "--data cifar10 --downsample 2 --width 8 --recipes fast paper --sizes 600 --seeds 0 --out a.csv"),
    ],
)
def test_command_lines_parse(module, line, capsys):
    assert module.arguments().parse_args(line.split()).out.name == "a.csv"
    with pytest.raises(SystemExit):
        module.arguments().parse_args([*line.split(), "--no-such-option"])
    with pytest.raises(SystemExit):
        module.arguments().parse_args(["--help"])
    assert "python bench/" in capsys.readouterr().out


def test_ratios_are_medians_over_rounds_of_ours_over_theirs():
    task = throughput.Task("smoke", "resnet18", (4, 4, 1), 4, 64)
    speeds = {
        "mcal_jax": {"train": [200.0, 300.0, 100.0], "score": [10.0, 10.0, 10.0]},
        "torch": {"train": [100.0, 100.0, 100.0], "score": [20.0, 40.0, 5.0]},
    }
    ready = throughput.Ready("1", "NVIDIA H200", "bfloat16", 44_550, 1.0)
    size = peers.size("resnet18", (4, 4, 1), 4, 10)
    row = throughput.row(task, size, "torch", ready, 3, speeds)
    assert (row["train_ours_over_theirs"], row["score_ours_over_theirs"]) == ("2.00", "0.50")
    assert (row["score_images_per_s"], row["score_least"], row["score_most"]) == ("20.00", "5.000", "40.00")
    assert "train_ours_over_theirs" not in throughput.row(task, size, "mcal_jax", ready, 3, speeds)


def test_rows_of_the_same_case_are_replaced_and_others_stay(tmp_path):
    path = tmp_path / "a.csv"
    row = dict.fromkeys(throughput.KEY, "x")
    throughput.store(path, [row | {"framework": "a", "rounds": 1}, row | {"framework": "b", "rounds": 1}])
    throughput.store(path, [row | {"framework": "b", "rounds": 2}])
    lines = path.read_text(encoding="utf-8").splitlines()
    assert len(lines) == 3
    assert [line.split(",")[throughput.COLUMNS.index("rounds")] for line in lines[1:]] == ["1", "2"]


def test_time_belongs_to_the_innermost_part():
    spans = [("other", 0.0, 10.0), ("train", 1.0, 6.0), ("compile", 1.5, 3.5), ("compile", 2.0, 3.0), ("plan", 7, 9),
             ("laws", 7.5, 8)]  # fmt: skip
    found = mcal_run.shares(spans)
    wanted = {"compile": 2.0, "train": 3.0, "plan": 1.5, "laws": 0.5, "other": 3.0, "score": 0.0, "select": 0.0}
    assert found == pytest.approx(wanted)


def test_trainings_on_as_many_labels_are_pooled_over_their_test_images():
    one = TrainResult(3, 100, 10, np.array([5, 9]), 1, 1.0)
    two = TrainResult(4, 400, 30, np.array([29]), 1, 1.0)
    both = simulated_worlds.pooled([one, two])
    assert (both.size, both.n_test) == (200, 40)
    assert both.errors(np.array([0.5, 0.6, 0.9, 1.0])).tolist() == [0, 1, 1, 3]


def test_a_run_that_began_late_learns_before_as_others_did_and_meets_itself():
    own = Recorded((TrainResult(0, 1000, 1000, np.arange(700, 1000, 2), 0, 0.0),))
    law = Analytic(alpha=3.0, gamma=0.4, quality=2.0)
    curve = simulated_worlds.Lengthened(own, 1000, law)
    at = np.array([0.8, 0.9, 1.0])
    assert curve.wrong_share(at, 5000) == pytest.approx(own.wrong_share(at, 1000))
    assert curve.wrong_share(at, 1000) == pytest.approx(own.wrong_share(at, 1000))
    more = law.wrong_share(at, 500) / law.wrong_share(at, 1000)
    assert curve.wrong_share(at, 500) == pytest.approx(own.wrong_share(at, 1000) * more, rel=0.01)
    share = curve.wrong_share(THETA_GRID, 2)
    assert (share <= THETA_GRID).all()
    assert (np.diff(share) >= 0).all()


def test_recorded_worlds_have_the_curve_of_every_trajectory():
    curves = simulated_worlds.curves()
    assert len(curves) > 50
    for n, curve in curves:
        first, small = (curve.wrong_share(np.array([1.0]), size)[0] for size in (curve.first, 0.01 * n))
        assert curve.first > 0.03 * n
        assert first < small <= 1


def test_worlds_of_recorded_curves_are_still_those_of_the_table():
    """New logs under results/runs change none of them."""
    table = pd.read_csv(home() / "results/bench/world_runs.csv")
    rows = table[(table["family"] == "recorded") & (table["reading"] == "certified 0.1") & (table["seed"] == 2026)]
    for row in rows.iloc[:3].to_dict("records"):
        again = simulated_worlds.measure("recorded", "certified 0.1", 2026, int(row["world"]))
        assert again["dollars"] == pytest.approx(row["dollars"], rel=1e-6)
        assert again["clairvoyant"] == pytest.approx(row["clairvoyant"], rel=1e-6)


def test_validation_images_and_test_images_are_never_trained_on(tmp_path):
    assert recipes.sizes_of("cifar10", list(recipes.SIZES)) == [600, 2000, 6000, 20_000, 40_000]
    assert recipes.sizes_of("fashion_mnist", list(recipes.SIZES))[-1] == 50_000
    seen = {}

    class Watching:
        def fit(self, indices, labels, key):
            seen.update(train=indices, labels=labels)
            raise McalError("the loss is no longer finite")

    labels = np.arange(12_000)
    one = recipes.Training("cifar10", 2, "resnet18", 8, "fast", 2000, 0)
    row = recipes.measure(one, Watching(), labels)
    assert "accuracy" not in row
    assert np.array_equal(np.sort(seen["train"]), np.arange(2000))
    assert np.array_equal(seen["labels"], labels[seen["train"]])
    recipes.append(tmp_path / "a.csv", row)
    assert recipes.there(tmp_path / "a.csv") == {tuple(map(str, one))}


PYTORCH = """
import sys
sys.path[:0] = sys.argv[1:3]
import numpy as np
import mcal_run, peer_torch, peers, torch_mcal
from conftest import MIDDLING, same
from mcal_jax.data import from_arrays
from mcal_jax.runs.driver import drive
from mcal_jax.runs.runlog import RunLog
from mcal_jax.algorithm.config import Config; from mcal_jax.algorithm.job import Job
from mcal_jax.worlds.simulated import SimulatedWorld

def net_is_ours_and_learns():
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 2, 200)
    images = np.where(labels[:, None, None, None] == 1, 180, 60) + rng.integers(-40, 40, (200, 6, 6, 1))
    images = images.astype(np.uint8)
    for name in peers.KINDS:
        trainer = peer_torch.Trainer(images, 2, architecture=name, width=2)
        assert trainer.parameters == peers.parameters(peers.net(name, 1, 2), 2)
    trainer = peer_torch.Trainer(images, 2, width=2, recipe=peers.Recipe(epochs=4, power=0))
    assert trainer.choose_threads() >= 1
    model = trainer.fit(np.arange(160), labels[:160], 0)
    assert model.images == 4 * 3 * 64
    scores = trainer.score(model, np.arange(160, 200))
    assert (scores.label == labels[160:]).mean() > 0.9
    assert np.all((scores.margin >= 0) & (scores.margin <= scores.confidence + 1e-6))

def follows_a_recorded_run():
    rng = np.random.default_rng(0)
    images = from_arrays(rng.integers(0, 256, (300, 4, 4, 1)).astype(np.uint8), rng.integers(0, 3, 300))
    job = Job(n=300, config=Config(theta_step=0.25))
    log = RunLog.create(sys.argv[3], job, {})
    recorded = drive(job, SimulatedWorld(300, MIDDLING), log)
    log.close()
    world = torch_mcal.TorchWorld(images, width=2, recipe=peers.Recipe(epochs=1, power=0), seed=0)
    follower = mcal_run.Following(world, RunLog.read(sys.argv[3]))
    followed = drive(job, follower)
    assert same(followed.outcome, recorded.outcome)
    assert [fit.size for fit in follower.fits] == [fit.size for fit in recorded.outcome.history]
    assert all(fit.wrong.max() < fit.n_test for fit in follower.fits)

net_is_ours_and_learns()
follows_a_recorded_run()
assert "jax" not in sys.modules  # its imports are no time of a PyTorch run
print("both")
"""


@pytest.mark.slow
def test_pytorch_trains_our_nets_and_follows_a_recorded_run(tmp_path):
    if importlib.util.find_spec("torch") is None:
        pytest.skip("PyTorch is not installed")
    folders = [str(home() / "bench"), str(home() / "tests")]
    command = [sys.executable, "-c", PYTORCH, *folders, str(tmp_path / "run.jsonl")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout == "both\n"


def test_whitened_patches_are_uncorrelated_and_their_negatives_follow():
    rng = np.random.default_rng(0)
    rough = rng.standard_normal((200, 9, 9, 3)) @ np.array([[1, 0.9, 0.8], [0, 0.3, 0.2], [0, 0, 0.1]])
    images = rough + rough.mean((1, 2), keepdims=True)
    kernels = speed_net.whitening(images)
    assert kernels.shape == (2, 2, 3, 24)
    np.testing.assert_array_equal(kernels[..., 12:], -kernels[..., :12])
    numbers = ("NHWC", "HWIO", "NHWC")
    seen = jax.lax.conv_general_dilated(images, kernels[..., :12], (1, 1), "VALID", dimension_numbers=numbers)
    flat = np.asarray(seen).reshape(-1, 12)
    np.testing.assert_allclose(flat.T @ flat / len(flat), np.eye(12), atol=0.2)


def test_the_speed_net_learns_and_leaves_alone_what_is_frozen():
    rng = np.random.default_rng(0)
    labels = np.arange(128) % 2
    images = (rng.integers(0, 128, (128, 14, 14, 1)) + 120 * labels[:, None, None, None]).astype(np.uint8)
    recipe = speed_net.RECIPE._replace(epochs=6, batch=32, learning_rate=0.05)
    trainer = speed_net.SpeedTrainer(images, 2, width=4, recipe=recipe)
    model = trainer.fit(np.arange(128), labels, jax.random.key(0))
    assert (trainer.score(model, np.arange(128)).label == labels).mean() > 0.95
    fresh = trainer.build(rng=np.random.default_rng(5))
    np.testing.assert_array_equal(model.params["whiten"][...], fresh.whiten[...])
    first = model.params["groups"][0]["norms"][0]
    np.testing.assert_array_equal(first["scale"][...], 1)
    assert np.abs(first["bias"][...]).max() > 0


def test_trainings_of_one_length_are_summarised_together():
    rows = [dict(epochs=e, accuracy=a, seconds=s) for e, a, s in ((16, 0.93, 2.0), (20, 0.941, 3.0), (20, 0.939, 4.0))]
    short, long = device.summarised(rows)
    assert (short["epochs"], short["reached_94"], short["of"]) == (16, 0, 1)
    assert (long["worst_accuracy"], long["reached_94"], long["median_seconds"]) == (0.939, 1, 3.5)
    assert long["mean_accuracy"] == pytest.approx(0.94)


def test_two_strata_state_the_risk_of_the_worst_ranking():
    """Against all V and all rankings of nine images, of which the first four are one stratum."""
    design = TwoStrata(4, 2, 5, 3, weight=1.5)
    rankings = (np.arange(2**9)[:, None] >> np.arange(9) & 1).astype(bool)
    pairs = product(combinations(range(4), 2), combinations(range(4, 9), 3))
    draws = [np.isin(np.arange(9), [*first, *rest]) for first, rest in pairs]
    weights = np.repeat([1.5, 1.0], [4, 5])
    for limit, threshold in product((1, 2, 3), (0.0, 1.0, 1.5, 2.5)):
        in_S = [np.cumsum(weights * (rankings & V), axis=1) <= threshold for V in draws]
        broke = sum((rankings & ~V & S).sum(axis=1) >= limit for V, S in zip(draws, in_S, strict=True))
        assert design.chance_of_failure(threshold, limit) == pytest.approx(broke.max() / len(draws))


# ---------------------------------------------------------------------------------------------------------
# Peers that label


def scored(confidence, label=None):
    confidence = np.asarray(confidence, float)
    return labelling_worlds.Scored(np.zeros(len(confidence), int) if label is None else label, confidence, None)


def test_a_threshold_is_the_lowest_at_which_enough_validation_images_are_right(monkeypatch):
    monkeypatch.setattr(labelling_peers, "FEWEST", 0)
    V = scored([0.9, 0.8, 0.7, 0.6, 0.5])
    wrong = np.array([False, False, True, False, False])
    seen = labelling_peers.Round(V, wrong, np.ones(5, bool), scored([0.75, 0.55] + 8 * [0.1]), True, 20)
    assert labelling_peers.thresholds_on_S(seen, 0.2, c_1=0) == [0.5]
    assert labelling_peers.thresholds_on_S(seen, 0.19, c_1=0) == [0.8]
    assert labelling_peers.thresholds_on_S(seen, 0.2, c_1=0.25) == [0.8]
    # above 0.6 lie two images of the pool, a quarter of which is expected to be wrong: 2.5 % of X
    assert labelling_peers.threshold_on_X(seen, 0.025, c_1=0) == [0.5]
    assert labelling_peers.threshold_on_X(seen._replace(last=False), 0.5) == [np.inf]


def test_each_class_has_its_own_threshold():
    label = np.repeat([0, 1], 40)
    confidence = np.tile(np.linspace(1, 0.5, 40), 2)
    wrong = (label == 1) & (confidence < 0.7)
    V = scored(confidence, label)._replace(logits=np.zeros((80, 2)))
    at = labelling_peers.thresholds_on_S(labelling_peers.Round(V, wrong, wrong >= 0, V, True, 160), 0.05)
    assert at[0] == 0.5
    assert 0.65 < at[1] < 0.71
    assert labelling_peers.above(V, at).sum() == 40 + (confidence[40:] >= at[1]).sum()


def test_a_betting_bound_fails_no_more_often_than_it_says():
    rng = np.random.default_rng(0)
    excluded = [labelling_peers.betting_excludes(rng.random(400) < 0.05, 0.05, 0.1) for _ in range(400)]
    assert 0.01 < np.mean(excluded) < 0.13
    assert labelling_peers.betting_excludes(np.zeros(200, bool), 0.05, 0.05)
    assert not labelling_peers.betting_excludes(np.zeros(20, bool), 0.05, 0.05)


def test_pac_labels_end_where_the_bound_exceeds_epsilon():
    rng = np.random.default_rng(1)
    confidence = rng.random(2000)
    draws = rng.integers(0, 2000, 500)
    wrong = rng.random(500) > confidence[draws] + 0.3
    at = labelling_peers.pac_threshold(confidence, draws, wrong, 0.03, 0.05)

    def allowed(level):
        return labelling_peers.betting_excludes(wrong & (confidence[draws] > level), 0.03, 0.05)

    below = confidence[confidence < at].max()
    assert allowed(at)
    assert not allowed(below)
    assert labelling_peers.pac_threshold(confidence, draws, wrong & False, 0.03, 0.05) == -np.inf


def test_peers_label_every_image_once_and_pay_for_what_they_buy():
    n, config = 4000, Config.certified()
    curve = Analytic(alpha=2.0, gamma=0.4, quality=2.0)
    world = lambda: DifficultyWorld(n, curve, seed=3)  # noqa: E731
    certified = labelling_worlds.deliver(mcal(n, config), world()).outcome
    budget = labelling_peers.Budget(900, 500)
    assert budget.sizes() == [360, 135, 135, 135, 135]
    for algorithm in (
        labelling_peers.tbal(n, config, "resnet18", budget),
        labelling_peers.tbal_on_X(n, config, "resnet18", budget),
        labelling_peers.ground_truth(n, config, "resnet18"),
        labelling_peers.pac_labels(n, config, "resnet18", certified, 3),
    ):
        done = labelling_worlds.deliver(algorithm, world())
        out = done.outcome
        assert np.array_equal(np.sort(np.concatenate([out.T, out.B, out.S, out.R])), np.arange(n))
        human = n - len(out.S)
        assert out.ledger.total == pytest.approx(0.04 * human + out.ledger.training)
        assert len(out.S) > 400
        assert done.error == pytest.approx(done.error_of_machine * len(out.S) / n)


def test_a_learned_confidence_sees_mistakes_that_the_classifier_is_sure_of():
    rng = np.random.default_rng(0)
    logits = rng.standard_normal((400, 3)).astype(np.float32)
    label = logits[:, :2].argmax(1).astype(np.int32)
    wrong = logits[:, 2] > 0.8
    V = labelling_worlds.Scored(label, np.ones(400), logits)
    seen = learned_confidence.learned(labelling_peers.Round(V, wrong, wrong >= 0, V, True, 1000))
    assert seen.usable.sum() == 200
    surest = np.argsort(-seen.V.confidence[seen.usable])[:100]
    assert wrong[seen.usable].mean() > 0.1
    assert wrong[seen.usable][surest].mean() < 0.03


def test_ridge_regression_separates_what_its_features_do():
    rng = np.random.default_rng(0)
    truth = rng.integers(0, 3, 300)
    inputs = (np.eye(3)[truth] + 0.1 * rng.standard_normal((300, 3))).astype(np.float32)
    trainer = labelling_worlds.RidgeTrainer(inputs, 3)
    few, many = (trainer.fit(np.arange(size), truth[:size]) for size in (2, 100))
    scores = trainer.score(many, np.arange(100, 300))
    assert (scores.label == truth[100:]).mean() > 0.98
    assert np.all((scores.margin >= 0) & (scores.margin <= scores.confidence))
    assert few.logits.shape == (300, 3)


def test_peers_are_summarised_seed_by_seed():
    row = dict(case="shipped", service="amazon", n=100, humans_only=4.0, training=0.1, T=5, B=5, V=0, S=50)
    runs = [
        row | dict(seed=seed, method=method, cost=2.0 + seed + more, error=error, error_on_S=2 * error)
        for seed in (0, 1)
        for method, more, error in (("MCAL, certified", 0.0, 0.04), ("peer", -0.4, 0.05 - 0.02 * seed))
    ]
    ours, peer = peers_labelling.summary(pd.DataFrame(runs)).to_dict("records")
    assert (ours["broken"], ours["more_than_certified"], ours["machine"]) == (0, 0, 0.5)
    assert (peer["broken"], peer["broken_on_S"]) == (0.5, 1)
    assert (peer["more_low"], peer["more_high"]) == pytest.approx((-0.1, -0.1))
    assert peers_labelling.clopper_pearson(0, 20) == pytest.approx((0, 0.1684), abs=1e-4)
