"""Messages about failing disks, and what is printed besides."""

import gc
import logging
import sys

import pytest

from ssimbad_jax.training import storage_noise


@pytest.mark.parametrize(
    ("message", "reason"),
    [
        (
            'RESOURCE_EXHAUSTED: Error writing "w/0" in OCDBT database at local file "d/": Failed '
            "to write 617 bytes to file 7: No space left on device [os_error_code='28']",
            "No space left on device",
        ),
        ("[Errno 30] Read-only file system: 'a'", "Read-only file system"),
        ("bad array: <bound method of TensorStore({...})>\nmore", "ValueError: bad array"),
        ("x" * 1000, f"ValueError: {'x' * 160}"),
        ("", "ValueError: "),
    ],
)
def test_the_reason_fits_a_line(message, reason):
    assert storage_noise.in_short(ValueError(message)) == reason


def test_tracebacks_are_silenced_only_inside(capfd, caplog):
    class Noisy:
        def __del__(self):
            raise RuntimeError("loud")

    hook = sys.unraisablehook
    with storage_noise.silenced():
        cycle = [Noisy()]
        cycle.append(cycle)
        del cycle
        logging.getLogger("asyncio").error("louder")
        storage_noise.collect_unfinished_reads()
    gc.collect()
    assert sys.unraisablehook is hook
    assert "loud" not in capfd.readouterr().err + caplog.text
    logging.getLogger("asyncio").error("heard")
    assert "heard" in caplog.text
