"""The main job: calibrate, train, refine, evaluate, report.

    python -m ssimbad_jax.main --config=configs/edm_ssimbad.py --config.data.dir=PICTURES

Every field of the config can be overridden: `--config.train.batch_size=8`.
"""

import contextlib
import pathlib
from collections.abc import Sequence

import ml_collections
from absl import app, flags, logging
from ml_collections import config_flags

from ssimbad_jax import choices, config_flag, host_flags

_CONFIG = config_flag.define()
_WORKDIR = flags.DEFINE_string(
    "workdir", None, "Where everything is written, also gs://...; by default runs/<config name>."
)
_STAGES = flags.DEFINE_list(
    "stages",
    None,
    f"Which of {','.join(choices.STAGES)}; by default all, refine only if config.refine.enabled.",
)
_HOSTS = host_flags.define()


def main(argv: Sequence[str]) -> None:
    """Runs the stages."""
    # Here, not above: they import jax, which takes seconds that --help would wait for.
    from ssimbad_jax.stages import failures, run
    from ssimbad_jax.training import numerics, sharding

    if len(argv) > 1:
        raise app.UsageError(f"unexpected argument {argv[1]!r}; flags start with --")
    logging.set_verbosity(logging.FATAL)  # what libraries log as an error they raise, too
    config = _CONFIG.value
    if not host_flags.connect(_HOSTS):
        sharding.use_every_core_as_a_device(run.batch_sizes(config))
    numerics.settle()
    given = config_flags.get_override_values(flags.FLAGS["config"])
    config_name = config_flag.name_of(config_flags.get_config_filename(flags.FLAGS["config"]))
    place = _WORKDIR.value or f"runs/{config_name}"
    with failures.in_one_line():
        stages = _stages(config)
        with _on_disk(place, config) as workdir:
            run.run(config, workdir, stages, config_name, given)


def _stages(config: ml_collections.ConfigDict) -> list[str]:
    from ssimbad_jax.stages import run

    if _STAGES.value is None:
        return run.default_stages(config)
    if not _STAGES.value:
        raise ValueError(
            f"--stages is empty; choose from {','.join(choices.STAGES)}, or leave it out"
        )
    return _STAGES.value


def _on_disk(
    place: str, config: ml_collections.ConfigDict
) -> contextlib.AbstractContextManager[pathlib.Path]:
    from ssimbad_jax.data import bucket
    from ssimbad_jax.stages import components, mirror

    if bucket.is_address(place):
        return mirror.on_disk(place, components.prepared_dir(config) / "workdirs")
    path = pathlib.Path(place).expanduser()
    if path.is_file():
        raise NotADirectoryError(f"--workdir={path} is a file; name a folder")
    return contextlib.nullcontext(path)


if __name__ == "__main__":
    app.run(main, flags_parser=config_flag.parse)
