"""Parts of benchmarks/audit.py: the catalogue with its faults, its server, the audits, and the table."""
