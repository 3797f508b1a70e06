"""Files that users write: where each part stands, what is wrong with it, and the nearest name that is known."""
