"""What the agent serves on LISTEN: open endpoints, the API for programs, the status page for people (design §11).

All of it is read-only, and reads the store through connections that cannot write, on threads of its own.
"""
