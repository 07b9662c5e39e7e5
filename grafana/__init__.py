"""Dashboards and Prometheus rules, built from code: `python -m grafana` writes them, a test proves them current."""
