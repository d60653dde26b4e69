"""Numbers of runs in one file: what it holds, what is taken from it, and what is not."""

import json
import pathlib

import pytest

from ssimbad_jax.stages import tabulate
from ssimbad_jax.stages.tabulating import archive, calls, plan, results
from tests.tabulate_test import ALL, BY_CALLS, COMMAND, SETTINGS

# ml_collections loads config files in a way that is going.
pytestmark = pytest.mark.filterwarnings("ignore:the load_module:DeprecationWarning")

REFINED = plan.Settings(rows=("refined_4",), seeds=1)
OTHER_COMMAND = "python -m ssimbad_jax.results --seeds=1"


@pytest.fixture
def elsewhere(main, tmp_path):
    """Results of another machine."""
    out = tmp_path / "elsewhere"
    assert tabulate.make(SETTINGS, out, OTHER_COMMAND) == []
    main()
    return out


def _make(out, taken, settings=SETTINGS):
    return tabulate.make(settings, out, COMMAND, [taken / archive.FILE])


def test_runs_of_another_machine_are_not_made_again(main, elsewhere, tmp_path, capsys):
    out = tmp_path / "here"
    assert _make(out, elsewhere) == []
    assert main() == []
    assert capsys.readouterr().out.count("done on another machine") == 3
    here, there = results.read(out), results.read(elsewhere)
    assert here.results == there.results
    assert here.costs == there.costs
    markdown = (out / tabulate.MARKDOWN).read_text()
    assert f"* command: `{OTHER_COMMAND}`\n* command: `{COMMAND}`" in markdown
    assert "* other machines: ssimbad_seed0, regression_seed0, refined_4_seed0" in markdown
    # And what was taken is handed on.
    runs = [json.loads((folder / archive.FILE).read_text())["runs"] for folder in (out, elsewhere)]
    assert runs[0] == runs[1]


def test_a_refinement_has_what_it_starts_from_made_here(main, elsewhere, tmp_path):
    file = elsewhere / archive.FILE
    content = json.loads(file.read_text())
    del content["runs"]["refined_4_seed0"]
    file.write_text(json.dumps(content))
    out = tmp_path / "here"
    assert _make(out, elsewhere) == []
    assert main() == [call for call in ALL if not call.startswith("regression")]
    assert not calls.is_taken(plan.workdir(out, plan.runs(SETTINGS)[0]))


def test_numbers_of_other_settings_are_not_used(main, elsewhere, tmp_path):
    changed = plan.Settings(rows=("regression",), seeds=1, changes=("train.steps=2000",))
    assert _make(tmp_path / "here", elsewhere, changed) == []
    assert main() == ["regression_seed0 calibrate,train", "regression_seed0 eval_own"]


def test_what_is_here_is_kept(main, elsewhere, tmp_path):
    out = tmp_path / "here"
    tabulate.make(plan.Settings(rows=("ssimbad",), seeds=1), out, COMMAND)
    assert main() == [f"ssimbad_seed0 {call}" for call in ("calibrate,train", *BY_CALLS)]
    assert _make(out, elsewhere, REFINED) == []
    assert main() == []
    assert not calls.is_taken(plan.workdir(out, plan.runs(REFINED)[0]))


def test_a_file_of_numbers_names_no_folder_and_no_unfinished_run(main, elsewhere, tmp_path):
    (elsewhere / plan.RUNS / "refined_4_seed0" / calls.DONE).unlink()
    tabulate.write(elsewhere)
    text = (elsewhere / archive.FILE).read_text()
    assert str(tmp_path) not in text
    assert str(pathlib.Path.home()) not in text
    assert json.loads(text)["runs"].keys() == {"ssimbad_seed0", "regression_seed0"}


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ("no JSON", "Expecting value"),
        ("[]", "list indices"),
        ('{"runs": {}}', "'commands'"),
        ('{"commands": [], "runs": {"../evil_seed0": {}}}', "is no name of a run"),
        ('{"commands": [], "runs": {"edm_seed0": {"../x": {}}}}', "has a file '../x'"),
        ('{"commands": [], "runs": {"edm_seed0": {"run.json": 1}}}', "run.json of edm_seed0 is"),
    ],
)
def test_another_file_is_refused_and_nothing_is_written(tmp_path, content, reason):
    file = tmp_path / "numbers.json"
    file.write_text(content)
    with pytest.raises(ValueError, match=r"--take is .*name a results\.json") as info:
        archive.take(file, tmp_path / "out")
    assert reason in str(info.value)
    assert not (tmp_path / "out").exists()
