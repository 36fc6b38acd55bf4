"""What a run is made of: its configuration, data and network, its evaluation, and the folder that
holds its results.
"""
