"""`make bench`: what the agent costs, beside what the same work costs without it, measured in one run.

A section is a module with `measure(scale) -> Section` that runs its parts as processes of their own on pinned cores
(`process.child`), by turns, and takes medians. `__main__` runs the sections and writes `results.json`; `plot` draws it.
"""
