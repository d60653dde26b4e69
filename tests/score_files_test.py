"""What scoring writes."""

import csv
import json

import numpy as np
import pytest

from ssimbad_jax.data import pairs
from ssimbad_jax.stages import pictures, score_files, scores

COUNT = 5
METRICS = ("psnr", "ssim", "frechet_vgg16", "fid")


def make_results(generator, seeds=1):
    def result(calls):
        return score_files.Result(
            generator.integers(0, 255, (COUNT, 8, 8, 3), np.uint8),
            scores.Scores(
                {name: generator.random((seeds, COUNT)) for name in ("psnr", "ssim")},
                {"frechet_vgg16": generator.random(seeds)},
                {"frechet_vgg16": (0.25, 0.75)},
            ),
            calls,
            0.1,
        )

    return {
        setting: {name: result(calls) for name, calls in (("copy", 0), ("euler-3", 3))}
        for setting in pairs.SETTINGS
    }


def make_summary(results, seeds=(0,)):
    return {
        "seeds": list(seeds),
        "settings": list(pairs.SETTINGS),
        "metrics": scores.descriptions(METRICS, 16, has_inception=False),
        "rows": score_files.rows(results, METRICS, len(seeds)),
        "notes": scores.notes(METRICS, COUNT, len(seeds), has_inception=False),
    }


@pytest.fixture
def results():
    return make_results(np.random.default_rng(0))


def test_the_sampler_is_first_also_with_fewer_calls_than_the_mean(results):
    """It is the one whose pictures are shown."""
    for methods in results.values():
        methods["posterior mean of 8"] = methods["copy"]._replace(network_calls=8)
    rows = score_files.rows(results, METRICS, 1)
    assert [row["method"] for row in rows] == ["euler-3", "posterior mean of 8", "copy"]


def test_rows_are_means_with_standard_errors_the_sampler_first(results):
    rows = score_files.rows(results, METRICS, 1)
    assert [row["method"] for row in rows] == ["euler-3", "copy"]
    result = results["cross"]["euler-3"].scores
    (values,) = result.of_pictures["ssim"]
    assert rows[0]["ssim_cross"] == pytest.approx(np.mean(values))
    expected = np.sqrt(np.var(values, ddof=1) / COUNT)
    assert rows[0]["ssim_cross_standard_error"] == pytest.approx(expected)
    assert rows[0]["frechet_vgg16_cross"] == result.of_sets["frechet_vgg16"][0]
    assert rows[0]["frechet_vgg16_cross_interval"] == [0.25, 0.75]
    assert rows[0]["fid_cross"] is None
    assert not any("spread" in key for key in rows[0])


def test_several_seeds_have_a_spread():
    results = make_results(np.random.default_rng(0), seeds=3)
    row = score_files.rows(results, METRICS, 3)[0]
    values = results["same"]["euler-3"].scores.of_pictures["psnr"]
    assert row["psnr_same"] == pytest.approx(values.mean())
    assert row["psnr_same_seed_spread"] == pytest.approx(values.mean(axis=1).std(ddof=1))
    expected = values.mean(axis=0).std(ddof=1) / np.sqrt(COUNT)
    assert row["psnr_same_standard_error"] == pytest.approx(expected)


def test_numbers_come_back(results, tmp_path):
    score_files.write_numbers(tmp_path, make_summary(results), results)
    assert len(json.loads((tmp_path / "metrics.json").read_text())["rows"]) == 2
    with (tmp_path / "per_image.csv").open() as file:
        lines = list(csv.DictReader(file))
    assert len(lines) == 2 * 2 * COUNT
    found = [
        float(line["psnr"])
        for line in lines
        if (line["setting"], line["method"]) == ("same", "copy")
    ]
    np.testing.assert_allclose(
        found, results["same"]["copy"].scores.of_pictures["psnr"][0], atol=1e-5
    )


def test_the_psnr_of_a_picture_equal_to_its_target_is_no_number_in_json(results, tmp_path):
    results["same"]["copy"].scores.of_pictures["psnr"][0, 2] = np.inf
    summary = make_summary(results)
    score_files.write_numbers(tmp_path, summary, results)

    def refuse(constant):
        raise AssertionError(f"{constant} is no JSON")

    text = (tmp_path / "metrics.json").read_text()
    row = json.loads(text, parse_constant=refuse)["rows"][1]
    assert row["psnr_same"] is None and row["psnr_same_standard_error"] is None
    assert row["psnr_cross"] > 0
    assert "-" in score_files.table(summary)


def test_pictures_of_an_earlier_scoring_do_not_stay(results, tmp_path):
    generator = np.random.default_rng(1)
    shape = (COUNT, 8, 8, 3)
    drawn = [generator.integers(0, 255, shape, np.uint8) for _ in range(3)]
    test_pairs = pairs.Pairs(drawn[0], drawn[0][..., 0], drawn[1], drawn[2])
    for count in (COUNT, 2):
        score_files.write_pictures(tmp_path, test_pairs, results, "euler-3", count)
        for folder in (*pairs.SETTINGS, score_files.TARGETS):
            names = sorted(path.name for path in (tmp_path / folder).iterdir())
            assert names == [f"{number:05d}.png" for number in range(count)]
    assert (tmp_path / "grid.png").is_file()


def test_the_grid_has_the_best_the_middle_and_the_worst_by_ssim(results, tmp_path, monkeypatch):
    count = 9
    generator = np.random.default_rng(1)
    drawn = [generator.integers(0, 256, (count, 8, 8, 3), np.uint8) for _ in range(6)]
    test_pairs = pairs.Pairs(drawn[0], drawn[1][..., 0], drawn[2], drawn[3])
    ssim = generator.permutation(np.linspace(0.1, 0.9, count))
    for setting, pixels in zip(pairs.SETTINGS, drawn[4:], strict=True):
        result = results[setting]["euler-3"]
        result.scores.of_pictures["ssim"] = ssim[None]
        results[setting]["euler-3"] = result._replace(pixels=pixels)
    saved = []
    monkeypatch.setattr(
        pictures, "save_grid", lambda path, columns, titles: saved.append((columns, titles))
    )
    monkeypatch.setattr(score_files, "ROWS_OF_EACH_KIND", 1)
    score_files.write_pictures(tmp_path, test_pairs, results, "euler-3", 1)
    ((columns, titles),) = saved
    shown = [np.argmax(ssim), np.argsort(ssim)[count // 2], np.argmin(ssim)]
    expected = {
        "sketch": test_pairs.sketch[..., None],
        "reference": test_pairs.reference_same,
        "target": test_pairs.gt,
        "cross reference": test_pairs.reference_cross,
    }
    for title, column in zip(titles, columns, strict=True):
        if title != "result":
            np.testing.assert_array_equal(column, expected[title][shown])
    np.testing.assert_array_equal(columns[2], drawn[4][shown])
    np.testing.assert_array_equal(columns[5], drawn[5][shown])


def test_the_grid_needs_no_ssim(results, tmp_path):
    generator = np.random.default_rng(1)
    drawn = generator.integers(0, 255, (COUNT, 8, 8, 3), np.uint8)
    for setting in pairs.SETTINGS:
        del results[setting]["euler-3"].scores.of_pictures["ssim"]
    test_pairs = pairs.Pairs(drawn, drawn[..., 0], drawn, drawn)
    score_files.write_pictures(tmp_path, test_pairs, results, "euler-3", 1)
    assert (tmp_path / "grid.png").is_file()


@pytest.mark.parametrize("seeds", [1, 2])
def test_the_table_has_a_block_a_setting_and_a_column_a_method(seeds):
    results = make_results(np.random.default_rng(0), seeds)
    lines = score_files.table(make_summary(results, range(seeds))).splitlines()
    assert lines[1].split() == ["euler-3", "copy"]
    assert lines[2].split() == ["network", "calls", "3", "0"]
    assert max(len(line) for line in lines[: lines.index("same reference")]) <= 100
    start = lines.index("cross reference")
    psnr = next(line for line in lines[start:] if "PSNR" in line)
    values = results["cross"]["euler-3"].scores.of_pictures["psnr"]
    assert psnr.split()[:3] == ["PSNR", "↑", f"{values.mean():.2f}"]
    frechet = next(number for number, line in enumerate(lines[start:]) if "Frechet" in line)
    assert lines[start + frechet + 1].split()[2:4] == ["[0.25,", "0.75]"]
    assert sum("spread over seeds" in line for line in lines) == (0 if seeds == 1 else 6)
