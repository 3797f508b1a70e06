"""Messages generated from protos/btrdb_v5.proto by `make proto`; never edited."""
