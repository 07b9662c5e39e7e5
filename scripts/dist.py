"""Build what a release consists of (`make dist`), from the last commit and nothing else.

Writes into dist/: the wheel, the sdist, the pinned runtime closure as constraints, an SBOM in CycloneDX form, and
SHA256SUMS. Wheel and sdist are built twice, in different folders, and must be equal byte by byte. The files have the
time of the commit (SOURCE_DATE_EPOCH). Exit codes: 0 built, 1 a step failed or the two builds differ.
"""

import filecmp
import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
TARGET = ROOT / "dist"


def main() -> None:
    """Build, compare, describe, and publish into dist/ only if everything succeeded."""
    commit = run("git", "rev-parse", "HEAD").decode().strip()  # once: a commit during the first build changes nothing
    with tempfile.TemporaryDirectory() as place:
        first, second = (build(Path(place) / name, commit) for name in ("first", "second"))
        different = [path.name for path in first if not filecmp.cmp(path, second[0].parent / path.name, shallow=False)]
        if different or len(first) != len(second):
            sys.exit(f"The two builds differ: {', '.join(different) or 'another number of files'}.")
        wheel = next(path for path in first if path.suffix == ".whl")
        described = describe(wheel, Path(place))
        shutil.rmtree(TARGET, ignore_errors=True)
        TARGET.mkdir()
        for path in (*first, *described):
            shutil.copy(path, TARGET)
    sums = "".join(
        f"{hashlib.sha256(path.read_bytes()).hexdigest()}  {path.name}\n" for path in sorted(TARGET.iterdir())
    )
    (TARGET / "SHA256SUMS").write_text(sums)
    print(f"built twice, and equal:\n{sums}", end="")


def build(folder: Path, commit: str) -> list[Path]:
    """Build wheel and sdist from a fresh copy of a commit."""
    source, built = folder / "source", folder / "built"
    source.mkdir(parents=True)
    archive = run("git", "archive", commit)
    subprocess.run(["tar", "-x", "-C", source], input=archive, check=True)
    epoch = run("git", "log", "-1", "--format=%ct", commit).decode().strip()
    environment = os.environ | {"SOURCE_DATE_EPOCH": epoch}
    run(sys.executable, "-m", "build", "--no-isolation", "--outdir", built, source, environment=environment)
    return sorted(built.iterdir())


def describe(wheel: Path, place: Path) -> list[Path]:
    """Install the wheel alone, and write what was installed: as constraints and as an SBOM."""
    python = place / "runtime/bin/python"
    run(sys.executable, "-m", "venv", "--without-pip", place / "runtime")
    run(sys.executable, "-m", "pip", "--python", python, "install", "--quiet", wheel)
    name = "-".join(wheel.name.split("-")[:2]).replace("_", "-")
    listed = run(sys.executable, "-m", "pip", "--python", python, "list", "--format=freeze").decode().splitlines()
    constraints = place / f"{name}.constraints.txt"
    constraints.write_text("".join(f"{line}\n" for line in listed if not line.startswith("assure-agent==")))
    sbom = place / f"{name}.cdx.json"
    options = ("--pyproject", ROOT / "pyproject.toml", "--output-reproducible", "--of", "JSON", "-o", sbom)
    run(sys.executable, "-m", "cyclonedx_py", "environment", *options, python)
    return [constraints, sbom]


def run(*command: str | Path, environment: dict[str, str] | None = None) -> bytes:
    """The standard output of a command. Ends the script if it fails."""
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True)
    if done.returncode:
        sys.exit(f"{' '.join(map(str, command))} failed:\n{(done.stdout + done.stderr).decode()}")
    return done.stdout


if __name__ == "__main__":
    main()
