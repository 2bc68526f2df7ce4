"""The audit: the paper's numbers by hand, and on simulated worlds what each reading must and must not do."""

import numpy as np
import pandas as pd
import pytest
from conftest import HOPELESS, curves, trajectory
from hypothesis import given, settings
from hypothesis import strategies as st

from mcal_jax.algorithm.protocol import MEASURES, Measurement
from mcal_jax.paper import audit, audit_figure, audit_text, published, records, tables

EPSILON = 0.05


def by(rows, *keys):
    return {tuple(row[key] for key in keys): row for row in rows.to_dict("records")}


def rows_of(check, trajectories, *settings):
    """The rows of a check of ``audit`` as dictionaries."""
    return check(records.frame(trajectories), *settings).to_dict("records")


def test_table_1_by_hand():
    rows = by(audit.table_1(), "data_set", "service")
    fashion = rows["fashion_mnist", "amazon"]
    assert fashion["least"] == pytest.approx(420)  # 15 % of 70,000 at $0.04
    assert fashion["printed_dollars"] == 400
    assert not fashion["possible"]
    assert fashion["least_billed"] == pytest.approx(378)
    least = {key: row["least"] for key, row in rows.items()}
    assert least["cifar10", "amazon"] == pytest.approx(840)
    assert least["cifar100", "amazon"] == pytest.approx(2160)
    assert least["fashion_mnist", "satyam"] == pytest.approx(31.5)
    assert least["cifar10", "satyam"] == pytest.approx(63)
    assert least["cifar100", "satyam"] == pytest.approx(144)
    assert fashion["one_training"] == pytest.approx(0.061 * 70_000 * 200 * 3.3e-6)


def test_with_less_billed_all_but_one_row_of_table_1_becomes_possible():
    rows = by(audit.table_1(), "data_set", "service")
    assert [key for key, row in rows.items() if row["possible"]] == [("cifar10", "satyam")]
    assert [key for key, row in rows.items() if not row["possible_billed"]] == [("cifar100", "amazon")]
    for row in rows.values():
        assert row["possible"] <= row["possible_billed"] >= row["possible_billed_trained"]


def test_the_error_that_table_1_holds_is_that_of_S():
    rows = by(audit.table_1(), "data_set", "service")
    amazon = [100 * rows[data_set, "amazon"]["error_on_S"] for data_set in published.IMAGES]
    assert amazon == pytest.approx([4.7, 3.7, 4.0], abs=0.05)
    text = audit_text.read_table_1(audit.table_1())
    assert "all but CIFAR-100 by Amazon" in text
    assert "it was S that was held" in text


def test_table_2_solved_by_hand():
    rows = by(audit.table_2(), "data_set", "architecture")
    for net, training in (("resnet18", 9.27), ("cnn18", 18.37), ("resnet50", 32.36)):
        assert rows["fashion_mnist", net]["labels"] == pytest.approx(10_500)
        assert rows["fashion_mnist", net]["training"] == pytest.approx(training)
    row = rows["cifar10", "resnet18"]
    assert (row["labels"], row["training"]) == (pytest.approx(20_580), pytest.approx(67.86))
    # 6.7 % of 60,000 is 4,020: five batches fit into all labels, four if 3,000 of them are T.
    assert (row["batches"], row["batches_without_T"]) == (5, 4)
    assert row["rate"] == pytest.approx(67.86 / (200 * 4020 * 15))
    assert row["rate_without_T"] == pytest.approx(67.86 / (200 * 4020 * 10))
    assert ("cifar10", "cnn18") not in rows  # its two services have two deltas


def test_table_2_solved_gives_back_what_is_printed():
    rows = audit.table_2()
    pairs = [
        (net, of_net) for (net, service, architecture), of_net in published.TABLE_2.items()
        if service == "amazon" and of_net.delta == published.TABLE_2[net, "satyam", architecture].delta
    ]  # fmt: skip
    assert len(rows) == len(pairs) > 0
    for row in rows.to_dict("records"):
        for service, price in (("amazon", 0.04), ("satyam", 0.003)):
            printed = published.TABLE_2[row["data_set"], service, row["architecture"]]
            assert row["labels"] * price + row["training"] == pytest.approx(printed.dollars)
        assert 0 < row["rate"] < row["rate_without_T"]
    assert "For Fashion-MNIST it is the same number for every architecture" in audit_text.read_table_2(audit.table_2())


def test_the_sentence_about_table_2_counts_what_the_table_holds(monkeypatch):
    before = len(audit.table_2())
    key = ("fashion_mnist", "satyam", "resnet50")
    changed = published.TABLE_2[key]._replace(delta=0.5)
    monkeypatch.setitem(published.TABLE_2, key, changed)
    rows = audit.table_2()
    assert len(rows) == before - 1
    text, more = audit_text.read_table_2(rows), rows["rate_without_T"] / rows["rate"]
    assert text.startswith(f"{before - 1} architectures have one δ for both services")
    assert f"{more.min():.2f} to {more.max():.2f} times that" in text


def test_the_title_and_the_text_are_of_the_same_batches_and_of_all_images():
    rows = [
        {"data_set": "cifar10", "delta": delta, "seed": seed, "theta": theta, "B": B, "bias": bias, "sampling": 1.0}
        for delta, seed, theta, B, bias in (
            (0.1, 0, 1.0, 0.1, -1.0), (0.1, 0, 1.0, 0.4, 8.0), (0.1, 1, 1.0, 0.1, 0.0), (0.1, 1, 1.0, 0.4, 9.0),
            (0.1, 0, 0.5, 0.4, 20.0), (0.2, 0, 1.0, 0.4, 2.0),
        )
    ]  # fmt: skip
    title = audit_figure._finding(pd.DataFrame(rows))
    assert title == "T overstates the error of all the remaining images by up to 8.5 points on CIFAR-10"
    text = audit_text.read_estimates(pd.DataFrame(rows))
    assert "CIFAR-10 (δ = 10 %) −0.5 at |B| = 10 % of X, +8.5 at 40 %" in text


def test_the_largest_share_by_the_truth_by_hand():
    # 1,000 of 2,000 images are left, the last 100 of them wrong; 5 % of 2,000 is 100 wrong labels, so 99 will do.
    wrong = np.maximum(np.arange(MEASURES + 1) * 5 - 900, 0)
    measured = Measurement(1000, {"margin": wrong}, {})
    assert audit.largest_share(2000, measured, 0.05) == pytest.approx(0.5)
    assert audit.largest_share(2000, measured, 0.025) == pytest.approx(950 / 2000)
    assert audit.largest_share(2000, measured, 0.9) == 0.5
    assert audit.true_error(2000, measured, 950 / 2000) == pytest.approx(50 / 2000)
    assert audit.true_error(2000, measured, 0.9) == pytest.approx(100 / 2000)  # there is no more than the pool
    assert audit.true_error(2000, measured, 0.0) == 0


def test_the_largest_share_is_the_edge_of_what_is_allowed():
    beyond = []

    @given(curves, st.floats(0.02, 0.3), st.integers(0, 99))
    @settings(max_examples=15)
    def check(curve, epsilon, seed):
        one = trajectory(curve, seed=seed, delta=0.2, n=1000)
        for measured in one.measured:
            share, left = audit.largest_share(one.n, measured, epsilon), measured.n / one.n
            assert 0 <= share <= left
            assert audit.true_error(one.n, measured, share) <= epsilon + 1e-9
            if share < left:
                beyond.append(audit.true_error(one.n, measured, share + 1e-3) >= epsilon - 1e-9)

    check()
    assert len(beyond) > 10
    assert all(beyond)


@given(curves, st.floats(0.02, 0.3), st.integers(0, 99))
@settings(max_examples=15)
def test_the_constraint_on_S_never_allows_more_than_that_on_X(curve, epsilon, seed):
    one = trajectory(curve, seed=seed, delta=0.2, n=1000)
    rows = rows_of(audit.constraints, [one], epsilon)
    pairs = list(zip(rows[::2], rows[1::2], strict=True))
    assert len(pairs) == len(one.measured) >= 1
    for on_X, on_S in pairs:
        assert (on_X["constraint"], on_S["constraint"]) == ("on_X", "on_S")
        assert on_S["size"] == on_X["size"]
        assert on_S["S"] <= on_X["S"]
        assert on_S["true_error"] <= on_X["true_error"] + 1e-12


@given(curves, st.floats(0.02, 0.3), st.integers(0, 99))
@settings(max_examples=15)
def test_either_reading_promises_what_its_own_theta_allows(curve, epsilon, seed):
    one = trajectory(curve, seed=seed, delta=0.2, n=1000)
    rows = rows_of(audit.thetas_of, [one], epsilon)
    assert len(rows) == 2 * len(one.measured) >= 2
    for of_X, of_U in zip(rows[::2], rows[1::2], strict=True):
        assert (of_X["theta_of"], of_U["theta_of"]) == ("all", "remaining")
        # A theta of U is that of fewer images, so that more of them may be wrong.
        assert of_U["promised"] / of_U["left"] >= of_X["promised"] - 1e-9
        assert of_U["promised"] <= of_U["left"]
        assert of_X["possible"] == of_U["possible"] <= of_X["left"]


def test_theta_of_X_promises_more_than_theta_of_U_and_than_there_is():
    # The margin is good, so that the error rises with theta; in the end U itself is smaller than what is promised.
    several = [trajectory(seed=seed, n=8000) for seed in range(4)]
    rows = audit.thetas_of(records.frame(several), 0.08)
    means = by(audit.averaged(rows, ("theta_of", "B"), ("promised", "possible")), "theta_of", "B")
    assert len(means) == 10
    for B in {B for _, B in means}:
        of_X, of_U = means["all", B], means["remaining", B]
        assert of_X["promised"] > of_U["promised"]
        assert of_X["promised"] > of_X["possible"]


def test_theta_of_U_agrees_with_what_the_constraint_on_X_allows():
    one = trajectory()
    allowed = [row["S"] for row in rows_of(audit.constraints, [one], EPSILON) if row["constraint"] == "on_X"]
    promised = [row["promised"] for row in rows_of(audit.thetas_of, [one], EPSILON) if row["theta_of"] == "remaining"]
    assert len(allowed) == 5
    assert allowed == pytest.approx(promised, abs=1 / one.n)


def test_a_hopeless_classifier_is_promised_next_to_nothing():
    rows = rows_of(audit.thetas_of, [trajectory(HOPELESS)], EPSILON)
    assert len(rows) == 10
    for row in rows:
        assert max(row["promised"], row["possible"]) < 0.1


def test_where_T_is_like_U_the_estimate_is_unbiased():
    # In the simulated world nothing that is chosen for B makes U easier.
    rows = audit.estimates(records.frame([trajectory(seed=seed, n=8000) for seed in range(8)]))
    assert set(rows["theta"]) == {0.25, 0.5, 0.75, 1.0}
    means = audit.averaged(rows, ("theta",), ("bias", "sampling"))
    assert list(means["seeds"]) == [8] * 4
    assert (means["bias"].abs() < 1.2 * means["sampling"]).all()
    row = rows.iloc[0]
    assert row["bias"] == pytest.approx(100 * (row["eps_T"] - row["eps_U"]))


def test_means_and_the_smallest_batches():
    rows = [{"data_set": "a", "delta": d, "seed": s, "x": d + s} for d in (0.2, 0.1) for s in (0, 1)]
    rows.append({"data_set": "b", "delta": 0.2, "seed": 0, "x": 7.0})
    means = audit.averaged(pd.DataFrame(rows), ("data_set", "delta"), ("x",)).to_dict("records")
    assert means[0] == {"data_set": "a", "delta": 0.2, "x": pytest.approx(0.7), "rows": 2, "seeds": 2}
    assert list(audit.finest(pd.DataFrame(rows))["delta"]) == [0.1, 0.1, 0.2]


def test_the_picture_and_the_sentences_cover_every_data_set(tmp_path):
    several = [
        trajectory(seed=seed, delta=delta, data_set=data_set)
        for data_set in published.IMAGES for delta in (0.1, 0.2) for seed in (0, 1)
    ]  # fmt: skip
    runs = records.frame(several)
    rows = audit.constraints(runs, EPSILON), audit.thetas_of(runs, EPSILON), audit.estimates(runs)
    texts = (
        audit_text.read_constraints(rows[0], EPSILON),
        audit_text.read_thetas(rows[1], EPSILON),
        audit_text.read_estimates(rows[2]),
    )
    for text in texts:
        assert all(name in text for name in published.DATA_SETS.values())
        assert "nan" not in text
    figure = audit_figure.picture(rows[1], rows[0], rows[2], EPSILON)
    assert len(figure.axes) == 9
    assert figure.get_figwidth() < 7
    legends = [row.legends[0] for row in figure.subfigs]
    assert [len(legend.get_texts()) for legend in legends] == [4, 3, 4]
    markers = [line.get_marker() for line in figure.axes[0].lines]
    assert len(set(markers)) == len(markers), "lines of similar grey"
    every = pd.concat([audit.table_1(), audit.table_2(), *rows], ignore_index=True)
    tables.publish(tmp_path, figure, every, "caption", *texts)
    assert set(every["check"]) == {"eqn_1", "table_2", "constraint", "theta", "estimate"}
    assert len((tmp_path / "data.csv").read_text().splitlines()) == len(every) + 1
