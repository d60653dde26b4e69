"""Convolution whose gradient is as fast inside a loop as outside, on a CPU, too.

XLA brings the gradients of a convolution into the layout that its fast CPU kernels need, but not
in the body of a loop, where they then take thirty times as long (jax issue 12868). Refinement
differentiates through loops, and so does the accumulation of gradients.
"""

import functools
from typing import Any

import jax

_LAYOUT = ("NHWC", "HWIO", "NHWC")


def convolve(
    x: jax.Array,
    kernel: jax.Array,
    window_strides: Any = (1, 1),
    padding: Any = "SAME",
    *,
    precision: Any = None,
    **options: Any,
) -> jax.Array:
    """Convolves images, with strides of 1 and zeros outside: `nn.Conv(conv_general_dilated=...)`.

    Args:
        x: `[B, H, W, I]`.
        kernel: `[K, L, I, O]`, K and L odd.
        window_strides: 1 in both directions.
        padding: "SAME".
        precision: see `jax.lax.Precision`.
        **options: what else Flax passes: no dilation, no groups.

    Returns:
        `[B, H, W, O]`, equal to `jax.lax.conv_general_dilated`, and so are its gradients.

    Raises:
        ValueError: it is another convolution.
    """
    plain = all(
        value in (None, 1, (1, 1), [1, 1])
        for name, value in options.items()
        if name in ("lhs_dilation", "rhs_dilation", "feature_group_count", "batch_group_count")
    )
    is_odd = all(size % 2 for size in kernel.shape[:2])
    if tuple(window_strides) != (1, 1) or padding != "SAME" or not plain or not is_odd:
        raise ValueError(
            f"convolve has strides of 1, padding SAME, odd kernels and no dilation or groups; got "
            f"strides {window_strides}, padding {padding!r}, a kernel {kernel.shape} and {options}"
        )
    return _convolve(x, kernel, precision)


def _plain(x: jax.Array, kernel: jax.Array, precision: Any, padding: Any = "SAME") -> jax.Array:
    return jax.lax.conv_general_dilated(
        x, kernel, (1, 1), padding, dimension_numbers=_LAYOUT, precision=precision
    )


@functools.partial(jax.custom_vjp, nondiff_argnums=(2,))
def _convolve(x: jax.Array, kernel: jax.Array, precision: Any) -> jax.Array:
    return _plain(x, kernel, precision)


def _forward(
    x: jax.Array, kernel: jax.Array, precision: Any
) -> tuple[jax.Array, tuple[jax.Array, jax.Array]]:
    return _plain(x, kernel, precision), (x, kernel)


def _backward(
    precision: Any, residuals: tuple[jax.Array, jax.Array], gradient: jax.Array
) -> tuple[jax.Array, jax.Array]:
    def standard(
        x: jax.Array, kernel: jax.Array, gradient: jax.Array
    ) -> tuple[jax.Array, jax.Array]:
        _, vjp = jax.vjp(lambda x, kernel: _plain(x, kernel, precision), x, kernel)
        return vjp(gradient)

    def in_fast_layout(
        x: jax.Array, kernel: jax.Array, gradient: jax.Array
    ) -> tuple[jax.Array, jax.Array]:
        # The input's gradient: convolution with the kernel turned by 180 degrees.
        turned = kernel[::-1, ::-1].swapaxes(2, 3)
        # The kernel's: images and channels change roles, and the gradient is the window.
        padding = [(size // 2, size // 2) for size in kernel.shape[:2]]
        of_kernel = _plain(
            x.transpose(3, 1, 2, 0), gradient.transpose(1, 2, 0, 3), precision, padding
        )
        return _plain(gradient, turned, precision), of_kernel.transpose(1, 2, 0, 3)

    return jax.lax.platform_dependent(*residuals, gradient, cpu=in_fast_layout, default=standard)


_convolve.defvjp(_forward, _backward)
