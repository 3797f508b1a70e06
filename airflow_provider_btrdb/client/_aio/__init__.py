"""Every RPC loop, written once; `_sync` is generated from this folder by `make sync`."""
