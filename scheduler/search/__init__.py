"""A search over configs: which trials there are, in which order, and which one wins. Pure: no file, no queue, no clock
but a virtual one. The same search config and the same results give the same trials, whoever computes them and when.
"""
