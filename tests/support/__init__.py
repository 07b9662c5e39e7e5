"""What the tests of loops, steps and commands share: virtual time, request files, and a small world to run in."""
