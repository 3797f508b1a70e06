"""Airflow provider for BTrDB: provision, query, audit, wait for and load time series streams.

Airflow imports this package while it is still importing itself, so this module imports nothing.
"""

__version__ = "0.1.0"
