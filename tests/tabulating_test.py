"""The parts of the table of results: rows, what is planned, what is read, written and drawn."""

import json

import numpy as np
import PIL.Image
import pytest
from matplotlib import figure

from ssimbad_jax.data import pairs
from ssimbad_jax.stages import scores as scores_lib
from ssimbad_jax.stages import weights
from ssimbad_jax.stages.tabulating import calls, figures, page, plan, results, rows, tables
from tests import written_run

# ml_collections loads config files in a way that is going.
pytestmark = pytest.mark.filterwarnings("ignore:the load_module:DeprecationWarning")

METRICS = ("psnr", "ssim", "lpips_alex", "palette_to_reference")
SIMPLE = {"copy the reference": 13.6, "mean colour of the reference": 13.4}


def _summary(methods, **changed):
    """What scoring writes; `methods` gives each a number of calls and its PSNR."""
    made = []
    for method, (calls_of_it, psnr) in methods.items():
        row = {"method": method, "network_calls": calls_of_it, "seconds_per_image": 0.25}
        for setting, lost in (("same", 0.0), ("cross", 4.0)):
            row[f"psnr_{setting}"] = psnr - lost
            row[f"psnr_{setting}_standard_error"] = 0.1
            row[f"ssim_{setting}"] = (psnr - lost) / 30
            row[f"lpips_alex_{setting}"] = 4 / (psnr - lost)
            row[f"palette_to_reference_{setting}"] = 20.0 - psnr / 10
        made.append(row)
    described = {name: scores_lib.METRICS[name]._asdict() for name in METRICS}
    return {
        "weights": "pretrain",
        "checkpoint_step": 1500,
        "pairs": "somewhere/pairs32.npz",
        "num_images": 200,
        "image_size": 32,
        "settings": ["same", "cross"],
        "metrics": described,
        "rows": made,
        "notes": [],
    } | changed


def _write(out, name, seed, scored, **fields):
    """Writes a run with scores, by the name of the scoring; see `written_run.write`."""
    run = plan.Run(rows.ROWS[name], seed)
    workdir = written_run.write(plan.workdir(out, run), seed=seed, **fields)
    for scoring, methods in scored.items():
        simple = {method: (0, psnr) for method, psnr in SIMPLE.items()}
        folder = workdir / plan.folder(scoring)
        written_run.write_scores(folder, _summary(methods | simple))
        written_run.write_pictures(folder, np.random.default_rng(seed))
    return workdir


@pytest.fixture
def out(tmp_path):
    """Two seeds of SSIMBaD, one of EDM, regression and a refinement."""
    for seed, gain in ((0, 0.0), (1, 0.4)):
        _write(
            tmp_path,
            "ssimbad",
            seed,
            {
                "heun50": {"heun-50": (99, 15.0 + gain), "posterior mean": (1, 16.0 + gain)},
                "euler10": {"euler-10": (10, 15.5 + gain), "posterior mean": (1, 16.0 + gain)},
                "euler3": {"euler-3": (3, 15.8 + gain), "posterior mean of 8": (8, 16.2 + gain)},
            },
        )
    _write(
        tmp_path,
        "edm",
        0,
        {
            "heun50": {"heun-50": (99, 15.1), "posterior mean": (1, 13.0)},
            "euler10": {"euler-10": (10, 14.0)},
        },
    )
    _write(tmp_path, "regression", 0, {"own": {"euler-1": (1, 16.5), "posterior mean": (1, 16.5)}})
    workdir = _write(
        tmp_path, "refined_10", 0, {"own": {"euler-10": (10, 19.0), "posterior mean": (1, 12.6)}}
    )
    (workdir / "refine").mkdir()
    (workdir / "refine" / "metrics.jsonl").write_text('{"step": 600, "loss": 0.1}\n')
    record = json.loads((workdir / "run.json").read_text())
    record["stages"] = {
        "refine": {
            "seconds": 100.0,
            "starts": 1,
            "finished": "2026-01-02",
            "devices": {"kind": "TPU v5e", "count": 8, "hosts": 1},
        }
    }
    (workdir / "run.json").write_text(json.dumps(record))
    return tmp_path


def _cells(table, label, method):
    """The texts of a row, by column."""
    for row in table.rows:
        if (row[0].text, row[1].text) == (label, method):
            return dict(zip(table.columns, row, strict=True))
    raise AssertionError(f"no row {label}, {method}")


def _table(found, title):
    return next(table for table in tables.all_tables(found) if table.title.startswith(title))


@pytest.mark.parametrize("scale", rows.SCALES)
@pytest.mark.parametrize("name", rows.ROWS)
def test_each_row_has_a_config_that_works_at_each_scale(name, scale):
    plan.check(plan.Settings(scale=scale, rows=(name,)))


@pytest.mark.parametrize("row", rows.ROWS.values(), ids=list(rows.ROWS))
def test_rows_are_well_formed(row):
    assert rows.ROWS[row.name] is row
    assert row.scorings and set(row.scorings) <= set(rows.SCORINGS)
    if row.start:
        order = list(rows.ROWS)
        assert order.index(row.start) < order.index(row.name)
        start = rows.ROWS[row.start]
        assert start.start == "" and start.config == row.config and start.seeds >= row.seeds


def test_what_scales_and_the_paper_say_is_said_of_rows():
    for scale in rows.SCALES.values():
        assert set(scale.of_rows) <= set(rows.ROWS)
    for name, scoring in rows.PUBLISHED:
        assert scoring in rows.ROWS[name].scorings
    assert len({row.label for row in rows.ROWS.values()}) == len(rows.ROWS)


def test_first_seeds_come_before_second_ones_and_starts_before_refinements():
    settings = plan.Settings(rows=("refined_10", "edm"))
    names = [run.name for run in plan.runs(settings)]
    assert names == [
        *("ssimbad_seed0", "refined_10_seed0", "edm_seed0"),
        *("ssimbad_seed1", "refined_10_seed1", "edm_seed1"),
    ]
    assert len(plan.runs(plan.Settings(rows=("refined_4",), seeds=3))) == 6
    for run in plan.runs(plan.Settings()):
        assert run.start is None or run.start in plan.runs(plan.Settings())


def test_changes_reach_all_rows_and_leave_them_what_they_are():
    changes = ("train.steps=20", "train.warmup_steps=2", "refine.sampler_steps=7", "seed=9")
    settings = plan.Settings(rows=("refined_4",), changes=changes, pairs="pairs.npz")
    _, refined = plan.runs(settings)[:2]
    refine, scoring = plan.calls(settings, refined)
    assert (refine.stages, scoring.stages) == ("refine", "evaluate")
    config = plan.config(scoring)
    assert (config.train.steps, config.refine.sampler_steps, config.seed) == (20, 4, 0)
    assert (config.eval.folder, config.eval.pairs) == ("eval_own", "pairs.npz")
    assert config.data.image_size == 32
    assert not any("pairs.npz" in flag for flag in scoring.config_flags)


@pytest.mark.parametrize(("given", "used"), [("faces/", "faces"), ("/", "/"), ("", "")])
def test_a_last_slash_makes_no_other_folder_of_pictures(given, used):
    run = plan.Run(rows.ROWS["edm"], 0)
    assert plan.config(plan.calls(plan.Settings(data=given), run)[0]).data.dir == used


def test_a_scale_gives_single_rows_a_budget_of_their_own():
    steps = {}
    for name in ("refined_10", "refined_50"):
        settings = plan.Settings(rows=(name,))
        config = plan.config(plan.calls(settings, plan.Run(rows.ROWS[name], 0))[0])
        steps[config.refine.sampler_steps] = config.refine.steps * config.refine.batch_size
    assert steps == {10: 4800, 50: 960}


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"scale": "s99"}, "--scale is 's99'; choose out of paper,s32"),
        ({"rows": ("edm", "gan")}, "--rows names 'gan'; choose out of ssimbad,"),
        ({"rows": ()}, "--rows names ''; choose"),
        ({"seeds": -1}, "--seeds is -1; set it to 1 or more"),
        ({"data": "nowhere"}, "--data is 'nowhere', which is no folder; check the path"),
        ({"pairs": "no.npz"}, "--pairs is 'no.npz', which is no file; check the path"),
        ({"changes": ("train.steps",)}, "--set is 'train.steps'; name a field and its value"),
        (
            {"changes": ("train.stepz=3",)},
            "row edm, train: the config has no field 'stepz'; see configs/edm_ssimbad.py",
        ),
        ({"changes": ("train.steps=many",)}, "row edm, train: .* invalid literal .*'many'"),
        ({"changes": ("train.steps=-3",)}, "row edm, train: .*\n.*train.steps is -3"),
    ],
)
def test_bad_settings_are_refused_before_anything_runs(changed, message):
    with pytest.raises((ValueError, FileNotFoundError), match=message):
        plan.check(plan.Settings(**{"rows": ("edm",)} | changed))


def test_a_refinement_shares_the_files_of_what_it_starts_from(finished_run, tmp_path):
    workdir = tmp_path / "refined"
    calls.start_from(workdir, finished_run.workdir)
    before = weights.newest_step(finished_run.workdir, "pretrain")
    assert before is not None and weights.newest_step(workdir, "pretrain") == before
    ours, theirs = (
        sorted(path for path in (folder / "checkpoints").rglob("*") if path.is_file())
        for folder in (workdir, finished_run.workdir)
    )
    assert ours and all(a.samefile(b) for a, b in zip(ours, theirs, strict=True))
    calls.start_from(workdir, finished_run.workdir)  # leaves it as it is
    assert weights.newest_step(workdir, "refine") is None
    assert (workdir / "calibration.json").exists()


def test_scores_are_means_over_seeds_with_their_spread(out):
    found = results.read(out)
    heun = found.find("ssimbad", "heun-50")
    assert heun.seeds == 2 and heun.network_calls == 99
    score = heun.scores["psnr_same"]
    assert score.mean == pytest.approx(15.2)
    assert score.spread == pytest.approx(0.4 / np.sqrt(2))
    assert score.error == pytest.approx(0.1)
    assert found.find("edm", "heun-50").scores["psnr_cross"].spread is None
    methods = [(r.label, r.method) for r in found.results]
    assert methods.count(("SSIMBaD", "posterior mean")) == 1  # though two scorings have it
    assert ("regression", "posterior mean") not in methods
    assert ("SSIMBaD refined, K = 10", "posterior mean") not in methods
    assert [label for label, _ in methods[-2:]] == list(SIMPLE)


def test_costs_of_a_refinement_count_what_it_starts_from(out):
    costs = {cost.row.name: cost for cost in results.read(out).costs}
    assert (costs["ssimbad"].samples, costs["ssimbad"].seconds) == (48_000, 754.2)
    assert (costs["refined_10"].samples, costs["refined_10"].seconds) == (52_800, 854.2)
    assert costs["ssimbad"].seeds == 2 and costs["refined_10"].is_finished
    assert costs["ssimbad"].devices == ("?",)  # of an old record
    assert costs["refined_10"].devices == ("8 × TPU v5e",)


def test_tables_mark_the_best_model_and_what_is_missing(out):
    found = results.read(out)
    same = _table(found, "Same")
    psnr = "PSNR (dB) ↑"
    assert _cells(same, "SSIMBaD", "heun-50")[psnr].text == "15.20 ±0.28"
    assert _cells(same, "EDM", "euler-10")[psnr].text == "14.00"
    best = [row[0].text for row in same.rows if row[same.columns.index(psnr)].is_best]
    assert best == ["SSIMBaD refined, K = 10"]
    palette = same.columns.index("palette to reference (CIELAB) ↓")
    assert [row[0].text for row in same.rows if row[palette].is_best] == best
    assert "PSNR 0.10" in same.note
    cross = _table(found, "Cross")
    assert _cells(cross, "EDM", "euler-10")[psnr].text == "10.00"
    paper = _cells(_table(found, "The paper's"), "SSIMBaD", "heun-50")
    assert paper["PSNR here"].text == "15.20 / 11.20"
    assert paper["PSNR published"].text == "15.15 / 13.04"
    assert paper["MS-SSIM published"].text == "0.7115 / 0.6736"
    assert paper["frechet_vgg16 here"].text == "– / –"
    assert paper["FID published"].text == "53.33 / 55.18"


def test_a_folder_without_runs_gives_a_page_that_says_so(tmp_path):
    found = results.read(tmp_path)
    assert tables.all_tables(found) == [] and figures.write(tmp_path, found) == []
    page.write(tmp_path, found, [])
    assert "There are no scores yet." in (tmp_path / page.MARKDOWN).read_text()
    assert "There are none yet." in (tmp_path / page.PAGE).read_text()


def test_a_damaged_file_of_scores_costs_no_more_than_its_row(out):
    run = plan.Run(rows.ROWS["edm"], 0)
    (plan.workdir(out, run) / "eval_heun50" / "metrics.json").write_text("{")
    found = results.read(out)
    assert found.find("edm", "heun-50") is None
    assert found.find("edm", "euler-10") is not None


def test_figures_are_drawn_of_the_rows_that_are_there(out):
    found = results.read(out)
    written = {about.name: path for about, path in figures.write(out, found)}
    # No row with a fitted scale.
    assert set(written) == {"scale", "refinement", "cross"}
    for path in written.values():
        with PIL.Image.open(path) as picture:
            assert min(picture.size) > 300 and len(np.unique(np.asarray(picture))) > 10
    alone = found._replace(results=tuple(r for r in found.results if r.row is None))
    assert figures.write(out, alone) == []


def test_refinements_with_clipped_estimates_stand_apart_from_the_curve_of_the_others(out):
    _write(out, "refined_4_clipped", 0, {"own": {"ddim-4": (4, 20.0)}})
    picture = figure.Figure()
    about = next(about for about in figures.FIGURES if about.name == "refinement")
    assert about.draw(picture, results.read(out))
    drawn = {line.get_label(): list(line.get_xdata()) for line in picture.axes[0].lines}
    assert drawn["refined, by K"] == [19.0]
    assert drawn["refined, estimates clipped"] == [20.0]


@pytest.fixture
def pairs_file(tmp_path):
    """Pairs at the size of the runs."""
    generator = np.random.default_rng(0)
    shapes = {name: (9, 32, 32, 3) for name in pairs.Pairs._fields} | {"sketch": (9, 32, 32)}
    path = tmp_path / "pairs.npz"
    np.savez(path, **{n: generator.integers(0, 255, s, np.uint8) for n, s in shapes.items()})
    return path


def test_the_page_shows_what_was_given_beside_what_came_of_it(tmp_path, pairs_file):
    methods = {"own": {"euler-1": (1, 16.5)}}
    _write(tmp_path, "regression", 0, methods, eval__pairs=str(pairs_file))
    page.write(tmp_path, results.read(tmp_path), [])
    text = (tmp_path / page.PAGE).read_text()
    for label in ("sketch", "reference", "target"):
        for setting in ("same", "cross"):
            for number in range(page.FACES):
                assert f"Face {number}, {setting} reference, {label}" in text
    pairs_file.unlink()
    page.write(tmp_path, results.read(tmp_path), [])
    text = (tmp_path / page.PAGE).read_text()
    assert "reference, target" not in text and "reference, regression, euler-1" in text


def test_the_page_shows_each_row_and_escapes_what_it_is_given(out):
    hostile = "<script>alert(1)</script>|"
    found = results.read(out)
    found = found._replace(pictures=(hostile,))
    page.write(out, found, [f"python {hostile}"])
    text = (out / page.PAGE).read_text()
    assert "<script" not in text and "&lt;script&gt;" in text
    assert text.count("data:image/webp") > 2 * 3 * 4
    assert "SSIMBaD refined, K = 10, euler-10" in text
    assert "http://" not in text and "https://" not in text
    for about, _ in figures.write(out, found):
        assert about.question.replace("'", "&#39;") in text
    assert len(text) < 3_000_000


def test_the_markdown_names_each_device_and_each_set_of_versions_once(out):
    page.write(out, results.read(out), [])
    lines = (out / page.MARKDOWN).read_text().splitlines()
    assert lines.count("* refined on: 8 × TPU v5e") == 1
    assert sum(line.startswith("* versions: ssimbad_jax") for line in lines) == 1


def test_the_markdown_holds_numbers_only(out):
    page.write(out, results.read(out), ["python -m ssimbad_jax.results"])
    text = (out / page.MARKDOWN).read_text()
    assert "| SSIMBaD refined, K = 10 | euler-10 | 10 | 0.250 | **19.00** |" in text
    assert "data:" not in text and str(out) not in text
    blocks = [part.splitlines() for part in text.split("\n\n") if part.startswith("|")]
    assert len(blocks) == 4
    for block in blocks:
        assert len({line.count("|") for line in block}) == 1
    for name in ("scale", "refinement", "cross"):
        assert f"]({figures.FOLDER}/{name}.png)" in text
