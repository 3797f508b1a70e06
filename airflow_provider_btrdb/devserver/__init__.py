"""A real BTrDB v5 gRPC server for one machine, on a real PostgreSQL: local development, CI, examples.

It imports the wire and the protocol table and nothing else of this package; above all not the client, because a codec
shared by both ends would hide its own bugs.
"""
