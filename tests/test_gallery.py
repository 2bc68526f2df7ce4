"""The gallery: what an exhibit says, at which scales, beside which numbers, on the site and in the report alike."""

import re

import pytest
from test_html_report import Page

from mcal_jax.paper import gallery, gallery_pages, verdicts
from mcal_jax.paper.captions import CAPTIONS
from mcal_jax.paper.claims import CLAIMS
from mcal_jax.paper.collection import Table, gather
from mcal_jax.paper.comparison import compare
from mcal_jax.paper.descriptions import describe
from mcal_jax.paper.published import EXHIBITS
from mcal_jax.runs import settings

COLUMNS = ["claim", "paper_says", "paper_where", "rule", "ours_measured", "ours_margin", "ours_margin_low",
           "ours_margin_high", "ours_seeds", "ours_verdict", "ours_why"]  # fmt: skip


def table(header, *rows):
    return Table("data.csv", header, [list(row) for row in rows], len(rows), b"")


def claim(name, verdict, margin="0.1", low="", high=""):
    return [name, f"{name} is said", "figure 11", "a rule", "measured", margin, low, high, "1", verdict, "a reason"]


def article(name="fig11", profile="laptop", **given):
    (exhibit,) = [one for one in gather(profile).exhibits if one.name == name]
    html = gallery.article(exhibit, profile, verdicts.by_scale(profile), lambda file, _: f"files/{file}", **given)
    return Page(str(html))


def test_every_exhibit_of_the_paper_has_a_caption_and_every_claim_its_exhibits():
    assert set(CAPTIONS) == set(EXHIBITS)
    for one in CLAIMS:
        assert one.exhibits
        assert all((settings.home() / "experiments" / f"{name}.yaml").is_file() for name in one.exhibits)


def test_a_figure_of_the_paper_that_a_claim_names_is_among_its_exhibits():
    for one in CLAIMS:
        for kind, numbers in re.findall(r"(figure|table)s? ([\d, and to]+)", one.where):
            ends = [int(number) for number in re.findall(r"\d+", numbers)]
            every = range(ends[0], ends[-1] + 1) if "to" in numbers else ends
            named = {f"{kind[:3]}{number:02}" for number in every}
            assert named <= set(one.exhibits), one.name


def test_an_article_says_what_was_found_and_what_the_paper_says(make):
    folder = make("fig11", summary="It costs $5.\n\nprofile laptop, seed 0.\n\nA note.\n", rules=[1], date="2026-01-02")
    title = b"<svg><title>It costs $5</title></svg>"
    (folder / "figure.svg").write_bytes(title)
    make("claims", data=[COLUMNS, claim("uncertainty_beats_kcenter", "does not hold", "-0.2", "-0.25", "-0.15")])
    page = article()
    text = page.text["fig11"]
    assert text.count("It costs $5.") == 1
    assert CAPTIONS["fig11"] in text
    assert "does not hold uncertainty_beats_kcenter is said" in text
    assert "−20.0 points, 95 % interval −25.0 to −15.0" in text
    assert "1 recorded run, decision rules 1" in text
    assert "2026-01-02, commit abc1234" in text
    (image,) = page.all("img")
    assert image["alt"].startswith("It costs $5. Drawn from 1 rows of data.csv")


def test_one_seed_has_no_interval(make):
    make("fig11")
    make("claims", data=[COLUMNS, claim("uncertainty_beats_kcenter", "can't tell")])
    assert "+10.0 points, no interval: a case has one seed" in article().text["fig11"]


def test_claims_of_two_scales_stand_side_by_side(make, results):
    folder = make("claims", data=[COLUMNS, claim("a", "holds"), claim("b", "can't tell")])
    paper = results / "paper" / "claims"
    paper.mkdir(parents=True)
    (paper / "data.csv").write_text((folder / "data.csv").read_text().replace("holds", "not tested"))
    page = article("claims")
    scales = [attrs for attrs in page.all("table") if attrs.get("class") == "scales"]
    assert len(scales) == 1
    assert "laptop scale" in page.text["claims"]
    assert "paper scale" in page.text["claims"]
    assert "not tested" in page.text["claims"]
    (paper / "data.csv").write_text("claim\na\n")  # of a version before, or damaged
    assert list(verdicts.by_scale("laptop")) == ["laptop"]


def test_the_cheapest_batch_stands_beside_the_paper_s():
    rows = table(
        ["data_set", "architecture", "delta", "dollars", "paper_delta", "paper_dollars"],
        ["cifar10", "resnet18", "0.1", "1700.4", "0.067", "891.06"],
        ["cifar10", "resnet18", "0.2", "1650", "0.067", "891.06"],
        ["cifar10", "mine", "0.2", "10", "", ""],
    )
    found = compare(rows)
    assert found.header == ["data set", "architecture", "best δ, ours", "best δ, paper", "cost, ours", "cost, paper"]
    assert found.rows == [["CIFAR-10", "ResNet18", "20 %", "6.7 %", "$1,650", "$891"]]


def test_a_range_of_the_paper_has_both_ends_and_a_figure_without_numbers_no_table():
    header = ["acquisition", "gain", "paper_gain_low", "paper_gain_high"]
    assert compare(table(header, ["margin", "-0.02", "0.25", "0.31"])).rows == [["margin", "−2 %", "25 % to 31 %"]]
    assert compare(table(header, ["margin", "-0.02", "", ""])) is None
    assert compare(table(["theta"], ["0.5"])) is None


def test_a_picture_in_words_is_short():
    header = [*(f"x{i}" for i in range(9)), "seeds", "cost_low", "name", "sentence"]
    rows = [[*(str(i) for i in range(9)), "3", "1", f"n{k}", "word " * 20] for k in range(30)]
    text = describe("A finding.", table(header, *rows))
    assert text == "A finding. Drawn from 30 rows of data.csv; x0 0; x1 1; x2 2."
    assert describe("A finding", None) == "A finding."


def test_a_picture_in_words_has_the_names_that_a_reader_knows():
    rows = [["fashion_mnist", "resnet18", "amazon"], ["fashion_mnist_10k", "efficientnet_b0", "amazon"]]
    text = describe("A finding", table(["data_set", "architecture", "service"], *rows))
    assert "data set: Fashion-MNIST, 10,000 Fashion-MNIST; architecture: ResNet18, EfficientNetB0" in text
    assert "service: Amazon" in text


@pytest.mark.parametrize(
    ("name", "title"),
    [
        ("fig08", "Figure 8"), ("imagenet", "ImageNet"), ("mcal_run_cifar10", "A run on CIFAR-10"),
        ("mcal_run_fashion_mnist", "A run on Fashion-MNIST"), ("prices_today", "Prices today"),
    ],
)  # fmt: skip
def test_pages_have_titles_in_words(name, title):
    assert gallery.label(name) == title


@pytest.fixture
def site(make, results, tmp_path):
    for name in ("tab01", "fig11"):
        make(name)
    (results / "laptop" / "fig11" / "figure.png").write_bytes(_png())
    other = results / "paper" / "fig11"
    other.mkdir(parents=True)
    for file in (results / "laptop" / "fig11").iterdir():
        (other / file.name).write_bytes(file.read_bytes())
    (results / "laptop" / "tab01" / "figure.png").write_bytes(_png())
    names = gallery_pages.write([gather("laptop"), gather("paper")], tmp_path / "pages", tmp_path / "files")
    assert names == ["tab01", "fig11"]
    return tmp_path


def _png():
    import io

    from PIL import Image

    file = io.BytesIO()
    Image.new("RGB", (2000, 1000), "white").save(file, format="PNG")
    return file.getvalue()


def test_the_site_has_a_page_for_each_exhibit_with_all_scales(site):
    page = (site / "pages" / "fig11.md").read_text()
    assert page.startswith("# Figure 11: Title of fig11\n")
    assert "## At laptop scale" in page
    assert "## At paper scale" in page
    linked = re.findall(r'(?:src|href)="([^"]+)"', page)
    assert {"fig11/laptop/figure.svg", "fig11/paper/data.csv"} <= set(linked)
    assert all((site / "files" / path).is_file() for path in linked)
    assert "At paper scale" not in (site / "pages" / "tab01.md").read_text()


def test_the_overview_links_every_exhibit_with_a_small_picture(site):
    index = (site / "pages" / "index.md").read_text()
    assert re.findall(r'href="(\w+)\.html"', index) == ["tab01", "fig11"]
    assert (site / "files" / "fig11" / "thumbnail.png").stat().st_size < 5000
    assert index.rstrip().endswith("tab01\nfig11\n```")
