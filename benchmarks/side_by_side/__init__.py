"""Our client and the official one, side by side: the data, the server, the pieces of work, the table."""
