"""What was run, how configs differ, times and versions."""

import json

import pytest

from ssimbad_jax.configs import edm_ssimbad
from ssimbad_jax.stages.reporting import facts, run_files
from tests import written_run


@pytest.fixture
def run(tmp_path):
    return run_files.read(written_run.write(tmp_path / "run"), "run")


def _values(rows):
    return {row.name: row.values for row in rows}


def test_the_overview_says_what_was_run(run):
    found = _values(facts.overview([run]))
    assert found["Config"] == ("benchmark_s32",)
    assert found["Pictures"] == ("built-in toy faces, 32 px",)
    assert found["Network"] == ("U-Net, 32 channels × [1, 2, 4], 32 groups",)
    assert found["Noise schedule"] == ("SSIMBaD, σ / (σ + 0.3), R² 0.971",)
    assert found["Training"] == ("1,500 of 1,500 steps of 32 pictures",)
    assert found["Refinement"] == (facts.MISSING,)
    refined = facts.overview([run._replace(refinement_log=[{"step": 400.0, "loss": 0.1}])])
    values = {fact.name: fact.values for fact in refined}
    assert values["Refinement"] == ("euler-10, 400 of 600 steps of 8 pictures",)
    assert found["Held-out loss, least"] == (f"{10 / 1500:.4f} at step 1,500",)
    assert found["Time in all"] == ("12 min 34 s",)
    assert found["Devices"] == ("4 × H100",)


def test_nothing_is_known_of_a_run_without_files(run):
    empty = run._replace(config={}, log=[], calibration=None, record={})
    values = _values(facts.overview([empty])).values()
    assert {value for (value,) in values} == {"–", "not begun"}
    assert facts.times([empty]) == facts.versions([empty]) == []


def test_the_paths_of_a_machine_are_not_shown_in_the_overview(run):
    run = run._replace(config=run.config | {"data.dir": "/a/long/path/to/faces/"})
    assert _values(facts.overview([run]))["Pictures"] == ("faces, 32 px",)


def test_what_differs_from_the_paper_comes_first(run):
    from_paper, between, rows = facts.config([run])
    assert between == []
    assert _values(from_paper)["train.steps"] == ("1500", "0")
    assert _values(from_paper)["model.channel_multipliers"] == ("[1, 2, 4]", "[1, 2, 4, 8]")
    assert "train.clip_norm" not in _values(from_paper)
    paper = run_files.flatten(json.loads(edm_ssimbad.get_config().to_json()))
    assert list(_values(rows)) == list(paper)


def test_what_differs_between_runs_is_found(run):
    other = run._replace(config=run.config | {"model.num_groups": 8, "new.field": 1})
    _, between, _ = facts.config([run, other])
    assert _values(between) == {
        "model.num_groups": ("32", "8", "32"),
        "new.field": ("–", "1", "–"),
    }
    assert all(row.differs for row in between)


def test_times_are_those_of_finished_and_unfinished_stages(run):
    (row,) = facts.times([run])  # the report itself is not over yet
    assert row == ("train", ("12 min 34 s, 3 starts, ended 2026-01-02 03:04 UTC",))
    record = {"stages": {"calibrate": {"seconds": 1.0, "starts": 1, "finished": None}}}
    found = _values(facts.times([run, run._replace(record=record)]))
    assert found["calibrate"] == ("–", "1.0 s, 1 start, not finished")


def test_versions_of_all_runs_are_beside_each_other(run):
    other = run._replace(record={"versions": {"jax": "0.11", "flax": "1"}})
    assert _values(facts.versions([run, other])) == {
        "ssimbad_jax": ("0.1.0", "–"),
        "jax": ("0.10.2", "0.11"),
        "flax": ("–", "1"),
    }
