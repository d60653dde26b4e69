"""The page of a run and of several: whole, safe, and the same every time."""

import html.parser
import json
import pathlib
import re
import shutil
import subprocess
import sys

import numpy as np
import pytest

from ssimbad_jax.stages import report
from tests import written_run

_VOID = {"meta", "link", "img", "br"}
_HOSTILE = "<script>alert(1)</script>'\"&amp;"


class _Page(html.parser.HTMLParser):
    """Checks that tags are balanced, and collects what tests look at."""

    def __init__(self, text):
        super().__init__()
        self.tags, self.attributes, self.ids, self.text = [], [], [], ""
        self.open = []
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes += [(tag, *pair) for pair in attrs]
        self.ids += [value for name, value in attrs if name == "id"]
        if tag not in _VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.handle_starttag(tag, attrs)
        if tag not in _VOID:
            self.open.pop()

    def handle_endtag(self, tag):
        assert self.open and self.open.pop() == tag, f"</{tag}> at {self.getpos()}"

    def handle_data(self, data):
        self.text += data


def _write(tmp_path, *workdirs):
    report.write(workdirs, tmp_path / "page.html")
    return (tmp_path / "page.html").read_text(encoding="utf-8")


def _assert_self_contained(text):
    page = _Page(text)
    assert "script" not in page.tags and not [a for a in page.attributes if a[1][:2] == "on"]
    for tag, name, value in page.attributes:
        if name in ("src", "href", "srcset", "action", "data"):
            assert value.startswith(("#", "data:")), f"<{tag} {name}={value[:50]}>"
    assert all(target.startswith("#") for target in re.findall(r"url\(([^)]*)\)", text))
    assert "http://" not in text and "https://" not in text and "@import" not in text
    assert len(page.ids) == len(set(page.ids))
    anchors = [
        value[1:] for _, name, value in page.attributes if name == "href" and value[0] == "#"
    ]
    assert set(anchors) <= set(page.ids)
    return page


@pytest.fixture
def workdir(tmp_path):
    return written_run.write(tmp_path / "run")


@pytest.fixture
def other(tmp_path):
    return written_run.write(tmp_path / "other", seed=1, model__num_groups=8)


def test_the_page_of_a_finished_run_is_written_by_the_last_stage(finished_run):
    text = (finished_run.workdir / report.RESULT).read_text(encoding="utf-8")
    page = _assert_self_contained(text)
    assert len(text) < 2e6
    assert "not trained yet" not in page.text and "not evaluated yet" not in page.text
    for words in ("euler-2", "copy the reference", "SSIMBaD, σ / (σ + 0.3)", "24 of 24 steps"):
        assert words in page.text
    assert page.tags.count("svg") == 7  # six of the training, one of the calibration
    assert text.count("Best, median and worst") and "Noise levels along the axes" in text


def test_every_score_is_on_the_page_with_its_error(workdir, tmp_path):
    text = _Page(_write(tmp_path, workdir)).text
    for row in written_run.scores(np.random.default_rng(0))["rows"]:
        assert row["method"] in text
    for row in json.loads((workdir / "eval" / "metrics.json").read_text())["rows"]:
        for setting in written_run.SETTINGS:
            assert f"{row[f'psnr_{setting}']:.2f}± 0.12" in text
            assert f"{row[f'lpips_{setting}']:.2f}0.10 to 0.70" in text
    for words in ("AlexNet's.", "Two seeds were scored.", "12 min 34 s", "0.9712", "4 × H100"):
        assert words in text


def test_pictures_and_charts_are_told_in_words_and_tables_have_headers(workdir, other, tmp_path):
    for workdirs in ([workdir], [workdir, other]):
        page = _Page(_write(tmp_path, *workdirs))
        texts = [value for tag, name, value in page.attributes if (tag, name) == ("img", "alt")]
        assert len(texts) == page.tags.count("img") > 0 and all(texts)
        assert page.tags.count("caption") == page.tags.count("table")
        assert page.tags.count("th") == sum(a[:2] == ("th", "scope") for a in page.attributes)
        labels = [value for tag, name, value in page.attributes if name == "aria-label"]
        assert sum(label.startswith("Line chart") for label in labels) == page.tags.count("svg")
        assert ("html", "lang", "en") in page.attributes


def test_a_comparison_marks_the_best_and_says_what_differs(workdir, other, tmp_path):
    text = _write(tmp_path, workdir, other)
    page = _assert_self_contained(text)
    rows = [
        row
        for folder in (workdir, other)
        for row in json.loads((folder / "eval" / "metrics.json").read_text())["rows"]
        if row["network_calls"]
    ]
    best = [
        f"{choose(row[f'{metric}_{setting}'] for row in rows):.2f}"
        for setting in written_run.SETTINGS
        for metric, choose in (("psnr", max), ("lpips", min))
    ]
    marked = re.findall(r'<td class="number best"><span class="value">([^<]*)', text)
    assert sorted(marked) == sorted(best)
    between = text[text.index("What differs between the runs") :]
    assert "model.num_groups" in between[: between.index("</table>")]
    assert "train.steps" not in between[: between.index("</table>")]
    assert page.text.index("What differs between the runs") < page.text.index("All ")


@pytest.mark.parametrize(
    "missing",
    [
        ["config.json"],
        ["calibration.json"],
        ["metrics.jsonl"],
        ["run.json"],
        ["eval"],
        ["eval/grid.png", "eval/same"],
        ["metrics.jsonl", "eval", "run.json", "config.json"],
        ["calibration.json", "eval", "run.json", "config.json"],
        ["calibration.json", "metrics.jsonl", "eval", "run.json"],
    ],
    ids=" ".join,
)
def test_a_run_in_parts_still_gives_a_page(workdir, other, tmp_path, missing):
    for name in missing:
        path = workdir / name
        shutil.rmtree(path) if path.is_dir() else path.unlink()
    for workdirs in ([workdir], [workdir, other])[: 1 + (len(missing) > 2)]:
        page = _assert_self_contained(_write(tmp_path, *workdirs))
        for name, words in (
            ("config.json", "There is no config.json."),
            ("calibration.json", "not calibrated yet"),
            ("metrics.jsonl", "not trained yet"),
            ("eval", "not evaluated yet"),
            ("run.json", "times and versions are not known"),
        ):
            assert (words in page.text) == (name in missing)


def test_text_of_files_is_shown_not_run(tmp_path):
    workdir = written_run.write(tmp_path / "a <script>alert(2)<" / "script>")
    config = json.loads((workdir / "config.json").read_text())
    config["data"]["dir"] = _HOSTILE
    config[_HOSTILE] = _HOSTILE
    (workdir / "config.json").write_text(json.dumps(config))
    calibration = json.loads((workdir / "calibration.json").read_text())
    calibration["chosen"]["name"] = calibration["candidates"][0]["name"] = _HOSTILE
    calibration["request"]["num_images"] = _HOSTILE
    (workdir / "calibration.json").write_text(json.dumps(calibration))
    record = json.loads((workdir / "run.json").read_text())
    record |= {"config": _HOSTILE, "devices": {"kind": _HOSTILE}, "versions": {_HOSTILE: _HOSTILE}}
    record["stages"]["train"]["finished"] = _HOSTILE
    (workdir / "run.json").write_text(json.dumps(record))
    summary = written_run.scores(np.random.default_rng(0)) | {"pairs": _HOSTILE}
    summary |= {"checkpoint_step": _HOSTILE, "num_images": _HOSTILE, "notes": [_HOSTILE]}
    summary["metrics"]["psnr"] = {"label": _HOSTILE, "unit": _HOSTILE, "note": _HOSTILE}
    summary["rows"][0] |= {"method": _HOSTILE, "network_calls": _HOSTILE, "psnr_same": _HOSTILE}
    written_run.write_scores(workdir / "eval", summary)
    for workdirs in ([workdir], [workdir, written_run.write(tmp_path / "other")]):
        text = _write(tmp_path, *workdirs)
        page = _assert_self_contained(text)
        assert page.text.count(_HOSTILE) >= 10
        assert "script-src" not in text and "default-src 'none'" in text


def test_equal_files_give_equal_pages(workdir, other, tmp_path):
    first = _write(tmp_path, workdir, other)
    assert first == _write(tmp_path, workdir, other)
    assert first != _write(tmp_path, other, workdir)


def test_a_folder_that_is_no_run_writes_nothing(workdir, tmp_path):
    with pytest.raises(ValueError, match="is no run"):
        report.write([workdir, tmp_path], tmp_path / "page.html")
    assert not (tmp_path / "page.html").exists()


def test_a_single_run_has_its_page_in_its_workdir(workdir, other):
    assert report.default_path([workdir]) == workdir / "report.html"
    assert report.default_path([workdir, other]) == pathlib.Path("report.html")


def test_the_command_writes_where_it_is_told_or_refuses_with_one_line(workdir, other, tmp_path):
    def run(*arguments):
        command = [sys.executable, "-m", "ssimbad_jax.report", *map(str, arguments)]
        return subprocess.run(command, capture_output=True, text=True)

    path = tmp_path / "new" / "both.html"
    written = run(workdir, other, f"--out={path}")
    assert (written.returncode, written.stderr) == (0, "")
    assert written.stdout == f"report: {path}\n"
    assert path.read_text(encoding="utf-8") == _write(tmp_path, workdir, other)
    refused = run(tmp_path)
    assert refused.returncode == 1
    assert refused.stderr.startswith(f"error: {tmp_path} is no run")
    assert refused.stderr.count("\n") == 1
