"""Builders for tests, verification and benchmarks: request files, pictures, settings, records and their lives."""
