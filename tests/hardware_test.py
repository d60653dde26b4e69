import pytest

from ssimbad_jax.stages import hardware


@pytest.mark.parametrize(
    ("text", "chip", "count"),
    [("v5e-8", "v5e", 8), ("h100x8", "h100", 8), ("V5P-128", "v5p", 128), ("a100", "a100", 1)],
)
def test_devices_are_named_as_clouds_name_them(text, chip, count):
    assert hardware.parse(text) == (hardware.CHIPS[chip], count)


@pytest.mark.parametrize("text", ["v5e-0", "v5", "gpu", "", "h100x", "h100y8", "8"])
def test_others_are_refused_with_the_choice(text):
    with pytest.raises(ValueError, match=r"--device is .* choose cpu or one of v4, v5e.*v5e-8"):
        hardware.parse(text)


def test_float32_takes_longer_than_bfloat16_only_on_gpus():
    for name, chip in hardware.CHIPS.items():
        ratio = chip.flops["bfloat16"] / chip.flops["float32"]
        assert ratio == (1 if name.startswith("v") else 2)
