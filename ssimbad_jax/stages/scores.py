"""Which scores results get, and how each is computed.

A picture's own scores compare it with its target, or with the reference it was to be coloured
like; distances between sets compare all results with all targets.
"""

import functools
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import numpy as np

from ssimbad_jax.metrics import bootstrap, colour, frechet, kernel_distance, ms_ssim, psnr, ssim
from ssimbad_jax.models import inception, perceptual
from ssimbad_jax.training import sharding

# (result, target, reference), each float [B, H, W, 3] in [0, 1] -> [B].
PictureScore = Callable[[jax.Array, jax.Array, jax.Array], jax.Array]
# Float [B, H, W, 3] in [0, 1] -> [B, D].
Features = Callable[[jax.Array], jax.Array]


class Metric(NamedTuple):
    """What tables say about a metric.

    Attributes:
        label: its name.
        unit: of its values; empty for pure numbers.
        higher_is_better: which way is good.
        decimals: to be shown.
        note: what a reader has to know.
    """

    label: str
    unit: str
    higher_is_better: bool
    decimals: int
    note: str


_NOT_FID = "On 256 VGG16 features (relu3_3, averaged): not comparable with FID"

METRICS = {
    "psnr": Metric("PSNR", "dB", True, 2, "Without a value where a result equals its target."),
    "psnr_mean_aligned": Metric(
        "PSNR, mean colour aligned",
        "dB",
        True,
        2,
        "After the result's mean colour was moved to its target's: without a tint of the whole "
        "picture.",
    ),
    "ssim": Metric("SSIM", "", True, 3, "Gaussian window, sigma 1.5."),
    "ms_ssim": Metric("MS-SSIM", "", True, 3, "As many scales as the pictures' size allows, to 5."),
    "lpips_alex": Metric(
        "LPIPS alex", "", False, 3, "Pictures below 64 px are resized to 64 px first."
    ),
    "lpips_vgg": Metric(
        "LPIPS vgg", "", False, 3, "Pictures below 64 px are resized to 64 px first."
    ),
    "colour_distance": Metric(
        "colour distance", "CIEDE2000", False, 2, "Mean over pixels, to the target."
    ),
    "palette_to_reference": Metric(
        "palette to reference",
        "CIELAB",
        False,
        2,
        "Sliced Wasserstein distance of the colours, wherever they lie, to the reference given: "
        "whether the result obeys it.",
    ),
    "frechet_vgg16": Metric("Frechet VGG16", "", False, 2, _NOT_FID + "."),
    "kernel_vgg16": Metric("kernel VGG16", "", False, 3, _NOT_FID + " or KID."),
    "fid": Metric(
        "FID",
        "",
        False,
        1,
        "Frechet distance on the 2048 features of the Inception network of 2015. It falls with the "
        "number of pictures, so only scores of as many pictures compare.",
    ),
}

_PICTURE_SCORES: dict[str, PictureScore] = {
    "psnr": lambda result, target, reference: psnr.psnr(result, target),
    "psnr_mean_aligned": lambda result, target, reference: psnr.psnr_mean_aligned(result, target),
    "ssim": lambda result, target, reference: ssim.ssim_gaussian(result, target),
    "ms_ssim": lambda result, target, reference: ms_ssim.ms_ssim(result, target),
    "lpips_alex": lambda result, target, reference: perceptual.lpips("alex")(result, target),
    "lpips_vgg": lambda result, target, reference: perceptual.lpips("vgg")(result, target),
    "colour_distance": lambda result, target, reference: colour.colour_distance(result, target),
    "palette_to_reference": lambda result, target, reference: colour.palette_distance(
        result, reference
    ),
}

# Features and the distance between two sets of them.
_SET_SCORES: dict[str, tuple[str, bootstrap.Statistic]] = {
    "frechet_vgg16": ("vgg16", frechet.frechet_distance),
    "kernel_vgg16": ("vgg16", kernel_distance.kernel_distance),
    "fid": ("inception", frechet.frechet_distance),
}

INCEPTION_WEIGHTS_MISSING = (
    "FID needs the Inception weights of 2015: download weights-inception-2015-12-05-6726825d.pth "
    "(releases of torch-fidelity) or pt_inception-2015-12-05-6726825d.pth (releases of "
    "pytorch-fid) and pass --config.eval.inception_weights=FILE"
)


class Scores(NamedTuple):
    """All scores of the results of one method in one setting.

    Attributes:
        of_pictures: [seeds, N] for each metric of single pictures.
        of_sets: [seeds] for each distance between sets.
        intervals: 95% bootstrap interval of the mean over seeds, for each distance between sets.
    """

    of_pictures: dict[str, np.ndarray]
    of_sets: dict[str, np.ndarray]
    intervals: dict[str, tuple[float, float]]


class Scorer:
    """Scores results against one set of targets."""

    def __init__(
        self,
        metrics: Sequence[str],
        targets: np.ndarray,
        *,
        mesh: jax.sharding.Mesh,
        batch_size: int,
        seed: int,
        inception_variables: Any | None = None,
    ) -> None:
        """Chooses what can be computed.

        Args:
            metrics: names out of `METRICS`. Without `inception_variables` "fid" is left out, and
                so are distances between sets where there is only one target.
            targets: uint8 [N, H, W, 3].
            mesh: the devices, over which batches are split.
            batch_size: pictures scored at once, a multiple of the number of devices.
            seed: of the bootstrap's draws.
            inception_variables: what `inception.load` returns.
        """
        self._targets, self._seed = targets, seed
        self._mesh, self._batch_size = mesh, batch_size
        self._picture_scores = {
            name: jax.jit(_PICTURE_SCORES[name]) for name in metrics if name in _PICTURE_SCORES
        }
        features: dict[str, Features] = {"vgg16": jax.jit(perceptual.vgg16_features)}
        if inception_variables is not None:
            look = jax.jit(inception.Inception().apply)
            variables = jax.device_put(inception_variables, sharding.replicated(mesh))
            features["inception"] = lambda x: look(variables, x)[inception.NUM_FEATURES]
        self._set_scores = {
            name: _SET_SCORES[name]
            for name in metrics
            if name in _SET_SCORES and _SET_SCORES[name][0] in features and len(targets) > 1
        }
        used = {network for network, _ in self._set_scores.values()}
        self._features = {name: function for name, function in features.items() if name in used}
        self._target_features = self._features_of(targets)

    def score(self, results: Sequence[np.ndarray], reference: np.ndarray) -> Scores:
        """Returns all scores.

        Args:
            results: uint8 [N, H, W, 3] for each seed.
            reference: uint8 [N, H, W, 3], what the results were to be coloured like.
        """
        of_pictures = {
            name: np.stack(
                [self._in_batches(function, (x, self._targets, reference)) for x in results]
            )
            for name, function in self._picture_scores.items()
        }
        features = [self._features_of(x) for x in results]
        of_sets, intervals = {}, {}
        for name, (network, distance) in self._set_scores.items():
            samples = [*(one[network] for one in features), self._target_features[network]]
            of_sets[name] = _to_the_last(distance, *samples)
            mean = functools.partial(_mean_to_the_last, distance)
            intervals[name] = bootstrap.interval(mean, samples, self._seed)
        return Scores(of_pictures, of_sets, intervals)

    def _features_of(self, pixels: np.ndarray) -> dict[str, np.ndarray]:
        return {
            name: self._in_batches(function, (pixels,)) for name, function in self._features.items()
        }

    def _in_batches(
        self, function: Callable[..., jax.Array], inputs: Sequence[np.ndarray]
    ) -> np.ndarray:
        """Calls a function of [0, 1] pictures batch by batch, to bound the memory."""
        count, parts = len(inputs[0]), []
        for start in range(0, count, self._batch_size):
            # Batches of one length: behind the end the last picture is repeated.
            chosen = np.minimum(np.arange(start, start + self._batch_size), count - 1)
            batch = [pixels[chosen] / np.float32(255) for pixels in inputs]
            on_devices = jax.device_put(batch, sharding.over_batch(self._mesh))
            parts.append(sharding.fetch(function(*on_devices)))
        return np.concatenate(parts)[:count]


def _to_the_last(distance: bootstrap.Statistic, *samples: np.ndarray) -> np.ndarray:
    """Returns the distance of each sample to the last of them."""
    return np.array([distance(sample, samples[-1]) for sample in samples[:-1]])


def _mean_to_the_last(distance: bootstrap.Statistic, *samples: np.ndarray) -> float:
    return float(_to_the_last(distance, *samples).mean())


def descriptions(
    metrics: Sequence[str], image_size: int, has_inception: bool
) -> dict[str, dict[str, Any]]:
    """Returns what tables and the report say about each metric, in plain JSON types."""
    described = {name: METRICS[name]._asdict() for name in metrics}
    if "ms_ssim" in described:
        scales = ms_ssim.num_scales(image_size, image_size)
        described["ms_ssim"]["label"] += f" ({scales} scale{'s' if scales > 1 else ''})"
    if "fid" in described and not has_inception:
        described["fid"]["note"] += " " + INCEPTION_WEIGHTS_MISSING + "."
    return described


def notes(metrics: Sequence[str], count: int, num_seeds: int, has_inception: bool) -> list[str]:
    """Returns what has to be said below the tables."""
    lines = ["± is the standard error of the mean over pictures."]
    of_sets = [name for name in metrics if name in _SET_SCORES]
    if num_seeds > 1:
        lines.append(
            f"Means over {num_seeds} seeds of the sampling noise; the spread is the standard "
            "deviation over seeds of the mean over pictures."
        )
    if of_sets and count > 1:
        lines.append(
            "Intervals are bootstrapped over pictures. Frechet distances fall with the number of "
            f"pictures and compare only among scores of {count}."
        )
    elif of_sets:
        lines.append("Distances between sets need two pictures or more.")
    if any(name.endswith("_vgg16") for name in of_sets):
        lines.append("Distances on VGG16 features are not comparable with FID or KID.")
    if "fid" in metrics and not has_inception:
        lines.append(INCEPTION_WEIGHTS_MISSING + ".")
    return lines
