"""The SQL of steps, except for the rows of `requests`."""

from agent.store.changes import Write
from agent.store.sqlite.events import EVENT

# An answer as documented has no trouble, no shape, no digest and no words of an error.
ANSWERED = """
UPDATE attempts SET answered_at = ?, result = ?, status = ?, cause = ?, shape = '', digest = '', trace_id = ?
WHERE uid = ? AND number = ?
"""
TROUBLED = """
UPDATE attempts SET answered_at = ?, result = ?, status = ?, trouble = ?, cause = ?, shape = ?, digest = ?,
    trace_id = ?, words = ?
WHERE uid = ? AND number = ?
"""
INTENDED = "INSERT INTO attempts (uid, number, generation, effect, intended_at) VALUES (?, ?, ?, ?, ?)"
START = """
INSERT INTO starts (uid, generation, process_id, at) VALUES (?, ?, ?, ?)
ON CONFLICT DO UPDATE SET process_id = excluded.process_id
"""
RESERVED = "INSERT OR IGNORE INTO reservations (uid, generation, at) VALUES (?, ?, ?)"
PROVENANCE = """
INSERT OR REPLACE INTO provenance (uid, generation, file, author, file_commit, signer) VALUES (?, ?, ?, ?, ?, ?)
"""
WITHDRAWN = "INSERT OR REPLACE INTO withdrawals (uid, generation, at) VALUES (?, ?, ?)"
UNLABELED = "DELETE FROM labels WHERE uid = ?"
LABEL = "INSERT INTO labels (key, value, uid) VALUES (?, ?, ?)"
DELIVERY = """
INSERT INTO deliveries (sink, event, uid, type, generation, at, outcome, reason, hold_id)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)
"""
LINK = "INSERT OR REPLACE INTO links (uid, link, created_at) VALUES (?, ?, ?)"
UNLINKED = "DELETE FROM links WHERE uid = ?"
CLAIMS = """
INSERT OR REPLACE INTO claims (uid, generation, key_id, wrapped, ciphertext, expires_at) VALUES (?, ?, ?, ?, ?, ?)
"""
DISCARD = "INSERT OR REPLACE INTO image_deletions (uid, since) VALUES (?, ?)"
KEEP = "DELETE FROM image_deletions WHERE uid = ?"
SUPERSEDED = """
INSERT OR IGNORE INTO superseded_images (uid, generation, since, depiction, path, sha256) VALUES (?, ?, ?, ?, ?, ?)
"""
ORPHAN = "INSERT INTO orphans (reference, uid, since) VALUES (?, ?, ?) ON CONFLICT DO NOTHING"
COUNTER = """
INSERT INTO counters (counter, mode, process_type, outcome, value) VALUES (?, ?, ?, ?, ?)
ON CONFLICT DO UPDATE SET value = value + excluded.value
"""
REQUEST_COUNT = """
INSERT INTO request_counts (phase, state, reason, dossier, requests) VALUES (?, ?, ?, ?, ?)
ON CONFLICT DO UPDATE SET requests = requests + excluded.requests
"""
OF = {
    Write.EVENT: EVENT,
    Write.ANSWERED: ANSWERED,
    Write.TROUBLED: TROUBLED,
    Write.INTENDED: INTENDED,
    Write.START: START,
    Write.RESERVED: RESERVED,
    Write.PROVENANCE: PROVENANCE,
    Write.WITHDRAWN: WITHDRAWN,
    Write.UNLABELED: UNLABELED,
    Write.LABEL: LABEL,
    Write.DELIVERY: DELIVERY,
    Write.LINK: LINK,
    Write.UNLINKED: UNLINKED,
    Write.CLAIMS: CLAIMS,
    Write.DISCARD: DISCARD,
    Write.KEEP: KEEP,
    Write.SUPERSEDED: SUPERSEDED,
    Write.ORPHAN: ORPHAN,
}
