"""Taking things out of BTrDB into files."""
