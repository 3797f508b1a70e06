"""Telling people what tasks found."""
