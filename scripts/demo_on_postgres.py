"""The demo on a PostgreSQL database: `demo_on_postgres.py run [REPLICAS] | reset`, called by `make run STORE=postgres`.

`run` starts a server of its own in state/postgres/server, and becomes the agent. With several replicas, it starts them
and the simulator of Assure, and waits for their end. The server ends with the demo, and its folder is kept, so that the
next demo continues. `reset` removes the folder.
"""

import asyncio
import contextlib
import fcntl
import os
import secrets
import shlex
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))  # a script has only its own folder

from verification.postgres_server import PostgresServer, PostgresUnavailable, alive, start  # noqa: E402

FOLDER = Path("state", "postgres")
DATABASE = "assure_agent"
MOST = 9  # replicas
LEASE = "5s"
FIRST_PORT = 9464
ENDING = 20.0  # seconds that the server of a killed demo may take to end


def main(verb: str, replicas: str = "1") -> None:
    """Run or reset the demo. Raises SystemExit with one clear error."""
    if not replicas.isdecimal() or not 1 <= int(replicas) <= MOST:
        sys.exit(f"REPLICAS is a number from 1 to {MOST}, not {replicas!r}. Try: make run STORE=postgres REPLICAS=3.")
    try:
        if verb == "reset":
            reset()
        else:
            run(int(replicas))
    except PostgresUnavailable as reason:
        sys.exit(f"The demo cannot start its database. {reason}. Try: make reset STORE=postgres, or make run.")
    except OSError as error:
        sys.exit(f"{error.filename or FOLDER}: {error.strerror}. Try: correct the owner and the mode of {FOLDER}.")
    except KeyboardInterrupt:
        sys.exit(130)


def run(replicas: int) -> None:
    """Start the server, make the database, and become the agent, or start several."""
    FOLDER.mkdir(mode=0o700, parents=True, exist_ok=True)
    FOLDER.chmod(0o711)  # as root, the server runs as another user, who passes to its own folder
    lock()
    server = start(FOLDER / "server", os.getpid(), ["listen_addresses="], kept=True, parent=os.getppid())
    asyncio.run(create_database(server))
    known = {"ASSURE_AGENT_STATE_URL": server.url(DATABASE), "ASSURE_AGENT_STATE_DIR": str(FOLDER)}
    if replicas > 1:
        known |= {"ASSURE_AGENT_KEY_FILE": str(FOLDER / "agent.key"), "ASSURE_AGENT_REPLICA_LEASE": LEASE}
    print("For commands in another terminal:")
    print("  export", *(f"{name}={shlex.quote(value)}" for name, value in known.items()))
    print("To repeat this demo: press Ctrl-C, then make reset STORE=postgres", flush=True)
    if replicas > 1:
        sys.exit(run_replicas(replicas, os.environ | known))
    agent = Path(sys.executable).with_name("assure-agent")
    os.execve(agent, [str(agent), "run", "--sandbox"], os.environ | known)


def run_replicas(count: int, environment: dict[str, str]) -> int:
    """Run the simulator and so many replicas until all of them end. Returns the exit code."""
    key = Path(environment["ASSURE_AGENT_KEY_FILE"])
    if not key.exists():
        key.touch(mode=0o600)
        key.write_text(secrets.token_hex(32))
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    sandbox = subprocess.Popen(
        [*command(), "sandbox", "--persist", str(FOLDER / "sandbox.json")], stdout=subprocess.PIPE, text=True
    )
    assert sandbox.stdout is not None
    account = {
        "ASSURE_AGENT_BASE_URL": sandbox.stdout.readline().strip(),
        "ASSURE_AGENT_CLIENT_ID": "sandbox-client",
        "ASSURE_AGENT_CLIENT_SECRET": "sandbox-secret",
    }
    running: dict[int, subprocess.Popen[bytes]] = {}
    for number in range(1, count + 1):
        own = {
            "ASSURE_AGENT_STATE_DIR": str(FOLDER / f"replica-{number}"),
            "ASSURE_AGENT_LISTEN": f"127.0.0.1:{FIRST_PORT + 10 * (number - 1)}",
        }
        given = {"ASSURE_AGENT_LOG_LEVEL": "warning"} | environment | account | own
        running[number] = subprocess.Popen([*command(), "run"], env=given)
        print(f"Replica {number} is process {running[number].pid}. {page(given)}", flush=True)
    print(f"Kill one, and the others continue its work within {LEASE}: kill -9 {running[1].pid}", flush=True)
    try:
        while running:
            time.sleep(0.2)
            for number in [one for one, process in running.items() if process.poll() is not None]:
                ended = running.pop(number)
                others = f"; the other {len(running)} continue its work within {LEASE}" if running else ""
                print(f"Replica {number} (process {ended.pid}) ended{others}.", flush=True)
        return 0
    finally:
        for process in (*running.values(), sandbox):
            with contextlib.suppress(ProcessLookupError):
                process.send_signal(signal.SIGTERM)
        for process in (*running.values(), sandbox):
            process.wait()


def page(environment: dict[str, str]) -> str:
    """The status page of a replica, when it has started."""
    end = time.monotonic() + ENDING
    while time.monotonic() < end:
        found = subprocess.run([*command(), "page"], env=environment, capture_output=True, text=True, check=False)
        if found.returncode == 0:
            return f"Its status page is {found.stdout.strip()}"
        time.sleep(0.2)
    return "It does not answer yet."


def command() -> list[str]:
    """The installed command. On Linux it ends together with this process, also after a kill."""
    agent, setpriv = str(Path(sys.executable).with_name("assure-agent")), shutil.which("setpriv")
    return [agent] if setpriv is None else [setpriv, "--pdeathsig", "TERM", agent]


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
    main(*sys.argv[1:])
