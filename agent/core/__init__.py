"""The pure core: the state of a request and the rules that change it. It uses no clock, no I/O and no randomness."""
