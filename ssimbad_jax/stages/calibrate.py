"""Calibration: how SSIM falls with the noise level, and the sigma scale that follows from it.

training pictures -> calibration.json, calibration.png, noise_levels.png
"""

import hashlib
import json
import pathlib
import time
from typing import Any

import jax
import ml_collections
import numpy as np

from ssimbad_jax import streams
from ssimbad_jax.diffusion import noise_axis, scale_selection, sigma_scale
from ssimbad_jax.metrics import calibration_plots, noise_ssim
from ssimbad_jax.training import progress, sharding, whole_file

RESULT, SSIM_PICTURE, NOISE_PICTURE = "calibration.json", "calibration.png", "noise_levels.png"
SSIM_DEFINITION = (
    "x = clip(x0 + sigma n, -1, 1); x0 and x mapped to [0, 1]; 7x7 uniform window, "
    "sample covariance, K1 = 0.01, K2 = 0.03, mean over channels and windows inside the image"
)
R2_DEFINITION = (
    f"straight line through {scale_selection.OFFICIAL_POINTS} points even in u, per picture and "
    "draw, then averaged"
)

# Stream of the run's key, apart from those of training and of evaluation.


def calibrate(
    config: ml_collections.ConfigDict,
    workdir: pathlib.Path,
    images: np.ndarray,
    fingerprint: str,
    is_trained_with: bool = False,
) -> sigma_scale.SigmaScale:
    """Measures SSIM under noise and writes the chosen sigma scale, unless that was done before.

    Args:
        config: reads `calibrate`, `data.dir`, `diffusion.sigma_min`, `diffusion.sigma_max` and
            `seed`.
        workdir: where the results go.
        images: uint8 [N, H, W, 3] training pictures at the model's size, of which the first
            `calibrate.num_images` are measured.
        fingerprint: identifies the data set; a calibration of other data is not reused.
        is_trained_with: whether a network of the workdir was trained with the earlier calibration,
            which another one may not replace then.

    Returns:
        The chosen scale.

    Raises:
        ValueError: the pictures or the config cannot be used, or the calibration would change
            under a trained network; nothing was written.
    """
    images = images[: config.calibrate.num_images]
    request = _request(config, images, fingerprint)
    change = _change(workdir, request, bool(config.data.dir)) if is_trained_with else ""
    if sharding.on_any_host(bool(change)):
        raise ValueError(
            f"{workdir / RESULT} is the calibration that this run was trained with, and {change}. "
            "Use the old value, or another --workdir for a new run; "
            "--config.train.accept_changes=True measures anew and goes on"
        )
    reason = _on_first_host(_reason_to_measure(workdir, request))
    if not reason:
        record = _read(workdir / RESULT)
        progress.say("Calibration: kept the earlier one, made with the same settings and data.")
    else:
        progress.say(f"Calibration: measuring, because {reason}.")
        record = _measure(config, images, request, workdir)
        sharding.wait_for_all("calibration")  # of which the other hosts read the scale
    chosen = record["chosen"]
    progress.say(
        f"Calibration: scale {chosen['name']}, mean R^2 {chosen['r2']:.4f}. "
        f"Results: {workdir / RESULT}, {SSIM_PICTURE}, {NOISE_PICTURE}"
    )
    return _scale_from_record(chosen)


def scale_from_json(path: pathlib.Path, which: str = "chosen") -> sigma_scale.SigmaScale:
    """Returns a scale of a calibration.

    Args:
        path: a `calibration.json`.
        which: "chosen" for the run, "best" (the c that fits best) or "table".

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: the file is not a calibration.
    """
    return _scale_from_record(_made(path, which)[which])


def chosen_scale(
    config: ml_collections.ConfigDict, workdir: pathlib.Path
) -> sigma_scale.SigmaScale:
    """Returns the scale that the run's calibration chose.

    Args:
        config: `calibrate.scale`, `diffusion.sigma_min` and `diffusion.sigma_max` are read.
        workdir: of the run.

    Raises:
        FileNotFoundError: there is no calibration.
        ValueError: the file is not a calibration, or one of another kind of scale or range.
    """
    path = workdir / RESULT
    record = _made(path)
    asked = {
        "scale": config.calibrate.scale,
        "sigma_min": config.diffusion.sigma_min,
        "sigma_max": config.diffusion.sigma_max,
    }
    before = {name: value for name, value in record["request"].items() if name in asked}
    if difference := _difference(before, asked):
        raise ValueError(
            f"{path} does not fit the config: {difference}; run --stages=calibrate first, or set "
            "the field to what it was"
        )
    return _scale_from_record(record["chosen"])


def _request(
    config: ml_collections.ConfigDict, images: np.ndarray, fingerprint: str
) -> dict[str, Any]:
    """Returns all that determines the result, in plain JSON types."""
    calibration = config.calibrate
    if calibration.scale not in ("rational", "best", "table"):
        raise ValueError(
            f"calibrate.scale is {calibration.scale!r}; choose 'rational', 'best' or 'table'"
        )
    request = {
        "data": fingerprint,
        "pictures_sha256": hashlib.sha256(np.ascontiguousarray(images).tobytes()).hexdigest(),
        "num_images": len(images),
        "image_size": list(images.shape[1:3]),
        "num_sigmas": calibration.num_sigmas,
        "num_draws": calibration.num_draws,
        "seed": config.seed,
        "sigma_min": config.diffusion.sigma_min,
        "sigma_max": config.diffusion.sigma_max,
        "ssim": SSIM_DEFINITION,
        "r2": R2_DEFINITION,
        "scale": calibration.scale,
    }
    if calibration.scale == "rational":
        request["c"] = calibration.c
    return request


def _reason_to_measure(workdir: pathlib.Path, request: dict[str, Any]) -> str:
    """Returns why an earlier result cannot be reused, or nothing."""
    if not (workdir / RESULT).is_file():
        return "there is no earlier one"
    try:
        record = _read(workdir / RESULT)
    except ValueError as error:
        return str(error)
    if difference := _difference(record["request"], request):
        return difference
    for name in (SSIM_PICTURE, NOISE_PICTURE):
        if not (workdir / name).is_file():
            return f"{name} is missing"
    return ""


def _difference(before: dict[str, Any], request: dict[str, Any]) -> str:
    for name in request | before:
        if before.get(name) != request.get(name):
            return f"{name} was {before.get(name)!r} and is {request.get(name)!r} now"
    return ""


def _change(workdir: pathlib.Path, request: dict[str, Any], has_own_pictures: bool) -> str:
    """Returns what a training that has begun would not find in its calibration again, or nothing.

    Args:
        workdir: of the run.
        request: of the calibration to come.
        has_own_pictures: whether the pictures are known by their content; the built-in faces are
            drawn from their number and seed, and their fingerprint knows those for tests, too.
    """
    try:
        before = _read(workdir / RESULT)["request"]
    except (FileNotFoundError, ValueError):
        return ""  # what is lost is measured again, with the same outcome
    if before.get("scale") == request["scale"] == "rational":
        # The scale is that of the config, however much is measured.
        names = {"c", "sigma_min", "sigma_max", "seed"} | ({"data"} if has_own_pictures else set())
        before, request = ({n: r[n] for n in r if n in names} for r in (before, request))
    return _difference(before, request)


def _on_first_host(reason: str) -> str:
    """Returns the first host's reason on every host, so that all do the same."""
    if jax.process_count() == 1:
        return reason
    from jax.experimental import multihost_utils

    measure = multihost_utils.broadcast_one_to_all(np.asarray(bool(reason)))
    return (reason or "the first host found no earlier one") if measure else ""


def _measure(
    config: ml_collections.ConfigDict,
    images: np.ndarray,
    request: dict[str, Any],
    workdir: pathlib.Path,
) -> dict[str, Any]:
    """Measures, chooses and writes everything; returns the content of `calibration.json`."""
    begin = time.monotonic()
    sigma = np.geomspace(request["sigma_min"], request["sigma_max"], request["num_sigmas"])
    with progress.Progress("Calibration", total=len(images), unit="picture") as shown:
        ssim = noise_ssim.noise_ssim(
            streams.fold_in(jax.random.key(config.seed), streams.Stream.CALIBRATE),
            images,
            sigma,
            num_draws=request["num_draws"],
            mesh=sharding.data_mesh(),
            max_memory_bytes=config.calibrate.max_memory_mb * 2**20,
            advance=shown.advance,
        )
    curves = scale_selection.SsimCurves(sigma, ssim)
    best = {"kind": "rational", "c": scale_selection.best_c(curves)}
    table_sigma, table_u = scale_selection.linear_table(curves)
    table = {"kind": "table", "sigma": table_sigma.tolist(), "u": table_u.tolist()}
    chosen = {"rational": {"kind": "rational", "c": request.get("c")}, "best": best, "table": table}
    rows = [_row(scale, curves) for scale in sigma_scale.CANDIDATES.values()]
    record = {
        "request": request,
        "chosen": _with_r2(chosen[request["scale"]], curves),
        "best": _with_r2(best, curves),
        "table": _with_r2(table, curves),
        "candidates": sorted(rows, key=lambda row: -row["r2"]),
        "sigma": sigma.tolist(),
        "mean_ssim": curves.mean().ssim.tolist(),
        "ssim_standard_error": _standard_error(ssim.mean(axis=0)),
        "jax": jax.__version__,
        "seconds": round(time.monotonic() - begin, 2),
    }
    if jax.process_index() == 0:
        _draw(record, curves, images[0], workdir)
        # Last, and at once: a calibration that was interrupted leaves none behind.
        with whole_file.replacing(workdir / RESULT) as unfinished:
            text = json.dumps(record, indent=1, ensure_ascii=False)
            unfinished.write_text(text, encoding="utf-8")
    return record


def _row(scale: sigma_scale.SigmaScale, curves: scale_selection.SsimCurves) -> dict[str, Any]:
    """Returns a scale's R^2, with standard errors over pictures and over noise draws."""
    r2 = scale_selection.scale_r2(scale, curves)
    return {
        "name": scale.name,
        "r2": float(r2.mean()),
        "r2_standard_error_over_pictures": _standard_error(r2.mean(axis=0)),
        "r2_standard_error_over_draws": _standard_error(r2.mean(axis=1)),
        "r2_of_mean_curve": float(scale_selection.scale_r2(scale, curves.mean())),
    }


def _with_r2(record: dict[str, Any], curves: scale_selection.SsimCurves) -> dict[str, Any]:
    return record | _row(_scale_from_record(record), curves)


def _standard_error(values: np.ndarray) -> Any:
    """Returns the standard error of the mean over the first axis; None for a single value."""
    if len(values) < 2:
        return None
    return (values.std(axis=0, ddof=1) / np.sqrt(len(values))).tolist()


def _draw(
    record: dict[str, Any],
    curves: scale_selection.SsimCurves,
    image: np.ndarray,
    workdir: pathlib.Path,
) -> None:
    """Writes the two pictures."""
    sigma_range = (record["request"]["sigma_min"], record["request"]["sigma_max"])
    axes = noise_axis.compared_axes(_scale_from_record(record["chosen"]), *sigma_range)
    shown = [
        {"name": "table", "r2": record["table"]["r2"]},
        {"name": f"best: {record['best']['name']}", "r2": record["best"]["r2"]},
        *record["candidates"],
    ]
    r2_of_scales = {row["name"]: row["r2"] for row in sorted(shown, key=lambda row: -row["r2"])}
    calibration_plots.plot_ssim(workdir / SSIM_PICTURE, axes, curves, r2_of_scales)
    curve_of_image = scale_selection.SsimCurves(curves.sigma, curves.ssim[:, 0]).mean()
    calibration_plots.plot_noise_levels(
        workdir / NOISE_PICTURE, axes, image, curve_of_image, record["request"]["seed"]
    )


def _made(path: pathlib.Path, which: str = "chosen") -> dict[str, Any]:
    """Returns a calibration's content, as `_read`, where there has to be one."""
    if not path.is_file():
        raise FileNotFoundError(f"there is no calibration at {path}; run --stages=calibrate first")
    return _read(path, which)


def _read(path: pathlib.Path, which: str = "chosen") -> dict[str, Any]:
    """Returns a calibration's content, in which one scale is known to be sound."""
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
        for name in ("request", which):
            if not isinstance(record, dict) or not isinstance(record.get(name), dict):
                raise ValueError(f"it has no object {name!r}")
        _scale_from_record(record[which])
    except ValueError as error:
        # JSON and Unicode errors are ValueErrors, too.
        raise ValueError(
            f"{path} is no calibration: {error}; delete it and run --stages=calibrate"
        ) from error
    return record


def _scale_from_record(record: dict[str, Any]) -> sigma_scale.SigmaScale:
    """Returns the scale that {"kind": "rational", "c"} or {"kind": "table", "sigma", "u"} names."""
    kind = record.get("kind")
    try:
        if kind == "rational":
            return sigma_scale.rational(record["c"])
        if kind == "table":
            return sigma_scale.tabulated(record["sigma"], record["u"])
    except (KeyError, TypeError) as error:
        raise ValueError(f"its {kind} scale lacks a number or has a wrong one: {error}") from error
    raise ValueError(f"its scale is of kind {kind!r}, and known are 'rational' and 'table'")
