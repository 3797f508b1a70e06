"""What Airflow shows of BTrDB on its own pages."""
