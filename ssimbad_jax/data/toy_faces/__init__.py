"""Procedural anime faces: one module a part of the picture, `drawing` puts them together."""
