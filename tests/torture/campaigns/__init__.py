"""One module a campaign; `tests.torture.table` lists them."""
