"""Git as a source: fetch a repository, verify its revisions, and export the folder of requests.

- `git_process`: run git without its configuration, hooks and prompts, limited in time and size.
- `access`: the address of the repository and its credentials, as the settings say.
- `fetch_errors`: the cause of a failed fetch, from the output of git and the errors of the system.
- `mirror`: the bare mirror next to the state file.
- `mirror_folder`, `mirror_config`: its files, and its configuration.
- `transport`: its exchange with the server.
- `fetched_head`: the commit that was fetched last.
- `selection`: the entries of a revision that a scan reads.
- `export`: the files of these entries.
- `revision_folders`: the exported folder of each revision.
- `signatures`: the signers of commits.
- `signers`: the keys that may sign.
- `private_folder`: a folder that only one process uses.
- `merges`: merge commits that decide something.
- `verdict`: whether the agent may act on a revision.
- `provenance`: the last commit of each request file, and its signer.
- `git_source`: all of it, as one source of requests.
- `planned`: one revision in a temporary folder, as `plan` reads it.
"""
