#!/bin/sh
# Run a server, and end it when the process RUN is gone or this shell receives TERM: `watch_postgres.sh RUN PARENT FOLDER
# KEPT COMMAND...`. Prints the process id of the watch, and returns. When the process PARENT is gone, RUN receives TERM.
# An empty KEPT removes the folder at the end.
run=$1 parent=$2 folder=$3 kept=$4
shift 4

# An ended process stays as a zombie until its parent waits for it.
alive() { kill -0 "$1" 2>/dev/null && ! grep -qs "^State:.Z" "/proc/$1/status"; }

(
    "$@" >"$folder/log" 2>&1 & server=$!
    trap 'kill -INT $server' TERM
    while alive "$run" && kill -0 $server; do
        alive "$parent" || kill -TERM "$run"
        sleep 0.5
    done
    kill -INT $server
    wait $server
    [ -n "$kept" ] || rm -rf "$folder"
) >/dev/null 2>&1 &
echo $!
