"""The paper: SSIMBaD at 256 px (Seo, Koo, Yook, Moon 2025, arXiv 2506.04283).

    python -m ssimbad_jax.main --config=configs/edm_ssimbad.py --config.data.dir=PICTURES

PICTURES is any tree of anime faces, or the paper's layout
`{train,test}_data/{reference,sketch}`. Expected scores after the 300 epochs
(published, without refinement): PSNR 15.15 same / 13.04 cross.

Every field can be overridden on the command line, for example
`--config.train.batch_size=8`. Numbers are global: nothing scales with the
number of devices.
"""

import ml_collections


def get_config() -> ml_collections.ConfigDict:
    """Returns the paper's configuration."""
    config = ml_collections.ConfigDict()
    # Of initialisation, data order and noise; of which pictures are held out for validation, and of
    # the built-in faces.
    config.seed = 0

    config.data = data = ml_collections.ConfigDict()
    data.dir = ""  # folder of pictures; empty: the built-in toy faces
    data.prepared_dir = ""  # where built data sets are kept; empty: ~/.cache/ssimbad_jax
    data.image_size = 256  # pixels, height and width, of the model's images
    data.condition_size = 256  # pixels at which sketch and warp are made, then resized
    data.warp = "paper"  # "paper": two points on the diagonal, black outside; or "natural"
    # Largest shift of a colour channel in [-1, 1], drawn anew in training for target and reference
    # alike (the augmented reference of SCFT); 0: none.
    data.colour_jitter = 0.0
    data.max_bad_fraction = 0.01  # share of unusable pictures above which `dir` is refused
    data.num_workers = 0  # reading processes; 0: threads of the main process
    data.toy_faces_train = 4000  # built-in faces for training, where `dir` is empty
    data.toy_faces_test = 200  # built-in faces for testing, where `dir` is empty

    config.model = model = ml_collections.ConfigDict()
    model.name = "unet"  # the network; see NETWORKS in stages/components.py
    model.base_channels = 64  # channels of the first level
    model.channel_multipliers = (1, 2, 4, 8)  # one a level; the size halves between levels
    model.num_res_blocks = 2  # residual blocks a level
    model.num_heads = 4  # attention heads at the bottleneck
    model.num_groups = 32  # groups of every GroupNorm
    model.cbam = False  # channel and spatial attention in the decoder
    model.compute_dtype = "float32"  # "bfloat16" on accelerators; parameters stay float32

    config.diffusion = diffusion = ml_collections.ConfigDict()
    # "ssimbad": one scale, used three times; "edm": Karras et al. 2022; "ddpm": a table of linear
    # betas; "single": one noise level, for networks that answer at once.
    diffusion.schedule = "ssimbad"
    # "edm": Karras et al. 2022; "noise": the network predicts the noise; "image": it predicts the
    # image and is shown no noisy one.
    diffusion.preconditioning = "edm"
    diffusion.sigma_min = 0.002  # smallest noise level
    diffusion.sigma_max = 80.0  # largest noise level
    diffusion.num_levels = 1000  # of "ddpm", which has its own sigma_min and sigma_max
    diffusion.beta_first = 1e-6  # of "ddpm"
    diffusion.beta_last = 1e-2  # of "ddpm"
    diffusion.sigma_data = 0.5  # standard deviation of the pictures in [-1, 1]

    config.calibrate = calibrate = ml_collections.ConfigDict()
    # "rational": phi(s) = s / (s + c) with the c below; "best": the c that fits the data best;
    # "table": the scale along which SSIM falls linearly by construction.
    calibrate.scale = "rational"
    calibrate.c = 0.3  # the paper's winner
    calibrate.num_images = 64  # training pictures measured
    calibrate.num_sigmas = 192  # noise levels measured, from sigma_min to sigma_max
    calibrate.num_draws = 2  # noise draws for each picture
    calibrate.max_memory_mb = 512  # bound on the working memory of one chunk

    config.train = train = ml_collections.ConfigDict()
    train.steps = 0  # optimiser steps; 0: counted from `epochs`
    train.epochs = 300  # passes over the training pictures
    train.batch_size = 64  # pictures in a global batch
    train.accumulate = 1  # micro-batches a step is split into, to save memory
    train.learning_rate = 2e-4  # peak
    train.final_learning_rate = 1e-8  # at the end of the cosine
    train.warmup_steps = -1  # of linear warm-up; -1: one epoch
    train.weight_decay = 0.01  # AdamW's, decoupled
    train.clip_norm = 1.0  # bound on the global norm of the gradient
    train.ema_half_life = 500_000  # pictures; never more than 5% of those seen so far
    train.loss = "denoising"  # what is minimised; see LOSSES in stages/train.py
    train.loss_weighting = "uniform"  # the paper's; "edm": 1 / c_out^2, the error of the output
    train.scft = scft = ml_collections.ConfigDict()  # weights of the terms of the loss "scft"
    scft.reconstruction = 30.0  # absolute error
    scft.adversarial = 1.0  # least-squares GAN, both sides
    scft.perceptual = 0.01  # absolute error of VGG16's features
    scft.style = 50.0  # absolute error of their Gram matrices
    scft.triplet = 1.0  # the attention's scores against the warp of the reference
    scft.margin = 12.0  # by which the triplet term wants what corresponds to score higher
    train.drop_sketch = 0.0  # share of examples without their sketch, which guidance learns from
    train.drop_reference = 0.0  # share of examples without their reference, likewise
    train.log_every = 50  # steps between rows of metrics.jsonl
    train.validate_every = 1000  # steps between validation losses
    train.validation_images = 64  # held-out pictures, with frozen sigmas and noise
    train.sample_every = 5000  # steps between picture grids
    train.checkpoint_every = 1000  # steps between checkpoints
    train.keep_checkpoints = 2  # newest ones kept, beside the best
    train.accept_changes = False  # continue although fields that decide the numbers differ

    config.refine = refine = ml_collections.ConfigDict()
    refine.enabled = True  # part of a run without --stages
    refine.checkpoint = "newest"  # of the pretraining, to start from; "best": by validation loss
    refine.sampler = "euler"  # the solver that is refined, and samples afterwards; as eval.sampler
    refine.sampler_steps = 50  # K, steps walked
    refine.min_sampler_steps = 0  # draw K anew in each step, from this up; 0: always the same
    refine.grid_steps = 50  # walk a sub-grid of a grid this long; 0: a fresh grid of K steps
    refine.clip_denoised = False  # as eval.clip_denoised, for "ddim"
    refine.start = "noise"  # of walks; "target": the encoded target, AnimeDiffusion's way
    refine.gradient_steps = 0  # through the last so many steps; 0: through all
    refine.min_gradient_steps = 0  # draw that number anew in each step, from this up; 0: do not
    refine.losses = losses = ml_collections.ConfigDict()  # weights of image distances on [0, 1]
    losses.mse = 1.0  # squared error
    losses.bounded = 0.0  # squared error of clipped pictures that pulls on what left [0, 1]
    losses.paper = 0.0  # the official squared error of clipped pictures, which leaves white holes
    losses.ms_ssim = 0.0  # 1 - MS-SSIM
    losses.lpips_alex = 0.0  # LPIPS with AlexNet, which its authors recommend for scores
    losses.lpips_vgg = 0.0  # LPIPS with VGG16, which they recommend for losses
    refine.denoising_share = 0.0  # of the pretraining's loss in the sum, against drift
    refine.steps = 0  # optimiser steps; 0: counted from `epochs`
    refine.epochs = 10  # passes over the training pictures
    refine.batch_size = 2  # pictures in a global batch
    refine.accumulate = 1  # micro-batches a step is split into, to save memory
    refine.learning_rate = 2e-4  # peak
    refine.final_learning_rate = 0.0  # at the end of the cosine
    refine.warmup_steps = 0  # of linear warm-up; -1: one epoch
    refine.weight_decay = 0.01  # AdamW's, decoupled
    refine.clip_norm = 1.0  # bound on the global norm of the gradient
    refine.ema_half_life = 500_000  # pictures; never more than 5% of those seen so far
    refine.log_every = 50  # steps between rows of refine/metrics.jsonl
    refine.validate_every = 1000  # steps between validation losses
    refine.sample_every = 5000  # steps between picture grids
    refine.checkpoint_every = 1000  # steps between checkpoints
    refine.keep_checkpoints = 2  # newest ones kept, beside the best
    refine.accept_changes = False  # continue although fields that decide the numbers differ

    config.eval = evaluation = ml_collections.ConfigDict()
    evaluation.weights = "auto"  # refined ones where there are some; or "pretrain", "refine"
    evaluation.refined_solver = True  # sample refined weights as they were refined
    # "heun" (EDM's algorithm 2), "euler", "ddim", "dpmpp_2m", "dpmpp_2m_sde" or "unipc"
    evaluation.sampler = "heun"
    evaluation.sampler_steps = 50  # steps walked
    evaluation.grid_steps = 0  # walk a sub-grid of a grid this long; 0: a fresh grid
    evaluation.churn = 0.0  # S_churn of EDM's algorithm 2, for "heun" and "euler"; 0: none
    evaluation.eta = 0.0  # share of ancestral noise, for "ddim"; 0: none
    evaluation.clip_denoised = False  # clip each estimate to [-1, 1], for "ddim"
    # Noise level at which sampling starts from the re-noised posterior mean; 0: from pure noise.
    evaluation.start_sigma = 0.0
    evaluation.posterior_draws = 1  # network calls that the posterior mean averages
    evaluation.checkpoint = "newest"  # whose averaged parameters; "best": by validation loss
    evaluation.pairs = ""  # .npz of evaluation pairs; empty: the test split of the data
    evaluation.folder = "eval"  # folder of the workdir for the results
    evaluation.batch_size = 64  # pictures sampled at once
    evaluation.max_images = 0  # score only the first so many pictures; 0: all
    evaluation.save_images = 64  # results written as PNG for each setting
    evaluation.num_seeds = 1  # of the sampling noise, the first being `seed`
    evaluation.metrics = (  # what results are scored with; see stages/scores.py
        "psnr",
        "ssim",
        "ms_ssim",
        "lpips_alex",
        "lpips_vgg",
        "colour_distance",
        "palette_to_reference",
        "frechet_vgg16",
        "kernel_vgg16",
        "fid",
    )
    evaluation.inception_weights = ""  # weights-inception-2015-12-05 as .pth or .npz, for "fid"

    evaluation.guidance = guidance = ml_collections.ConfigDict()
    guidance.sketch = 1.0  # classifier-free scale; 1: off; else train.drop_* are needed
    guidance.reference = 1.0  # classifier-free scale; 1: off; else train.drop_reference is needed
    guidance.structure = 0.0  # pull of the sketch's lines on each estimate, such as 0.5; 0: off
    guidance.sigma_min = 0.0  # noise level below which nothing is guided
    guidance.sigma_max = 1e6  # noise level above which nothing is guided
    return config.lock()  # a field misspelt in a variant of this config is an error
