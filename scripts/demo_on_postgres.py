"""The demo on a PostgreSQL database: `demo_on_postgres.py run | reset`, called by `make run STORE=postgres`.

`run` starts a server of its own in state/postgres/server, and becomes the agent. The server ends with the agent, and
its folder is kept, so that the next demo continues. `reset` removes the folder.
"""

import asyncio
import fcntl
import os
import shlex
import shutil
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))  # a script has only its own folder

from verification.postgres_server import PostgresServer, PostgresUnavailable, alive, start  # noqa: E402

FOLDER = Path("state", "postgres")
DATABASE = "assure_agent"
ENDING = 20.0  # seconds that the server of a killed demo may take to end


def main(verb: str) -> None:
    """Run or reset the demo. Raises SystemExit with one clear error."""
    try:
        if verb == "reset":
            reset()
        else:
            run()
    except PostgresUnavailable as reason:
        sys.exit(f"The demo cannot start its database. {reason}. Try: make reset STORE=postgres, or make run.")
    except OSError as error:
        sys.exit(f"{error.filename or FOLDER}: {error.strerror}. Try: correct the owner and the mode of {FOLDER}.")
    except KeyboardInterrupt:
        sys.exit(130)


def run() -> None:
    """Start the server, make the database, and become the agent."""
    FOLDER.mkdir(mode=0o700, parents=True, exist_ok=True)
    FOLDER.chmod(0o711)  # as root, the server runs as another user, who passes to its own folder
    lock()
    server = start(FOLDER / "server", os.getpid(), ["listen_addresses="], kept=True, parent=os.getppid())
    asyncio.run(create_database(server))
    known = {"ASSURE_AGENT_STATE_URL": server.url(DATABASE), "ASSURE_AGENT_STATE_DIR": str(FOLDER)}
    print("For commands in another terminal:")
    print("  export", *(f"{name}={shlex.quote(value)}" for name, value in known.items()))
    print("To repeat this demo: press Ctrl-C, then make reset STORE=postgres", flush=True)
    agent = Path(sys.executable).with_name("assure-agent")
    os.execve(agent, [str(agent), "run", "--sandbox"], os.environ | known)


def reset() -> None:
    """Remove the database and the local files of the demo."""
    if not FOLDER.exists():
        sys.exit(f"There is no demo database in {FOLDER}. Try: make run STORE=postgres.")
    lock()
    shutil.rmtree(FOLDER)
    print(f"Removed {FOLDER}. The demo starts again with: make run STORE=postgres.")


def lock() -> None:
    """Hold the folder until the last process of this demo ends: the agent and the server inherit the lock."""
    file = os.open(FOLDER / "lock", os.O_RDWR | os.O_CREAT, 0o600)
    os.set_inheritable(file, True)
    end = time.monotonic() + ENDING
    while True:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            running = os.pread(file, 20, 0).decode().strip()
            if time.monotonic() > end or is_running(running):
                sys.exit(f"The demo in {FOLDER} is running: process {running}. Try: end it with Ctrl-C.")
            time.sleep(0.1)
        else:
            os.truncate(file, 0)
            os.pwrite(file, str(os.getpid()).encode(), 0)
            return


def is_running(pid: str) -> bool:
    """True if the agent of the lock runs; otherwise its server is about to end."""
    return pid.isdecimal() and alive(int(pid))


async def create_database(server: PostgresServer) -> None:
    """Create the database at the first start."""
    if not await server.execute(f"SELECT 1 FROM pg_database WHERE datname = '{DATABASE}'"):
        await server.execute(f"CREATE DATABASE {DATABASE}")


if __name__ == "__main__":
    main(sys.argv[1])
