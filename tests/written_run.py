"""Workdirs written by hand, for the tests of the report: every number is known."""

import json
import pathlib

import numpy as np
import PIL.Image

from ssimbad_jax.configs import benchmark_s32

SETTINGS = ("same", "cross")


def write(workdir: pathlib.Path, *, seed: int = 0, steps: int = 1500, **fields) -> pathlib.Path:
    """Writes all but checkpoints; `train__batch_size=8` sets that field of the config."""
    generator = np.random.default_rng(seed)
    config = benchmark_s32.get_config()
    config.update_from_flattened_dict({name.replace("__", "."): v for name, v in fields.items()})
    workdir.mkdir(parents=True)
    (workdir / "config.json").write_text(config.to_json())
    write_calibration(workdir)
    write_log(workdir, generator, steps)
    write_scores(workdir / "eval", scores(generator))
    write_pictures(workdir / "eval", generator)
    record = {
        "stages": {
            "train": {"seconds": 754.2, "starts": 3, "finished": "2026-01-02T03:04:05+00:00"},
            "report": {"seconds": 1.5, "starts": 1, "finished": None},
        },
        "versions": {"ssimbad_jax": "0.1.0", "jax": "0.10.2"},
        "devices": {"platform": "gpu", "kind": "H100", "count": 4, "hosts": 1},
        "config": "benchmark_s32",
    }
    (workdir / "run.json").write_text(json.dumps(record))
    return workdir


def write_calibration(workdir: pathlib.Path) -> None:
    """SSIM falls in a straight line along sigma / (sigma + 0.3)."""
    sigma = np.geomspace(0.002, 80.0, 24)
    chosen = {"kind": "rational", "c": 0.3, "name": "σ / (σ + 0.3)", "r2": 0.9712}
    record = {
        "request": {
            "num_images": 20,
            "num_draws": 2,
            "num_sigmas": 24,
            "sigma_min": 0.002,
            "sigma_max": 80.0,
        },
        "chosen": chosen,
        "best": chosen | {"c": 0.4, "name": "σ / (σ + 0.4)", "r2": 0.9834},
        "table": {"kind": "table", "name": "table", "r2": 0.9956},
        "candidates": [chosen, {"name": "log(σ)", "r2": 0.8123, "r2_of_mean_curve": 0.8345}],
        "sigma": sigma.tolist(),
        "mean_ssim": (1 - sigma / (sigma + 0.3)).tolist(),
    }
    (workdir / "calibration.json").write_text(json.dumps(record), encoding="utf-8")


def write_log(workdir: pathlib.Path, generator: np.random.Generator, steps: int) -> None:
    """Writes a row every 50 steps, with a validation loss every 250."""
    with (workdir / "metrics.jsonl").open("w") as file:
        for step in range(50, steps + 1, 50):
            names = ("loss", "gradient_norm", "loss_sigma_0_to_0.05", "loss_sigma_5_to_inf")
            row = {"step": step} | {name: float(generator.random() + 0.1) for name in names}
            row |= {"learning_rate": 1e-4, "images_per_second": 20.0}
            file.write(json.dumps(row) + "\n")
            if step % 250 == 0:
                file.write(json.dumps({"step": step, "validation_loss": 10.0 / step}) + "\n")


def scores(generator: np.random.Generator) -> dict:
    """Scores that say themselves what their metrics are."""
    metrics = {
        "psnr": {"label": "PSNR", "unit": "dB", "higher_is_better": True, "note": ""},
        "lpips": {"label": "LPIPS", "unit": "", "higher_is_better": False, "note": "AlexNet's."},
    }
    rows = []
    for method, calls in (("heun-50", 99), ("euler-10", 10), ("copy the reference", 0)):
        row = {"method": method, "network_calls": calls, "seconds_per_image": calls / 200}
        for setting in SETTINGS:
            row[f"psnr_{setting}"] = float(10 + 8 * generator.random())
            row[f"psnr_{setting}_standard_error"] = 0.12
            row[f"lpips_{setting}"] = float(generator.random())
            row[f"lpips_{setting}_interval"] = [0.1, 0.7]
        rows.append(row)
    return {
        "checkpoint_step": 1500,
        "pairs": "somewhere/pairs32.npz",
        "num_images": 200,
        "image_size": 32,
        "settings": list(SETTINGS),
        "metrics": metrics,
        "rows": rows,
        "notes": ["Two seeds were scored."],
    }


def write_scores(folder: pathlib.Path, summary: dict) -> None:
    """Writes a metrics.json."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "metrics.json").write_text(json.dumps(summary))


def write_pictures(folder: pathlib.Path, generator: np.random.Generator) -> None:
    """Writes three results for each setting, a grid and a denoising strip."""
    names = [f"{setting}/{number:05d}.png" for setting in SETTINGS for number in range(3)]
    for name in (*names, "grid.png", "denoising.png"):
        path = folder / name
        path.parent.mkdir(exist_ok=True)
        PIL.Image.fromarray(generator.integers(0, 255, (16, 16, 3), np.uint8)).save(path)
