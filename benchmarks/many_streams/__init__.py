"""Parts of benchmarks/provision.py: the catalogue, its server, the work of both sides, and the table."""
