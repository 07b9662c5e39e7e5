-- Who sent a command: the account of the operating system, as the kernel says of the peer of the socket.
ALTER TABLE commands ADD COLUMN sender TEXT;             -- null: sent before it was recorded
DROP VIEW told;
-- told: what a person told the agent, and the account of the operating system that sent it
CREATE VIEW told AS
SELECT strftime('%Y-%m-%dT%H:%M:%fZ', commands.at, 'unixepoch') AS time, commands.verb AS command,
    requests.name, commands.uid, commands.sender
FROM commands LEFT JOIN requests ON requests.uid = commands.uid;
