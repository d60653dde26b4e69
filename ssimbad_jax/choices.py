"""What flags choose from, for commands that answer --help before anything heavy is imported.

The tables that say what each name means lie where they are used; a test compares.
"""

STAGES = ("calibrate", "train", "refine", "evaluate", "report")
SAMPLERS = ("heun", "euler", "ddim", "dpmpp_2m", "dpmpp_2m_sde", "unipc")
CHECKPOINTS = ("newest", "best")
WEIGHTS = ("auto", "pretrain", "refine")
METHODS = ("auto", "ssimbad", "edm", "anime_diffusion")
COMPUTE_DTYPES = ("float32", "bfloat16")
INVERT = ("auto", "yes", "no")
LINES = ("keep", "model")
MAX_SEED = 2**32 - 1  # JAX keys of larger seeds equal those of smaller ones
