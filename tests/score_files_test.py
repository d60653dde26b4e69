"""What scoring writes."""

import csv
import json

import numpy as np
import pytest

from ssimbad_jax.data import pairs
from ssimbad_jax.stages import score_files

COUNT = 5


def make_results(generator):
    return {
        setting: {
            name: score_files.Result(
                generator.integers(0, 255, (COUNT, 8, 8, 3), np.uint8),
                {"psnr": generator.random(COUNT), "ssim": generator.random(COUNT)},
                calls,
                0.1,
            )
            for name, calls in (("copy", 0), ("euler-3", 3))
        }
        for setting in pairs.SETTINGS
    }


@pytest.fixture
def results():
    return make_results(np.random.default_rng(0))


def test_rows_are_means_with_standard_errors_the_model_first(results):
    rows = score_files.rows(results)
    assert [row["method"] for row in rows] == ["euler-3", "copy"]
    values = results["cross"]["euler-3"].scores["ssim"]
    assert rows[0]["ssim_cross"] == pytest.approx(np.mean(values))
    expected = np.sqrt(np.var(values, ddof=1) / COUNT)
    assert rows[0]["ssim_cross_standard_error"] == pytest.approx(expected)


def test_numbers_come_back(results, tmp_path):
    score_files.write_numbers(tmp_path, {"rows": score_files.rows(results)}, results)
    assert len(json.loads((tmp_path / "metrics.json").read_text())["rows"]) == 2
    with (tmp_path / "per_image.csv").open() as file:
        lines = list(csv.DictReader(file))
    assert len(lines) == 2 * 2 * COUNT
    found = [
        float(line["psnr"])
        for line in lines
        if (line["setting"], line["method"]) == ("same", "copy")
    ]
    np.testing.assert_allclose(found, results["same"]["copy"].scores["psnr"], atol=1e-5)


def test_pictures_of_an_earlier_scoring_do_not_stay(results, tmp_path):
    generator = np.random.default_rng(1)
    shape = (COUNT, 8, 8, 3)
    drawn = [generator.integers(0, 255, shape, np.uint8) for _ in range(3)]
    test_pairs = pairs.Pairs(drawn[0], drawn[0][..., 0], drawn[1], drawn[2])
    for count in (COUNT, 2):
        score_files.write_pictures(tmp_path, test_pairs, results, "euler-3", count)
        for setting in pairs.SETTINGS:
            names = sorted(path.name for path in (tmp_path / setting).iterdir())
            assert names == [f"{number:05d}.png" for number in range(count)]
    assert (tmp_path / "grid.png").is_file()


def test_the_table_has_a_line_for_each_method(results):
    summary = {"rows": score_files.rows(results)}
    lines = score_files.table(summary, ["psnr", "ssim"]).splitlines()
    assert [line.split()[0] for line in lines[1:]] == ["euler-3", "copy"]
    assert lines[0].split()[:3] == ["calls", "psnr", "same"]
