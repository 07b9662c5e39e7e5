"""The pure core: no clock, no I/O, no chance. What the agent knows and how it decides."""
