"""A look, which is for hints, accepts no more of others than a scan does (issue 13.5)."""

import os
from pathlib import Path

from agent.source.folder import Folder
from agent.source.ownership import Owners

from .samples import upload, write

US = Owners(frozenset({os.geteuid()}))


def test_a_partial_read_refuses_what_a_scan_refuses(tmp_path: Path) -> None:
    tmp_path.chmod(0o755)
    good = write(tmp_path / "in/good.yaml", upload("good"))
    good.chmod(0o644)
    good.parent.chmod(0o755)
    folder = Folder(tmp_path, settle=0, owners=US)
    assert set(folder.scan().documents) == {"good"}
    write(tmp_path / "in/new.yaml", upload("new")).chmod(0o666)
    read = folder.read_files(["in/new.yaml"])
    assert (read.documents, read.needs_full_scan) == ((), True)
    (tmp_path / "in/new.yaml").chmod(0o644)
    assert [one.name for one in folder.read_files(["in/new.yaml"]).documents] == ["new"]
    good.parent.chmod(0o777)
    write(tmp_path / "in/later.yaml", upload("later")).chmod(0o644)
    assert folder.read_files(["in/later.yaml"]).documents == ()
    seen = folder.scan()
    assert not seen.complete
    assert seen.claimed == {"good", "new"}, "what was good there keeps its names"
    good.parent.chmod(0o755)
    seen = folder.scan()
    assert (seen.complete, set(seen.documents)) == (True, {"good", "new", "later"})


def test_a_file_is_reported_until_it_is_mended_and_costs_no_reading_meanwhile(tmp_path: Path) -> None:
    path = write(tmp_path / "a.yaml", upload("a"))
    tmp_path.chmod(0o755)
    path.chmod(0o646)
    folder = Folder(tmp_path, settle=0)
    first, second = folder.scan(), folder.scan()
    assert first.exposed == second.exposed
    assert [str(one) for one in first.exposed] == ["a.yaml:1:1: others may write the file (mode 0646)"]
    assert first.documents["a"] is second.documents["a"]
    path.chmod(0o644)
    assert folder.scan().exposed == ()
