"""One file per noun of the API. Thin: read, call, wrap."""
