"""Data sets: their catalog, and how they are downloaded, loaded, decoded and augmented."""
