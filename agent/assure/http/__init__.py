"""HTTP/1.1 over a pool of connections. Each request is sent at most once, and each failure states what was sent."""
