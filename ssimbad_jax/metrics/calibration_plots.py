"""Pictures of a calibration: how SSIM falls along noise axes, and how these axes look."""

import pathlib
from collections.abc import Mapping

import numpy as np
from matplotlib import figure

from ssimbad_jax.diffusion import noise_axis, scale_selection

_COLOURS = ("#b5473c", "#3b6fb6", "#2f8f5b")


def plot_ssim(
    path: pathlib.Path,
    axes: tuple[noise_axis.NoiseAxis, ...],
    curves: scale_selection.SsimCurves,
    r2_of_scales: Mapping[str, float],
) -> None:
    """Writes SSIM against u along each axis, and R^2 of all scales beside it.

    Args:
        path: the PNG.
        axes: at most three.
        curves: SSIM [..., S] of all images.
        r2_of_scales: mean R^2 of each scale, by name, in the order to show.
    """
    picture = figure.Figure(figsize=(12.5, 5.6), layout="constrained")
    left, right = picture.subplots(1, 2, width_ratios=(1.5, 1.0))

    u = np.linspace(0.0, 1.0, 200)
    for axis, colour in zip(axes, _COLOURS, strict=False):
        values = curves.at(axis.levels(len(u))).reshape(-1, len(u))
        mean, spread = values.mean(axis=0), values.std(axis=0)
        label = f"{axis.name}   $R^2$ = {noise_axis.axis_r2(axis, curves):.3f}"
        left.plot(u, mean, color=colour, linewidth=2, label=label)
        left.fill_between(u, mean - spread, mean + spread, color=colour, alpha=0.12, linewidth=0)
        slope, offset = np.polyfit(u, mean, 1)
        left.plot(u, offset + slope * u, color=colour, linewidth=1, linestyle=(0, (4, 3)))
    left.set(
        xlabel="u, normalised", ylabel="SSIM to the clean picture", xlim=(0, 1), ylim=(-0.1, 1.05)
    )
    left.set_title("Similarity along the noise axis (dashed: straight-line fit)", fontsize=11)
    left.legend(frameon=False, loc="upper right")
    left.grid(alpha=0.25)

    names, r2 = list(r2_of_scales)[::-1], list(r2_of_scales.values())[::-1]
    right.barh(names, r2, color="#8a94a6", height=0.7)
    for row, value in enumerate(r2):
        right.text(value + 0.01, row, f"{value:.3f}", va="center", fontsize=8)
    right.set(xlabel="mean $R^2$ of a straight line", xlim=(0, 1.12))
    right.set_title("All scales (best and table are fitted to these pictures)", fontsize=11)
    right.tick_params(axis="y", labelsize=8)
    right.margins(y=0.01)
    for side in ("top", "right"):
        left.spines[side].set_visible(False)
        right.spines[side].set_visible(False)
    picture.savefig(path, dpi=130)


def plot_noise_levels(
    path: pathlib.Path,
    axes: tuple[noise_axis.NoiseAxis, ...],
    image: np.ndarray,
    curve: scale_selection.SsimCurves,
    seed: int,
    columns: int = 9,
) -> None:
    """Writes one image under noise levels evenly spaced along each axis, a row an axis.

    Args:
        path: the PNG.
        axes: the rows.
        image: uint8 [H, W, 3].
        curve: SSIM [S] of this image, written beside each noise level.
        seed: of the noise, which all cells share.
        columns: noise levels.
    """
    x0 = image.astype(np.float64) / 127.5 - 1.0
    noise = np.random.default_rng(seed).standard_normal(x0.shape)
    # Inches; fixed margins, since a layout engine takes long over so many cells.
    cell_size, gap, left, top = 1.3, 0.3, 0.55, 0.3
    width, height = left + columns * (cell_size + 0.06), top + len(axes) * (cell_size + gap)
    picture = figure.Figure(figsize=(width, height))
    cells = picture.subplots(len(axes), columns, squeeze=False)
    picture.subplots_adjust(
        left=left / width,
        right=1 - 0.06 / width,
        bottom=gap / height,
        top=1 - top / height,
        wspace=0.06 / cell_size,
        hspace=gap / cell_size,
    )
    evenly = np.linspace(0.0, 1.0, columns)
    for row, axis in zip(cells, axes, strict=True):
        sigmas = axis.levels(columns)
        for cell, u, sigma, ssim in zip(row, evenly, sigmas, curve.at(sigmas), strict=True):
            cell.imshow(np.clip(x0 + sigma * noise, -1.0, 1.0) / 2 + 0.5, interpolation="nearest")
            cell.set(xticks=[], yticks=[], frame_on=False)
            cell.set_xlabel(f"σ {sigma:.2g}   SSIM {ssim:.2f}", fontsize=8, labelpad=2)
            if axis is axes[0]:
                cell.set_title(f"u = {u:.3g}", fontsize=9)
        row[0].set_ylabel(axis.name.replace(", ", "\n"), fontsize=10)
    picture.savefig(path, dpi=130)
