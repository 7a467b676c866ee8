#!/bin/sh
# Runs the Autobahn test suite in both directions, each once directly and once through relais, and compares the results
# with each other and with what is committed here:
#   server   the suite's fuzzing client against its own echo server, expected-server.tsv
#   client   the suite's own client against its fuzzing server, expected-client.tsv
#
# Usage: run.sh RELAIS WSTEST FOLDER [--write]. `cargo xtask autobahn` installs the suite and calls this.
set -eu
relais=$1 wstest=$2 out=$3 write=${4:-} here=$(cd "$(dirname "$0")" && pwd)
rm -rf "$out"
mkdir -p "$out"
cd "$out"
pids=
stop() { kill $pids 2>/dev/null || true; pids=; }
trap stop EXIT
free() { python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])'; }
# Cases 9 and 12 measure speed: one of each kind is enough to see that bytes pass.
all='"1.*", "2.*", "3.*", "4.*", "5.*", "6.*", "7.*", "9.1.1", "9.1.2", "9.1.3", "9.2.1", "9.2.2", "9.3.1", "9.4.1",
     "9.5.1", "9.7.1", "9.8.1", "10.*", "12.1.1", "12.1.5", "13.1.1"'

background() {
    name=$1
    shift
    "$@" >"$name.log" 2>&1 &
    pids="$pids $!"
}

accepts() {
    python3 -c 'import socket, sys, time
for _ in range(200):
    try:
        sys.exit(socket.create_connection(("127.0.0.1", int(sys.argv[1]))).close())
    except OSError:
        time.sleep(0.1)
sys.exit(f"nobody listens on port {sys.argv[1]}")' "$1"
}

fuzzing_server() {
    cat >"$1.json" <<JSON
{"url": "ws://127.0.0.1:$2", "outdir": "./$1", "cases": [$3], "exclude-cases": [], "exclude-agent-cases": {}}
JSON
    background "$1" "$wstest" -m fuzzingserver --webport 0 -s "$1.json"
    accepts "$2"
}

fuzzing_client() {
    cat >"$1.json" <<JSON
{"outdir": "./$1", "servers": [{"agent": "echo", "url": "ws://127.0.0.1:$2"}], "cases": [$3], "exclude-cases": [],
 "exclude-agent-cases": {}}
JSON
    "$wstest" -m fuzzingclient -s "$1.json" >"$1.log" 2>&1
}

relay() {
    cat >relais.conf <<CONF
ServerRoot $out
PidFile $out/pid
ErrorLog $out/error.log
ServerName autobahn.example
LoadModule proxy_module x
LoadModule proxy_http_module x
Listen 127.0.0.1:$1
CustomLog $out/access.log "%{tunnel-end}x %{tunnel-close-code}x %{tunnel-violations-in}x %{tunnel-violations-out}x"
ProxyPass / ws://127.0.0.1:$2/
CONF
    background relais "$relais" -f "$out/relais.conf" -DFOREGROUND
    accepts "$1"
}

server() {
    origin=$(free) port=$(free)
    background echo "$wstest" -m echoserver --webport 0 -w "ws://127.0.0.1:$origin"
    accepts "$origin"
    relay "$port" "$origin"
    fuzzing_client "server-direct-$1" "$origin" "$2"
    fuzzing_client "server-relais-$1" "$port" "$2"
}

client() {
    direct=$(free) origin=$(free) port=$(free)
    fuzzing_server "client-direct-$1" "$direct" "$2"
    fuzzing_server "client-relais-$1" "$origin" "$2"
    relay "$port" "$origin"
    "$wstest" -m testeeclient -w "ws://127.0.0.1:$direct" >"testee-direct-$1.log" 2>&1
    "$wstest" -m testeeclient -w "ws://127.0.0.1:$port" >"testee-relais-$1.log" 2>&1
}

# Some cases wait for fractions of a second. What differs is asked again, alone, so that a busy machine is no difference.
failed=
for direction in server client; do
    cases=$all
    for round in 1 2 3; do
        "$direction" "$round" "$cases"
        stop
        if python3 "$here/compare.py" "$out" "$direction" "$round" "$here/expected-$direction.tsv" $write; then
            cases=
            break
        fi
        cases=$(cat "$direction-again")
    done
    failed=$failed$cases
done
[ -z "$failed" ]
