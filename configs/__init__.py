"""The shipped configs, which programs import as `ssimbad_jax.configs`."""
