"""Streams and collections as Airflow's assets."""
