"""The pool of connections, on asyncio's loop and on uvloop."""
