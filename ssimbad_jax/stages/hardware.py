"""Accelerators that a plan can be made for, as their makers describe them."""

import dataclasses
import re

CPU = "cpu"  # this machine, which is measured instead


@dataclasses.dataclass(frozen=True)
class Chip:
    """One device.

    Attributes:
        flops: peak floating-point operations a second, by compute dtype. float32 is what JAX does
            with it by default: bfloat16 passes on a TPU, TF32 on a GPU.
        memory: bytes.
        bandwidth: bytes a second to and from its memory.
        link: bytes a second to other devices, in one direction.
    """

    flops: dict[str, float]
    memory: float
    bandwidth: float
    link: float


def _tpu(flops: float, memory: float, bandwidth: float, link: float) -> Chip:
    return Chip({"bfloat16": flops, "float32": flops}, memory, bandwidth, link)


def _gpu(flops: float, memory: float, bandwidth: float, link: float) -> Chip:
    return Chip({"bfloat16": flops, "float32": flops / 2}, memory, bandwidth, link)


# Dense rates of the data sheets of Google Cloud TPU and NVIDIA (SXM modules).
CHIPS = {
    "v4": _tpu(275e12, 32e9, 1.2e12, 45e9),
    "v5e": _tpu(197e12, 16e9, 0.82e12, 45e9),
    "v5p": _tpu(459e12, 95e9, 2.77e12, 90e9),
    "v6e": _tpu(918e12, 32e9, 1.64e12, 90e9),
    "a100": _gpu(312e12, 80e9, 2.04e12, 300e9),
    "h100": _gpu(989e12, 80e9, 3.35e12, 450e9),
    "h200": _gpu(989e12, 141e9, 4.8e12, 450e9),
}


def parse(device: str) -> tuple[Chip, int]:
    """Returns the chip and how many of "v5e-8" or "h100x8".

    Raises:
        ValueError: there is no such chip, or no such number of it.
    """
    match = re.fullmatch(r"([a-z]+\d+[a-z]*?|v\d+[ep]?)(?:[x-](\d+))?", device.lower())
    name, count = (match[1], int(match[2] or 1)) if match else ("", 0)
    if name not in CHIPS or count < 1:
        raise ValueError(
            f"--device is {device!r}; choose cpu or one of {', '.join(CHIPS)} with a number of "
            "them, such as v5e-8 or h100x8"
        )
    return CHIPS[name], count
