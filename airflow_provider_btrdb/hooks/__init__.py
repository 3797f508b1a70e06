"""`BTrDBHook`: an Airflow connection -> a BTrDB connection."""
