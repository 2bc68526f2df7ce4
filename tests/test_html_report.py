"""The report page: all exhibits in order, no markup from results, the same bytes each time, damaged files named."""

import base64
import re
from html.parser import HTMLParser

import pytest
from conftest import SVG

from mcal_jax.cli import main
from mcal_jax.errors import McalError
from mcal_jax.paper import html_report
from mcal_jax.paper.collection import MAX_ROWS, gather
from mcal_jax.paper.published import EXHIBITS

EMPTY = {"meta", "input", "img"}  # elements that have no end


class Page(HTMLParser):
    """A page taken apart: its elements in order, the text of each id, and whether its tags balance."""

    def __init__(self, text):
        super().__init__()
        self.open, self.elements, self.text = [], [], {}
        self.feed(text)
        self.close()
        assert self.open == []
        self.ids = [attrs["id"] for _, attrs in self.elements if "id" in attrs]
        assert len(set(self.ids)) == len(self.ids)

    def handle_starttag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))
        if tag not in EMPTY:
            self.open.append((tag, dict(attrs).get("id")))

    def handle_endtag(self, tag):
        assert self.open.pop()[0] == tag

    def handle_data(self, data):
        for _, name in self.open:
            if name:
                self.text[name] = self.text.get(name, "") + data

    def all(self, tag, **wanted):
        return [attrs for t, attrs in self.elements if t == tag and wanted.items() <= attrs.items()]


def build(out=None):
    """The path of the page of the profile laptop."""
    return html_report.write(gather("laptop"), out)


def render():
    """The page as text and taken apart."""
    text = build().read_text()
    return text, Page(text)


def mcal(capsys, monkeypatch, *words):
    """The command line, run here -> (exit code or message, standard output)."""
    monkeypatch.setattr("sys.argv", ["mcal", *words])
    with pytest.raises(SystemExit) as end:
        main()
    return end.value.code, capsys.readouterr().out


def test_every_exhibit_is_there_in_order(results, make):
    names = ["claims", "tab01", "tab03", "fig01", "fig10", "fig27", "audit", "certificate", "aardvark", "mcal_run"]
    for name in sorted(names):
        make(name)
    _, page = render()
    assert [attrs["id"] for attrs in page.all("article")] == names
    links = [attrs["href"] for attrs in page.all("a") if "title" in attrs]
    assert links == [f"#{name}" for name in names]
    for name in names:
        for part in (f"Title of {name}", "A caption.", "A note.", f"mcal reproduce {name}", "abc1234", "5eed", "12.3"):
            assert part in page.text[name]


def test_the_page_loads_nothing_and_shows_pictures_as_they_are(results, make):
    make("fig01", summary="See https://example.org/paper.\n")
    make("mcal_run", pictures=("sets", "ledger"))
    text, page = render()
    loading = [attrs[key] for _, attrs in page.elements for key in ("src", "href", "srcset", "data") if key in attrs]
    assert all(value.startswith(("data:image/", "data:text/csv;", "#")) for value in loading)
    assert not {"link", "iframe", "object", "base"} & {tag for tag, _ in page.elements}
    assert all(loader not in text for loader in ("url(", "@import", "fetch(", "import("))
    sources = [attrs["src"] for attrs in page.all("img")]
    assert [base64.b64decode(source.partition("base64,")[2]) for source in sources] == [SVG] * 3
    assert "sets.svg" in page.text["mcal_run"]
    assert "ledger.svg" in page.text["mcal_run"]
    assert "figure.svg" not in page.text["fig01"]


def test_a_large_svg_gives_way_to_its_png(results, make):
    (make("fig01") / "figure.svg").write_bytes(SVG + b" " * 400_000)
    (alone := make("fig02") / "figure.svg").write_bytes(SVG + b" " * 400_000)
    alone.with_suffix(".png").unlink()
    (alone.parent / "provenance.json").write_text("{}")
    _, page = render()
    assert [attrs["src"][:16] for attrs in page.all("img")] == ["data:image/png;b", "data:image/svg+x"]


def test_a_page_that_grows_too_large_gives_up_pictures_and_says_so(results, make, monkeypatch):
    make("fig01")
    monkeypatch.setattr(html_report, "LARGEST", len(render()[0]))
    _, page = render()
    assert [attrs["alt"] for attrs in page.all("img")] == [
        "Figure 1: Title of fig01. Drawn from 1 rows of data.csv; what: a; value 1."
    ]
    monkeypatch.setattr(html_report, "LARGEST", 1)
    _, page = render()
    assert page.all("img") == []
    assert "Left out to keep this page small: results/laptop/fig01/figure.png" in page.text["fig01"]


def test_what_is_written_in_results_is_text_and_never_markup(results, make):
    evil = "<script>alert('x')</script> & \"quoted\""
    make(
        "fig01", summary=f"{evil}\n\nε costs \\$5\n", title=evil, command=evil, machine=evil,
        data=[[evil, "n"], [evil, "1"]], versions={evil: evil}, runs=[evil],
    )  # fmt: skip
    text, page = render()
    assert len(page.all("script")) == 1
    assert text.isascii()
    assert page.text["fig01"].count(evil) == 9  # as it was written, wherever it was
    assert "ε costs $5" in page.text["fig01"]


def test_columns_set_out_by_spaces_keep_them(results, make):
    make("mcal_run", summary="   |X|    |T|\n  60,000  3,000\nhumans only\n")
    _, page = render()
    assert len(page.all("pre")) == 1
    assert "   |X|    |T|\n  60,000  3,000" in page.text["mcal_run"]


def test_columns_of_the_paper_and_ours_differ_in_colour_and_numbers_stand_right(results, make):
    make("tab01", data=[["data", "paper_error", "ours_error"], ["CIFAR-10", "0.024", "$1,643.78"], ["x", "", "none"]])
    make("fig01")
    _, page = render()
    cells = [attrs.get("class", "") for tag, attrs in page.elements if tag in ("th", "td")]
    assert cells[:9] == ["", "paper n", "ours n", "", "paper n", "ours n", "", "paper", "ours"]
    assert "what the paper printed what we measured" in page.text["tab01"]
    assert "what the paper printed" not in page.text["fig01"]


def test_a_table_as_printed_is_shown_and_its_data_are_a_link(results, make):
    folder = make("tab01", data=[["architecture", "cost"], ["resnet18", "5"]])
    (folder / "table.csv").write_text("data set,service,,DNN\nCIFAR-10,Amazon,ours,ResNet18\n,,paper,ResNet18\n")
    _, page = render()
    assert len(page.all("table", **{"class": "printed"})) == 1
    assert [attrs["class"] for tag, attrs in page.elements if tag == "tr" and "class" in attrs] == ["ours", "paper"]
    link, printed = [attrs for attrs in page.all("a") if "download" in attrs]
    assert (link["download"], printed["download"]) == ("tab01_data.csv", "tab01_table.csv")
    assert base64.b64decode(link["href"].partition("base64,")[2]) == b"architecture,cost\r\nresnet18,5\r\n"


def test_architectures_have_their_names_in_tables(results, make):
    make("fig08", data=[["architecture", "cost"], ["resnet18", "5"]])
    _, page = render()
    assert "ResNet18" in page.text["fig08"]
    assert "resnet18" not in page.text["fig08"]


@pytest.mark.parametrize(
    ("rows", "note"), [(MAX_ROWS, ""), (300, "100 more rows are in results/laptop/fig01/data.csv")]
)
def test_a_long_table_is_cut_and_says_so(results, make, rows, note):
    make("fig01", data=[["i"], *([str(i)] for i in range(rows))])
    _, page = render()
    assert sum(attrs.get("class") == "n" for attrs in page.all("td")) == MAX_ROWS
    assert note in page.text["fig01"]
    assert ("more rows" in page.text["fig01"]) == bool(note)
    assert f"data.csv: {rows} rows, 1 columns" in page.text["fig01"]


def test_what_is_missing_of_the_paper_is_listed_with_its_command(results, make):
    make("fig01")
    _, page = render()
    rows = {attrs["id"] for attrs in page.all("tr") if "id" in attrs}
    assert rows == set(EXHIBITS) - {"fig01"}
    assert all(f"mcal reproduce {name} --profile laptop" in page.text[name] for name in rows)


def test_images_without_a_licence_stay_out(results, make):
    folder = make("mcal_run_cifar10", pictures=("gallery", "sets"), files=("gallery.csv",))
    make("mcal_run_fashion_mnist", pictures=("gallery",))
    _, page = render()
    assert len(page.all("img")) == 2
    assert "Not on this page: gallery.csv, gallery.png, gallery.svg" in page.text["mcal_run_cifar10"]
    for file in folder.glob("gallery.*"):  # a clone does not have them, and misses nothing
        file.unlink()
    assert gather("laptop").damaged == []


@pytest.mark.parametrize(
    ("file", "content", "reason"),
    [
        ("provenance.json", b'{"title": "Tit', "provenance.json: Unterminated string"),
        ("provenance.json", b"[1, 2]", "provenance.json: expected keys and values, found list"),
        ("provenance.json", b'{"title": 5}', "provenance.json: title: "),
        ("provenance.json", b"\xff\xfe", "provenance.json: 'utf-8' codec"),
        ("data.csv", b"a,b\n1,2\n3\n", "data.csv: line 3 has 1 values, the header 2"),
        ("data.csv", b'a,b\n1,"2\n', "data.csv: unexpected end of data"),
        ("data.csv", b"", "data.csv: the file has no header"),
        ("summary.txt", b"\xff", "summary.txt: 'utf-8' codec"),
        ("figure.svg", b"", "figure.svg: the file is empty"),
        ("figure.svg", None, "figure.svg is missing"),
    ],
)
def test_damaged_files_are_named_and_the_rest_is_shown(results, make, capsys, monkeypatch, file, content, reason):
    path = make("fig01") / file
    make("fig02")
    if content is None:
        path.unlink()
    else:
        path.write_bytes(content)
    code, out = mcal(capsys, monkeypatch, "report")
    assert "2 exhibits shown" in out
    assert code == "mcal: damaged: fig01; the page says how"
    page = Page((results / "laptop/report.html").read_text())
    assert f"Damaged: {reason}" in page.text["fig01"]
    assert "Damaged" not in page.text["fig02"]
    assert "mcal reproduce fig01 --profile laptop" in page.text["fig01"]
    assert len(page.all("img")) == 2


def test_the_same_results_make_the_same_page(results, make, tmp_path):
    for name in ("fig02", "tab01", "mcal_run"):
        make(name, versions={"python": "3.11", "jax": name})
    first, second = build(tmp_path / "a.html"), build(tmp_path / "b.html")
    assert first.read_bytes() == second.read_bytes()
    assert str(tmp_path) not in first.read_text()


def test_the_page_appears_whole_or_not_at_all(results, make, tmp_path, monkeypatch):
    make("fig01")
    path = tmp_path / "page.html"
    path.write_text("the page before")

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.replace", full)
    with pytest.raises(McalError, match=r"can't write .*page.html: No space left"):
        build(path)
    assert path.read_text() == "the page before"
    assert [p.name for p in tmp_path.iterdir() if p.is_file()] == ["page.html"]


def test_unfinished_results_are_not_shown(results, make):
    make("fig01")
    make(".fig02.4711")
    (results / "laptop/stray").mkdir()
    assert [exhibit.name for exhibit in gather("laptop").exhibits] == ["fig01"]


@pytest.mark.parametrize(
    ("profile", "culprit"),
    [("lapto", "unknown profile 'lapto'; did you mean 'laptop'"), ("laptop", "mcal reproduce --profile laptop")],
)
def test_nothing_to_show_is_a_mistake_that_names_the_way_out(results, profile, culprit):
    with pytest.raises(McalError, match=re.escape(culprit)):
        gather(profile)
    assert not results.exists()


def test_the_command_prints_the_path_and_counts(results, make, tmp_path, capsys, monkeypatch):
    make("fig01")
    make("audit")
    code, out = mcal(capsys, monkeypatch, "report", "--profile", "laptop", "--out", str(tmp_path / "p.html"))
    assert code in (0, None)
    assert out == f"{tmp_path / 'p.html'}: 2 exhibits shown, {len(EXHIBITS) - 1} missing\n"
    assert (tmp_path / "p.html").exists()
