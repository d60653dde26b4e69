"""The rows of the table: which config, what differs from it, and how it is scored."""

import dataclasses
from collections.abc import Mapping
from typing import Any, NamedTuple

Fields = Mapping[str, Any]

# How results are sampled, by name; "own": as the config, or the refinement, says.
SCORINGS: dict[str, Fields] = {
    "own": {},
    "ddim10": {"eval.sampler": "ddim", "eval.sampler_steps": 10, "eval.grid_steps": 0},
    "heun50": {"eval.sampler": "heun", "eval.sampler_steps": 50, "eval.grid_steps": 0},
    **{
        f"euler{steps}": {
            "eval.sampler": "euler",
            "eval.sampler_steps": steps,
            "eval.grid_steps": 50,
        }
        for steps in (10, 50, 5)
    },
    # Averages several answers to pure noise, too: what more calls give without refinement.
    "euler3": {
        "eval.sampler": "euler",
        "eval.sampler_steps": 3,
        "eval.grid_steps": 50,
        "eval.posterior_draws": 8,
    },
}
_BY_CALLS = ("heun50", "euler10", "euler50", "euler5", "euler3")


@dataclasses.dataclass(frozen=True)
class Row:
    """A row of the table.

    Attributes:
        name: on the command line and in folders' names.
        label: in tables.
        config: name of the config.
        scorings: out of `SCORINGS`; the pictures shown are those of the first.
        fields: what differs from the config.
        start: name of the row whose pretraining it refines; empty: it is trained from the start.
        seeds: how many runs there are by default.
        has_posterior_mean: whether its answer to pure noise is a result of its own.
    """

    name: str
    label: str
    config: str = "edm_ssimbad"
    scorings: tuple[str, ...] = ("own",)
    fields: Fields = dataclasses.field(default_factory=dict)
    start: str = ""
    seeds: int = 1
    has_posterior_mean: bool = False


def _refined(steps: int, seeds: int = 1) -> Row:
    return Row(
        f"refined_{steps}",
        f"SSIMBaD refined, K = {steps}",
        fields={"refine.sampler_steps": steps},
        start="ssimbad",
        seeds=seeds,
    )


def _other_scale(name: str, label: str) -> Row:
    return Row(
        f"{name}_scale",
        f"SSIMBaD, {label}",
        scorings=_BY_CALLS,
        fields={"calibrate.scale": name},
        has_posterior_mean=True,
    )


def _obedient(name: str, label: str, fields: Fields) -> Row:
    return Row(
        name,
        f"SSIMBaD, {label}",
        scorings=("heun50", "euler10", "euler3"),
        fields=fields,
        has_posterior_mean=True,
    )


# The most informative first: that is the order they are made in.
ROWS: dict[str, Row] = {
    row.name: row
    for row in (
        Row("ssimbad", "SSIMBaD", scorings=_BY_CALLS, seeds=2, has_posterior_mean=True),
        _refined(10, seeds=2),
        Row("edm", "EDM", "edm", scorings=_BY_CALLS, seeds=2, has_posterior_mean=True),
        Row("regression", "regression", "regression", seeds=2),
        _refined(1),
        _refined(4),
        Row(
            "anime_diffusion",
            "AnimeDiffusion, pretrained",
            "anime_diffusion",
            scorings=("own", "ddim10"),
        ),
        Row(
            "anime_diffusion_refined",
            "AnimeDiffusion, fine-tuned",
            "anime_diffusion",
            start="anime_diffusion",
        ),
        Row("scft", "SCFT", "scft"),
        _other_scale("table", "table scale"),
        _other_scale("best", "best c"),
        # What a picture's tint can come through where GroupNorm takes the mean of each channel.
        Row(
            "refined_4_clipped",
            "SSIMBaD refined, K = 4, estimates clipped",
            fields={
                "refine.sampler": "ddim",
                "refine.sampler_steps": 4,
                "refine.clip_denoised": True,
            },
            start="ssimbad",
            seeds=2,
        ),
        # A GroupNorm that keeps colours, and colours that only the reference tells.
        _obedient("groups8", "8 groups", {"model.num_groups": 8}),
        _obedient(
            "groups8_jitter",
            "8 groups, colour jitter",
            {"model.num_groups": 8, "data.colour_jitter": 0.2},
        ),
        # What each half of the method is worth on top of the best of the other.
        Row(
            "table_scale_refined",
            "SSIMBaD, table scale, refined, K = 4",
            fields={"calibrate.scale": "table", "refine.sampler_steps": 4},
            start="table_scale",
        ),
        Row(
            "groups8_refined",
            "SSIMBaD, 8 groups, refined, K = 4",
            fields={"model.num_groups": 8, "refine.sampler_steps": 4},
            start="groups8",
        ),
        _refined(50),
    )
}


class Scale(NamedTuple):
    """A size at which all rows can be made.

    Attributes:
        config: config file of a config's name.
        of_rows: what single rows have otherwise, by their name.
    """

    config: str
    of_rows: Mapping[str, Fields] = {}


SCALES = {
    "paper": Scale("configs/{}.py"),
    "s32": Scale(
        "configs/benchmark_s32.py:{}",
        # As a step of K = 50 takes as long as five of K = 10.
        {"refined_50": {"refine.steps": 120, "refine.checkpoint_every": 20}},
    ),
}

# What results are scored with: without what takes long and says little more.
METRICS = (
    "psnr",
    "ssim",
    "ms_ssim",
    "lpips_alex",
    "colour_distance",
    "palette_to_reference",
    "frechet_vgg16",
    "fid",
)

# What the paper says of its rows: (same, cross), at 256 px after 300 epochs, 579 pictures.
PUBLISHED = {
    ("scft", "own"): {"psnr": (17.17, 15.47), "ms_ssim": (0.7833, 0.7627), "fid": (43.98, 45.18)},
    ("anime_diffusion", "own"): {
        "psnr": (11.39, 11.39),
        "ms_ssim": (0.6748, 0.6721),
        "fid": (46.96, 46.72),
    },
    ("anime_diffusion_refined", "own"): {
        "psnr": (13.32, 12.52),
        "ms_ssim": (0.7001, 0.5683),
        "fid": (135.12, 139.13),
    },
    ("ssimbad", "heun50"): {
        "psnr": (15.15, 13.04),
        "ms_ssim": (0.7115, 0.6736),
        "fid": (53.33, 55.18),
    },
    ("refined_50", "own"): {
        "psnr": (18.92, 15.84),
        "ms_ssim": (0.8512, 0.8207),
        "fid": (34.98, 37.10),
    },
}
