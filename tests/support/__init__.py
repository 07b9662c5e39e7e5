"""Virtual time and a small world to run in, shared by the tests of loops, steps and commands."""
