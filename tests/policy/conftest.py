"""Hypothesis for this room: a busy machine is slow, which says nothing about a pure function."""

from hypothesis import settings

settings.register_profile("policy", deadline=None)
settings.load_profile("policy")
