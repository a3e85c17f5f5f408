"""Experiments as frozen dataclasses (`schema`), read from strict YAML (`load`)."""
