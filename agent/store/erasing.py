"""What was erased leaves the files as well, not only the tables [I6].

`secure_delete` overwrites what is deleted, but earlier pages stand in the write-ahead log until it is truncated, and a
page that was split may keep a copy between its cells (measured: two names of a thousand) until the file is rewritten.
Both are done in no transaction, by the one writer.
"""

from agent.store.connection import Connection

_OWED = "rewrite-owed"  # the key in `meta`: something was forgotten since the file was rewritten


def owe_rewrite(connection: Connection) -> None:
    """Note, in the transaction that erases, that the file has to be rewritten."""
    connection.execute("INSERT OR REPLACE INTO meta (key, value) VALUES (?, 'yes')", (_OWED,))


def rewrite(connection: Connection) -> None:
    """Rewrite the file if that is owed: about a second for 100 MB."""
    if connection.execute("SELECT 1 FROM meta WHERE key = ?", (_OWED,)).fetchone() is not None:
        connection.execute("VACUUM")
        connection.execute("DELETE FROM meta WHERE key = ?", (_OWED,))


def truncate(connection: Connection) -> bool:
    """Fold the write-ahead log into the file and cut it off. False: somebody reads an earlier state just now."""
    (patience,) = connection.execute("PRAGMA busy_timeout").fetchone()
    connection.execute("PRAGMA busy_timeout = 0")  # commits wait for this thread
    try:
        (busy, _, _) = connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
    finally:
        connection.execute(f"PRAGMA busy_timeout = {patience}")
    return not busy
