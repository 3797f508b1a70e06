"""Judging what is in BTrDB."""
