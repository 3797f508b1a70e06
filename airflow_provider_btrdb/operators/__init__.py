"""Operators, by what they work on: streams, points, queries."""
