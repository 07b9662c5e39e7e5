"""The HTTP services of the agent (design §11): health endpoints, API, status page, event endpoint, dispatchers.

Health endpoints, API and status page are read-only. They read the store on read-only connections and own threads.
"""
