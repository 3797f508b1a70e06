"""Commands of the package. They work without Airflow."""
