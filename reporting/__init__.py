"""Records of runs as tables and as a page. It imports PyTorch for a page only."""
