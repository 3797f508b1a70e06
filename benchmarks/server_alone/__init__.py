"""What benchmarks/devserver.py is made of: clients, starts and memory, and the table."""
