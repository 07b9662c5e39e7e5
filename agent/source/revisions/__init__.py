"""Git as a source: fetch a repository, verify its revisions, and export the folder of requests.

- `git_process`: run git without its configuration, hooks and prompts, limited in time and size.
- `access`: the address of the repository and its credentials, as the settings say.
- `mirror`: the bare mirror next to the state file.
- `fetch_errors`: the cause of a failed fetch, from the output of git.
- `revision_folders`: the exported folder of each revision.
- `signatures`: the signers of commits.
- `signers`: the keys that may sign.
- `private_folder`: a folder that only one process uses.
- `merges`: merge commits that decide something.
- `verdict`: whether the agent may act on a revision.
- `provenance`: the last commit of each request file, and its signer.
- `git_source`: all of it, as one source of requests.
"""
