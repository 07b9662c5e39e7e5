"""`make bench`: measures the cost of the agent next to the cost of the same work without it, in one run.

A section is a module with `measure(scale) -> Section`. It runs its parts in turn, in their own processes on pinned
cores (`process.child`), and takes medians. `__main__` runs the sections and writes `results.json`. `plot` draws it.
"""
