"""Shows the records of runs as tables and as a page. Only the page and `intervals` need PyTorch."""
