"""Files -> columns of points, as values and pure functions."""
