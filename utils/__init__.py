"""What the programs share: metrics, calibration, files, messages, signals and processes.

Only `versions` names losses, networks and data sets.
"""
