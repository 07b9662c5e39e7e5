"""The guide, step by step: each test asserts the state of the world after it."""
