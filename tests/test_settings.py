"""YAML in, checked settings out; every mistake is one line that names its culprit."""

import subprocess
import sys

import pytest
import yaml

from mcal_jax.algorithm.config import Config, PerImageEpoch
from mcal_jax.algorithm.fields import OLD_NAMES
from mcal_jax.algorithm.job import Job
from mcal_jax.errors import McalError
from mcal_jax.runs import execution, settings
from mcal_jax.runs.settings import Run, describe, from_file, load_settings


def written(tmp_path, content):
    path = tmp_path / "run.yaml"
    path.write_text(content if isinstance(content, str) else yaml.safe_dump(content), encoding="utf-8")
    return path


@pytest.mark.parametrize(
    ("content", "culprit"),
    [
        ({"widht": 8}, "widht: unknown key; did you mean 'width'"),
        ({"data": {"nam": "x"}}, "data.nam: unknown key; did you mean 'name'"),
        ({"config": {"epsilonn": 0.1}}, "config.epsilonn: unknown key; did you mean 'epsilon'"),
        ({"seed": True}, "seed: a number or a name is wanted here, not True"),
        ("config: {test_fraction: on}", "config.test_fraction: a number or a name is wanted"),
        ({"config": {"epsilon": 0}}, "config.epsilon: Input should be greater than 0, got 0"),
        ({"config": {"epsilon": 1}}, "config.epsilon: Input should be less than 1, got 1"),
        ({"config": {"label_price": 0.1}}, "config.label_price: give it as service"),
        ({"config": {"budget": -1}}, "config.budget"),
        ({"config": {"certify": 1e-300}}, "config.certify: Input should be greater than or equal to 0.5, got 1e-300"),
        ({"config": {"certify": 0.9999999}}, "config.certify: Input should be less than or equal to 0.999999"),
        ({"service": -0.04}, "price of a label must be 1e-09 to 1,000,000 dollars, got -0.04"),
        ({"service": 1e308}, "dollars, got 1e+308"),
        ({"service": ".nan"}, "unknown labelling service '.nan'"),
        ({"config": {"reach": 3, "max_growth": 2}}, "reach is the old name of max_growth: give one of them"),
        ({"service": "amazn"}, "unknown labelling service 'amazn': did you mean 'amazon'"),
        ({"training_price": {"kind": "per_hour", "dollars": -3}}, "training_price.per_hour.dollars"),
        ({"architectures": []}, "architectures"),
        ({"architectures": ["resnet19"]}, "unknown architecture 'resnet19': did you mean 'resnet18'"),
        ({"seed": -1}, "seed"),
        ("a: [", "is not YAML"),
        ("- 1", "expected keys and values, got list"),
    ],
)
def test_a_mistake_in_yaml_names_file_and_culprit_in_one_line(tmp_path, content, culprit):
    path = written(tmp_path, content)
    with pytest.raises(McalError) as raised:
        from_file(path)
    assert culprit in str(raised.value)
    assert str(path) in str(raised.value)
    assert "\n" not in str(raised.value)


def test_unreadable_file_is_named(tmp_path):
    with pytest.raises(McalError, match=r"can't read .*nothing\.yaml"):
        from_file(tmp_path / "nothing.yaml")


def test_yaml_reads_exponents_and_prices(tmp_path):
    path = written(tmp_path, "training_price: {kind: per_image_epoch, dollars: 5e-6, epochs: recipe}\nservice: 1e-2")
    config = from_file(path).resolve(channels=3)
    assert config.training_price.dollars == 5e-6
    assert config.label_price == 0.01


def test_options_go_on_top_of_the_file(tmp_path):
    path = written(tmp_path, {"seed": 3, "config": {"epsilon": 0.1, "beta": 0.02}})
    run = from_file(path, "cifar10", epsilon=0.02, seed=None)
    assert (run.seed, run.data.name) == (3, "cifar10")
    assert run.config == {"epsilon": 0.02, "beta": 0.02}


def test_paper_price_depends_on_the_images_and_the_architecture():
    grey, colour = (Run().resolve(channels).training_price.dollars for channels in (1, 3))
    assert grey["resnet18"] == 3.3e-6
    assert colour["resnet18"] == 5.2e-6


def test_preset_changes_the_reading_and_config_goes_on_top():
    run = Run(preset="authors_code", config={"epsilon": 0.1})
    config = run.resolve(1)
    assert (config.constraint, config.law, config.epsilon) == ("on_S", "power", 0.1)


@pytest.mark.parametrize(
    ("content", "changes", "preset"),
    [
        ({}, {}, "certified"),
        ({"config": {"class_epsilon": 0.2}}, {}, "certified"),
        ({}, {"budget": 60}, "certified"),
        ({"preset": "paper"}, {}, "paper"),
        ({}, {"preset": "recommended"}, "recommended"),
        ({"algorithm": "naive_al", "delta": 0.1}, {}, "recommended"),
        ({}, {"algorithm": "naive_al", "delta": 0.1}, "recommended"),
    ],
)
def test_a_run_of_ones_own_is_certified_unless_it_says_otherwise(tmp_path, content, changes, preset):
    run = from_file(written(tmp_path, {"seed": 1, **content}), **changes)
    assert run.preset == preset
    assert run.resolve(1).certify == (0.95 if preset == "certified" else None)


def test_a_sweep_states_its_own_preset():
    assert describe("cifar10").resolve(3).certify is None


def test_id_names_the_run_whatever_the_order_of_keys_and_the_defaults_written_out(tmp_path):
    one = from_file(written(tmp_path, "seed: 1\nwidth: 8"))
    two = from_file(written(tmp_path, "width: 8\nseed: 1"))
    assert one.id == two.id
    assert one.id == from_file(written(tmp_path, "width: 8\nseed: 1\nconfig: {epsilon: 0.05}\nservice: 0.04")).id
    assert one.id != from_file(written(tmp_path, "width: 8\nseed: 2")).id


@pytest.mark.parametrize("profile", ["smoke", "laptop", "paper"])
def test_profiles_describe_runs(profile):
    run = describe("cifar10", profile=profile, epsilon=0.1, architectures=("cnn18",))
    assert run.data.name == "cifar10"
    assert run.resolve(3).epsilon == 0.1
    assert (run.width == 64) == (profile == "paper")


def test_unknown_profile_suggests_the_nearest():
    with pytest.raises(McalError, match="unknown profile 'lptop'; did you mean 'laptop'"):
        describe("cifar10", profile="lptop")


def test_every_experiment_names_a_notebook_and_a_title():
    paths = list((settings.home() / "experiments").glob("*.yaml"))
    assert len(paths) > 20
    for path in paths:
        experiment = load_settings(path, settings.Experiment)
        assert (settings.home() / "notebooks" / f"{experiment.notebook}.ipynb").is_file(), path
        assert experiment.title


def test_what_a_run_and_its_config_both_have_is_the_runs():
    price = {"kind": "per_image_epoch", "dollars": 0.5}
    run = describe("cifar10", training_price=price, epsilon=0.2)
    assert run.resolve(channels=3).training_price == PerImageEpoch(dollars=0.5)
    assert run.id != describe("cifar10", epsilon=0.2).id


OLD_VALUES = {"far": 0.4, "fine_theta": False, "pooled": False, "reach": 5.0, "safety": 0.5}


def test_every_old_name_is_tried():
    assert OLD_VALUES.keys() == OLD_NAMES.keys()


@pytest.mark.parametrize("old", OLD_NAMES)
def test_settings_are_read_by_their_old_names_too_and_the_new_one_is_told(tmp_path, old):
    new, value = OLD_NAMES[old], OLD_VALUES[old]
    inside = new in Config.model_fields
    now = written(tmp_path, {"config": {new: value}} if inside else {new: value})
    today, lines = from_file(now, emit=None), []
    then = written(tmp_path, {"config": {old: value}} if inside else {old: value})
    read = from_file(then, emit=lines.append)
    assert (read.id, read.resolve(1)) == (today.id, today.resolve(1))
    assert getattr(read.resolve(1) if inside else read, new) == value
    assert lines == [f"{then}: {old} is called {new} now"]
    assert describe("cifar10", **{old: value}).id == describe("cifar10", **{new: value}).id


@pytest.mark.parametrize("old", OLD_NAMES)
def test_the_head_of_an_early_log_has_old_names(old):
    value, new = OLD_VALUES[old], OLD_NAMES[old]
    inside = new in Config.model_fields
    job = Job.model_validate({"n": 100, "config": {old: value}} if inside else {"n": 100, old: value})
    assert getattr(job.config if inside else job, new) == value


@pytest.mark.parametrize("old", OLD_NAMES)
def test_both_names_at_once_are_refused(tmp_path, old):
    both = {old: OLD_VALUES[old], OLD_NAMES[old]: OLD_VALUES[old]}
    path = written(tmp_path, {"config": both} if OLD_NAMES[old] in Config.model_fields else both)
    with pytest.raises(McalError, match=f"{old} is the old name of {OLD_NAMES[old]}: give one of them") as raised:
        from_file(path)
    assert "\n" not in str(raised.value)


def test_ids_are_made_of_the_first_names():
    canonical = describe("cifar10", max_train_fraction=0.3, safety_z=0.5).canonical()
    assert canonical["far"] == 0.3
    assert canonical["config"]["safety"] == 0.5


def test_the_old_name_of_a_sweep_tells_the_new_one():
    with pytest.raises(McalError, match="unknown sweep 'dear_training'; it is called expensive_training now"):
        settings.named("runs", "dear_training")


def test_a_strategy_in_a_file_is_known_by_the_name_of_its_file_and_found_from_any_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    run = Run(stop_rules=("rules/mine.py:patient", "cost_rose"), objective="goals.py:fair")
    portable = execution.portable(run)
    assert portable.stop_rules == (f"{tmp_path}/rules/mine.py:patient", "cost_rose")
    assert portable.objective == f"{tmp_path}/goals.py:fair"
    assert portable.id == run.id
    assert run.canonical()["stop_rules"] == ["mine.py:patient", "cost_rose"]
    assert run.id != Run(stop_rules=("rules/mine.py:hasty", "cost_rose"), objective="goals.py:fair").id
    assert Run().id != run.id


def test_a_configuration_loads_no_library_that_it_can_do_without():
    code = "import sys; from mcal_jax import Config; Config.certified(); "
    code += "sys.exit({'jax', 'lmfit', 'scipy.stats', 'pandas', 'matplotlib'} & set(sys.modules) or 0)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr.strip()) == (0, "")
