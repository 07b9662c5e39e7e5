"""Dashboards and Prometheus rules. `python -m grafana` writes them, and a test checks that they are current."""
