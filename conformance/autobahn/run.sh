#!/bin/sh
# Runs the Autobahn test suite against its own echo server, once directly and once through relais, and compares the
# results with each other and with expected.tsv. Usage: run.sh RELAIS WSTEST [FOLDER]
#
# The suite runs under CPython 2.7 only: virtualenv -p python2.7 FOLDER && FOLDER/bin/pip install autobahntestsuite
set -eu
relais=$1 wstest=$2 here=$(cd "$(dirname "$0")" && pwd)
out=${3:-$(mktemp -d)}
cd "$out"
free() { python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])'; }
echo_port=$(free) relais_port=$(free)
"$wstest" -m echoserver -w "ws://127.0.0.1:$echo_port" >echo.log 2>&1 &
echo_pid=$!
cat >relais.conf <<CONF
ServerRoot $out
PidFile $out/pid
ErrorLog $out/error.log
Listen 127.0.0.1:$relais_port
ServerName autobahn.example
LoadModule proxy_module x
LoadModule proxy_http_module x
ProxyPass / ws://127.0.0.1:$echo_port/
CustomLog $out/access.log "%{tunnel-end}x %{tunnel-close-code}x %{tunnel-violations-in}x"
CONF
"$relais" -f "$out/relais.conf" -DFOREGROUND >relais.log 2>&1 &
relais_pid=$!
trap 'kill $echo_pid $relais_pid' EXIT
sleep 2
for run in "direct $echo_port" "relais $relais_port"; do
    name=${run% *} port=${run#* }
    cat >"$name.json" <<JSON
{"outdir": "./$name", "servers": [{"agent": "echo", "url": "ws://127.0.0.1:$port"}],
 "cases": ["1.*", "2.*", "3.*", "4.*", "5.*", "6.*", "7.*", "9.1.1", "9.1.2", "9.1.3", "9.2.1", "9.2.2", "9.3.1",
           "9.4.1", "9.5.1", "9.7.1", "9.8.1", "10.*", "12.1.1", "12.1.5", "13.1.1"],
 "exclude-cases": [], "exclude-agent-cases": {}}
JSON
    "$wstest" -m fuzzingclient -s "$name.json" >"$name.log" 2>&1
done
python3 "$here/compare.py" "$out" "$here/expected.tsv"
