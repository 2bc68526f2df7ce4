"""Strategies by name: registered, in a file, in a module, and what is said of a name that is none of these."""

import pytest

from mcal_jax.errors import McalError
from mcal_jax.registry import Registry


@pytest.fixture
def colours():
    return Registry("colour", {"red": 1, "root": "math:sqrt"})


def test_an_entry_given_as_a_string_is_loaded_when_used(colours):
    assert colours["root"](4) == 2


def test_objects_get_their_own_name_and_keep_it(colours):
    def teal():
        pass

    assert colours.name_of(teal) == colours.name_of(teal) == "teal"
    assert colours["teal"] is teal
    assert colours.name_of("red") == "red"


def test_a_name_that_is_taken_is_refused(colours):
    with pytest.raises(McalError, match="another colour 'red'"):
        colours.register("red", 2)
    assert colours.register("red", 1) == "red"


def test_a_cell_that_is_executed_again_replaces_its_strategy(colours):
    colours.register("teal", 5)
    colours.register("teal", 6)
    assert colours["teal"] == 6


def test_a_file_is_a_module_and_is_read_again_when_it_changes(colours, tmp_path, monkeypatch):
    """Within a second too, where Python would take the bytecode of a file of the same size."""
    monkeypatch.setattr("sys.dont_write_bytecode", False)
    path = tmp_path / "mine.py"
    path.write_text("shade = ['teal']\n")
    name = f"{path}:shade"
    assert colours.check(name) == name
    assert colours[name] is colours[name]
    path.write_text("shade = ['plum']\n")
    assert colours[name] == ["plum"]


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("bleu", "unknown colour 'bleu': known: red, root"),
        ("rde", "did you mean 'red'"),
        ("nowhere.py:x", "can't read nowhere.py: No such file"),
        ("no_such_module:x", "can't import 'no_such_module': No module named"),
        ("math:sqtr", "math has no 'sqtr'; did you mean 'sqrt'"),
        ("bad.py:x", "bad.py fails: division by zero"),
    ],
)
def test_what_is_not_there_is_told_in_a_line(colours, tmp_path, monkeypatch, name, says):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "bad.py").write_text("1 / 0\n")
    with pytest.raises(McalError, match=says) as error:
        colours[name]
    assert "\n" not in str(error.value)
