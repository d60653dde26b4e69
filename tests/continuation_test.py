"""Going on under another config: what may change, and what is refused."""

import pathlib
import shutil

import pytest

from ssimbad_jax.stages import continuation, evaluate, train, training_run
from tests import tiny_run

pytestmark = pytest.mark.usefixtures("quick_compilation")

PATH = pathlib.Path("checkpoints") / "8"


def record(fingerprint="a", **fields):
    config = tiny_run.make_config(pathlib.Path("prepared"), **fields)
    return continuation.record(config, fingerprint)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("seed", 1),
        ("data__image_size", 24),
        ("data__warp", "natural"),
        ("data__toy_faces_train", 41),
        ("data__dir", "pictures"),
        ("model__num_heads", 1),
        ("model__compute_dtype", "bfloat16"),
        ("diffusion__sigma_max", 40.0),
        ("calibrate__c", 0.5),
        ("calibrate__scale", "best"),
        ("train__steps", 30),
        ("train__batch_size", 16),
        ("train__learning_rate", 5e-4),
        ("train__ema_half_life", 1000),
        ("train__validation_images", 3),
        ("train__drop_reference", 0.1),
    ],
)
def test_a_field_that_decides_the_numbers_is_refused_with_both_values(field, value):
    before, now = record(), record(**{field: value})
    name = field.replace("__", ".")
    if field == "data__dir":  # the path may change, the pictures may not
        name, value = "data_fingerprint", "a"
    with pytest.raises(ValueError, match=r"--workdir.*accept_changes=True") as error:
        continuation.check(before, now, PATH)
    assert f"{name} was " in str(error.value) and f"is {value!r}" in str(error.value)


@pytest.mark.parametrize(
    "fields",
    [
        {"eval__sampler": "heun", "eval__batch_size": 16},
        {"data__prepared_dir": "elsewhere", "data__num_workers": 2, "data__toy_faces_test": 20},
        {"train__log_every": 1, "train__checkpoint_every": 1, "train__accumulate": 2},
        {"train__epochs": 3},  # `train.steps` is given
        {"calibrate__num_images": 5, "calibrate__max_memory_mb": 64},  # the scale is not measured
    ],
)
def test_other_fields_may_change(fields):
    continuation.check(record(), record(**fields), PATH)


def test_a_measured_scale_depends_on_its_measurement():
    before = record(calibrate__scale="table")
    with pytest.raises(ValueError, match=r"calibrate\.num_images was 4 and is 5"):
        continuation.check(before, record(calibrate__scale="table", calibrate__num_images=5), PATH)
    continuation.check(before, record(calibrate__scale="table", calibrate__c=0.7), PATH)


def test_edm_needs_no_calibration():
    before, now = (
        record(diffusion__schedule="edm", calibrate__scale=scale) for scale in ("best", "table")
    )
    continuation.check(before, now, PATH)


def test_pictures_may_move_and_may_not_change():
    before = record("a", data__dir="here")
    continuation.check(before, record("a", data__dir="there"), PATH)
    with pytest.raises(ValueError, match=r"data_fingerprint was 'a' and is 'b'"):
        continuation.check(before, record("b", data__dir="here"), PATH)


def test_fields_that_one_side_does_not_know_are_not_compared():
    before, now = record(), record()
    before["train"]["from_the_past"] = now["train"]["from_the_future"] = 1
    del before[continuation.DATA]
    continuation.check(before, now, PATH)


def test_free_fields_exist():
    known = continuation._flatten(record())
    later = {"data.max_bad_fraction"}  # of the data set's own report
    assert set(continuation.FREE) - later <= set(known)
    assert {*continuation._NETWORK, *continuation._GUIDED, *continuation._SCALES} <= set(known)


def test_a_run_is_continued_with_changes_only_if_that_is_asked_for(
    finished_run, prepared_dir, monkeypatch, tmp_path
):
    workdir = tmp_path / "run"
    shutil.copytree(finished_run.workdir, workdir)
    changed = {"train__steps": 32, "train__learning_rate": 5e-4}
    with pytest.raises(ValueError, match=r"pretrain/24 was trained with .*learning_rate was 0.001"):
        train.train(tiny_run.make_config(prepared_dir, **changed), workdir)
    config = tiny_run.make_config(prepared_dir, **changed, train__accept_changes=True)
    reached = []

    def stop(*arguments, **settings):
        reached.append(settings["samples"])
        return arguments[1]

    monkeypatch.setattr(training_run.loop, "train", stop)
    train.train(config, workdir)
    assert reached == [24 * 8]


@pytest.mark.parametrize(
    ("field", "value"), [("model__num_groups", 2), ("model__num_heads", 1), ("calibrate__c", 0.5)]
)
def test_scoring_another_network_of_equal_shapes_is_refused(
    finished_run, prepared_dir, field, value
):
    config = tiny_run.make_config(prepared_dir, **{field: value, "eval__folder": "eval_refused"})
    with pytest.raises(ValueError, match=rf"{field.replace('__', '.')} was .* and is {value}"):
        evaluate.evaluate(config, finished_run.workdir)


def test_guidance_needs_the_dropout_that_the_network_was_trained_with():
    claimed = record(train__drop_reference=0.1)
    guided = record(train__drop_reference=0.1, eval__guidance__reference=2.0)
    continuation.check_network(record(), claimed, PATH)  # not guided: no matter
    continuation.check_network(claimed, guided, PATH)
    trained_without = record()
    for _ in range(2):
        with pytest.raises(ValueError, match=r"train\.drop_reference was 0\.0 and is 0\.1"):
            continuation.check_network(trained_without, guided, PATH)
        trained_without["train"].pop("drop_reference", None)  # a run of before there was dropout


@pytest.mark.parametrize("field", ["seed", "train__validation_images"])
def test_pictures_held_out_of_a_refinement_alone_are_told(field):
    caution = continuation.hold_out_caution(record(), record(**{field: 3}))
    assert caution.startswith(f"caution: {field.replace('__', '.')} was ")
    assert "is 3: it saw pictures that are held out now" in caution
    assert not continuation.hold_out_caution(record(), record(refine__learning_rate=1e-3))
    assert not continuation.hold_out_caution({continuation.IMPORTED: "a"}, record(**{field: 3}))
