"""The training loop and all that turns outputs into numbers and files.

It knows no loss, network or data set by name.
"""
