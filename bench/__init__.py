"""`make bench`: the agent beside a bare loop, over the same HTTP seam, in one run."""
