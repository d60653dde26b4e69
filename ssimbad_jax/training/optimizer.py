"""The optimiser and its learning rate, as functions of the step."""

import dataclasses

import optax


@dataclasses.dataclass(frozen=True)
class OptimizerSettings:
    """What the optimiser is made of.

    Attributes:
        learning_rate: peak, reached at the end of the warm-up.
        final_learning_rate: where the cosine ends, which would be one step after the last.
        warmup_steps: steps of linear warm-up from 0.
        total_steps: steps of the whole training, warm-up included.
        weight_decay: AdamW's decoupled weight decay, on all parameters.
        clip_norm: bound on the global norm of the gradient.
    """

    learning_rate: float
    final_learning_rate: float
    warmup_steps: int
    total_steps: int
    weight_decay: float
    clip_norm: float


def learning_rate_schedule(settings: OptimizerSettings) -> optax.Schedule:
    """Returns linear warm-up followed by a cosine, as a function of the step."""
    cosine = optax.schedules.cosine_decay_schedule(
        settings.learning_rate,
        max(1, settings.total_steps - settings.warmup_steps),
        alpha=settings.final_learning_rate / settings.learning_rate,
    )
    if settings.warmup_steps == 0:
        return cosine
    warmup = optax.schedules.linear_schedule(0.0, settings.learning_rate, settings.warmup_steps)
    return optax.schedules.join_schedules([warmup, cosine], [settings.warmup_steps])


def make_optimizer(settings: OptimizerSettings) -> optax.GradientTransformation:
    """Returns AdamW on gradients clipped by their global norm."""
    return optax.chain(
        optax.clip_by_global_norm(settings.clip_norm),
        optax.adamw(learning_rate_schedule(settings), weight_decay=settings.weight_decay),
    )
