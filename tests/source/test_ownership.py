"""Request files that other users could change (issue 13.5)."""

import os
from pathlib import Path

from agent.source.folder import Folder
from agent.source.ownership import Owners
from verification.builders.request_files import upload, write

US = Owners(frozenset({os.geteuid()}))


def test_a_folder_that_others_can_change_is_not_read_and_its_names_stay_claimed(tmp_path: Path) -> None:
    tmp_path.chmod(0o755)
    good = write(tmp_path / "in/good.yaml", upload("good"))
    good.chmod(0o644)
    good.parent.chmod(0o755)
    folder = Folder(tmp_path, settle=0, owners=US)
    assert set(folder.scan().documents) == {"good"}
    write(tmp_path / "in/new.yaml", upload("new")).chmod(0o666)
    seen = folder.scan()
    assert (set(seen.documents), [fault.file for fault in seen.faults]) == ({"good"}, ["in/new.yaml"])
    (tmp_path / "in/new.yaml").chmod(0o644)
    assert set(folder.scan().documents) == {"good", "new"}
    good.parent.chmod(0o777)
    write(tmp_path / "in/later.yaml", upload("later")).chmod(0o644)
    seen = folder.scan()
    assert not seen.complete
    assert dict(seen.documents) == {}
    assert seen.claimed == {"good", "new"}
    good.parent.chmod(0o755)
    seen = folder.scan()
    assert (seen.complete, set(seen.documents)) == (True, {"good", "new", "later"})


def test_a_file_is_reported_until_it_is_corrected_and_is_read_once(tmp_path: Path) -> None:
    path = write(tmp_path / "a.yaml", upload("a"))
    tmp_path.chmod(0o755)
    path.chmod(0o646)
    folder = Folder(tmp_path, settle=0)
    first, second = folder.scan(), folder.scan()
    assert first.exposed == second.exposed
    assert [str(one) for one in first.exposed] == ["a.yaml:1:1: other users can write the file (mode 0646)"]
    assert first.documents["a"] is second.documents["a"]
    path.chmod(0o644)
    assert folder.scan().exposed == ()
