"""Which files are made, and which refusals keep others from being destroyed."""

import json

import PIL.Image
import pytest

from ssimbad_jax.data import sketch_pairs
from ssimbad_jax.stages import colorize_files, colorize_jobs
from tests import drawings

_MODEL = {"checkpoint_step": 5}


@pytest.fixture
def plan(tmp_path):
    """Plans sketches, given by name, that are drawn in `sketches`."""
    reference = tmp_path / "r.png"
    PIL.Image.new("RGB", (5, 5)).save(reference)
    (tmp_path / "sketches").mkdir()

    def run(*names, out="out", **settings):
        items = []
        for name in names:
            path = tmp_path / "sketches" / f"{name}.png"
            if not path.exists():
                drawings.face(20, 20, 1).save(path)
            items.append(sketch_pairs.Item(name, path, reference))
        settings = colorize_jobs.Settings(**settings)
        return colorize_jobs.plan(items, tmp_path / out, _MODEL, settings)

    return run


def test_every_variant_has_its_file_and_record(plan, tmp_path):
    (outcome,) = plan("a", variants=3)
    names = ["a.png", "a.2.png", "a.3.png"]
    assert outcome.results == [tmp_path / "out" / name for name in names]
    assert [record["variant"] for record in outcome.records] == [0, 1, 2]
    assert outcome.records[0]["checkpoint_step"] == 5
    assert outcome.records[0]["sketch"] == colorize_files.digest(tmp_path / "sketches" / "a.png")


def test_results_that_would_overwrite_each_other_are_refused(plan):
    first, second = plan("a", "a.2", variants=2)
    assert first.status == "skipped"
    assert second.reason == "a.2.png is also the file of a; rename one of them"
    first, second = plan("a", "a.2", variants=1)
    assert (first.reason, second.reason) == ("", "")
    (sheet,) = plan("contact_sheet")
    assert "is also the file of the contact sheet" in sheet.reason


def test_inputs_are_never_overwritten(plan, capsys):
    for overwrite in (False, True):
        (outcome,) = plan("a", out="sketches", overwrite=overwrite)
        assert outcome.status == "failed"
        assert outcome.reason == "a.png is an input itself; name another --out"
    assert "colorize: a failed: a.png is an input itself" in capsys.readouterr().out


def test_files_that_were_not_made_here_are_kept(plan, tmp_path):
    (tmp_path / "out").mkdir()
    PIL.Image.new("RGB", (5, 5)).save(tmp_path / "out" / "a.png")
    (outcome,) = plan("a")
    assert "was not made by this program; --overwrite would replace it" in outcome.reason
    (outcome,) = plan("a", overwrite=True)
    assert outcome.status == "skipped"
    colorize_files.save_result(tmp_path / "out" / "a.png", PIL.Image.new("RGB", (5, 5)), {})
    (outcome,) = plan("a")
    assert outcome.status == "skipped"


def test_what_cannot_be_paired_or_read_fails_alone(tmp_path):
    drawings.face(20, 20, 1).save(tmp_path / "good.png")
    items = [
        sketch_pairs.Item("alone", tmp_path / "alone.png", None, "no reference"),
        sketch_pairs.Item("gone", tmp_path / "gone.png", tmp_path / "good.png"),
        sketch_pairs.Item("good", tmp_path / "good.png", tmp_path / "good.png"),
    ]
    settings = colorize_jobs.Settings()
    alone, gone, good = colorize_jobs.plan(items, tmp_path / "out", _MODEL, settings)
    assert (alone.status, alone.reason) == ("failed", "no reference")
    assert gone.status == "failed"
    assert gone.reason.endswith("gone.png: No such file or directory")
    assert good.status == "skipped"
    report = json.loads(json.dumps([colorize_jobs.as_json(o) for o in (alone, gone, good)]))
    assert [item["status"] for item in report] == ["failed", "failed", "skipped"]
    assert [len(item["results"]) for item in report] == [0, 0, 1]
