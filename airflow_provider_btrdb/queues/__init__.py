"""What Airflow's `MessageQueueTrigger` finds by the scheme `btrdb`."""
