"""What an installation puts on the PATH: `ssimbad-train` is `python -m ssimbad_jax.main`, ..."""

import functools
import runpy


def _run(module: str) -> None:
    # As the main module: --help lists the flags of that one alone.
    runpy.run_module(f"ssimbad_jax.{module}", run_name="__main__", alter_sys=True)


train = functools.partial(_run, "main")
colorize = functools.partial(_run, "colorize")
report = functools.partial(_run, "report")
plan = functools.partial(_run, "plan")
torch_import = functools.partial(_run, "torch_import")
torch_export = functools.partial(_run, "torch_export")
