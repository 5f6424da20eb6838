#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# tests/apps.sh GUEST [KILLS (20)]: Debian's redis, memcached, nginx and haproxy under `stackmap run`. Prints TAP.
#
# With two queues: those of them that have threads or processes, and nothing else. GUEST has what scripts/stage-apps lays out; stackmap.ko is loaded, and nobody owns eth0.
set -uo pipefail
cd "$(dirname "$0")/.." || exit 1
guest=${1:?which guest?} kills=${2:-20}
# shellcheck source=tests/apps-lib.sh
. tests/apps-lib.sh

# ------------------------------------------------------------------- two queues
# Whether both ports have had something since they were opened
both() { inside 'stackmap stats --json' | jq -e '[.ports[].stats.rx_slots > 10] | length == 2 and all' >/dev/null; }
both_slots() { inside 'stackmap stats --json' | jq '[.ports[].stats.rx_slots] | add'; }
if inside '[ -e /sys/class/net/eth0/queues/rx-1 ]'; then
  start "stackmap run --trace -- memcached -u nobody -t 2 -l 0.0.0.0 -p 8080 -m 64"
  load --protocol memcached --connections 64 && both
  ok 'memcached: a port for each of two threads'
  stop
  start "stackmap run --trace -- bench-nginx --size 64 --workers 2"
  min=20 load --connections 64 && both
  ok 'nginx: a port for each of two workers'
  # New workers get the ports that the old ones give up as they end
  host build/bench-load --seconds 4 --warmup 0 --connections 16 --per-connection 10.77.0.2 8080 >"$tmp/load" & load=$!
  sleep 1
  inside 'kill -HUP $(cat /tmp/app.pid)'
  wait $load
  awk '{ print; exit $8 > 0 || $2 < 20 }' "$tmp/load"
  ok 'nginx: no request fails as it loads its configuration anew'
  sleep 1
  min=20 load --connections 64
  ok 'nginx: and it serves with new workers'
  stop
  # Another nginx in place of this one. It gives a new one of its environment only what it is told to (man 7 stackmap-preload)
  inside "sed -i '1i env LD_PRELOAD;env STACKMAP_PORTS;env STACKMAP_LOCK;env STACKMAP_SPIN;env STACKMAP_TRACE;' /root/nginx.conf"
  start "stackmap run --trace -- bench-nginx --size 64 --workers 2"
  host build/bench-load --seconds 6 --warmup 0 --connections 16 --per-connection 10.77.0.2 8080 >"$tmp/load" & load=$!
  sleep 1
  inside 'cd /tmp/nginx && old=$(cat /tmp/app.pid) && kill -USR2 $old || exit 1
    for i in {1..100}; do [ -s nginx.pid.oldbin ] && [ -s nginx.pid ] && break; sleep 0.1; done
    cat nginx.pid >/tmp/app.pid; kill -QUIT $old; for i in {1..100}; do kill -0 $old 2>/dev/null || exit 0; sleep 0.1; done; exit 1'
  ok 'nginx: another one takes its place'
  wait $load
  awk '{ print; exit $8 > 0 || $2 < 20 }' "$tmp/load"
  ok 'nginx: no request fails meanwhile'
  sleep 1
  before=$(both_slots)
  min=20 load --connections 64 && (($(both_slots) > before + 50))
  ok 'nginx: the new one serves over the ports of the old one'
  stop
  start "stackmap run --queues 1 -- memcached -u nobody -t 2 -l 0.0.0.0 -p 8080 -m 64"
  load --protocol memcached --connections 64 && [[ $(inside 'stackmap list | wc -l') = 1 ]]
  ok 'memcached: one port for two threads'
  stop
  exit $failed
fi

# ------------------------------------------------------------------------ redis
redis="redis-server --save '' --protected-mode no --bind 0.0.0.0 --port 8080"
start "stackmap run --trace -- $redis"
ok 'redis starts'
load --protocol redis --connections 64 && delivered 100
ok 'redis: 64 connections, over the port'
load --protocol redis --connections 16 --pipeline 16
ok 'redis: requests one behind the other'
min=20 load --protocol redis --connections 8 --size 60000
ok 'redis: values of 60 000 bytes'
# A stream of commands that comes in pieces of any size, and the answers to all
host bash -c 'exec 3<>/dev/tcp/10.77.0.2/8080
  for i in {1..2000}; do printf "*3\r\n\$3\r\nSET\r\n\$4\r\nkey%d\r\n\$6\r\nval%03d\r\n" $((i % 10)) $((i % 1000)); done >&3
  printf "*1\r\n\$4\r\nQUIT\r\n" >&3; cat <&3' >"$tmp/answers"
[[ $(grep -c '^+OK' "$tmp/answers") = 2001 ]]
ok 'redis: 2000 commands in one go, and the end of the connection'
# It forks, and its clients are served meanwhile and afterwards
host bash -c 'exec 3<>/dev/tcp/10.77.0.2/8080; printf "SAVE\r\nBGSAVE\r\nPING\r\nSET a b\r\nGET a\r\n" >&3
  sleep 1; printf "PING\r\nQUIT\r\n" >&3; cat <&3' >"$tmp/answers"
[[ $(tr -d '\r' <"$tmp/answers" | grep -c '^+PONG$\|^b$') = 3 ]]
ok 'redis: a client lives through a fork'
load --protocol redis --connections 64 && inside 'grep -q "fork()" /tmp/app.log'
ok 'redis: and all are served after it'
# Somebody who asks for a lot and never reads
before=$(rss)
host bash -c 'exec 3<>/dev/tcp/10.77.0.2/8080; printf "SET big %060000d\r\n" 1 >&3
  timeout 3 awk "BEGIN { for (i = 0; i < 3000; i++) printf \"GET big\\r\\n\" }" >&3; sleep 1' >"$tmp/never" 2>&1
load --protocol redis --connections 8
ok 'redis: others are served next to a client that never reads'
# Its interface goes away under it, and comes back: it is an ordinary redis then, for whoever is connected, too
host bash -c 'exec 3<>/dev/tcp/10.77.0.2/8080; printf "SET a was\r\n" >&3; read -r -u 3; touch "$1/connected"
  for i in {1..300}; do [[ ! -e $1/gone ]] || break; sleep 0.1; done
  printf "GET a\r\nPING\r\nQUIT\r\n" >&3; cat <&3' - "$tmp" >"$tmp/answers" & client=$!
for ((i = 0; i < 100; i++)); do [[ ! -e $tmp/connected ]] || break; sleep 0.1; done
inside 'stackmap unbind eth0 && stackmap bind eth0'
touch "$tmp/gone"
wait $client
[[ $(tr -d '\r' <"$tmp/answers" | tr '\n' ' ') = '$3 was +PONG +OK ' ]] && load --protocol redis --connections 16 &&
  inside 'grep -q "a port no more" /tmp/app.log && ! stackmap list | grep .'
ok 'redis: goes on when its interface goes away and comes back'
stop
ok 'redis ends'
inside 'stackmap list | grep -q . && exit 1; grep -i "error\|assert\|bug\|crash" /tmp/app.log && exit 1; exit 0'
ok 'redis: no port is left, and its log has no complaint'

# -------------------------------------------------------------------- memcached
start "stackmap run --trace -- memcached -u nobody -t 1 -l 0.0.0.0 -p 8080 -m 64"
ok 'memcached starts, as another user'
load --protocol memcached --connections 64 && delivered 100
ok 'memcached: 64 connections, over the port'
min=5 load --protocol memcached --connections 8 --size 500000
ok 'memcached: values of 500 000 bytes'
# A client that sends and never reads: memcached's own buffers, and not those below it, are what grows
before=$(rss)
host bash -c 'exec 3<>/dev/tcp/10.77.0.2/8080
  timeout 3 awk "BEGIN { for (i = 0; i < 2000000; i++) printf \"get key\\r\\n\" }" >&3' >"$tmp/never" 2>&1
after=$(rss)
((after - before < 8192))
ok "memcached: a client that never reads makes it grow by $((after - before)) KB"
load --protocol memcached --connections 16
ok 'memcached: and others are served'
stop
ok 'memcached ends'

# ------------------------------------------------------------------------ nginx
start "stackmap run --trace -- bench-nginx --size 64"
ok 'nginx starts, from a shell script'
load --connections 64 && delivered 100
ok 'nginx: 64 connections to a worker, over the port'
min=20 load --connections 16 --per-connection
ok 'nginx: a connection for each request'
stop
start "stackmap run --trace -- bench-nginx --size 200000"
min=10 load --connections 16 --size 200000
ok 'nginx: files by sendfile()'
host curl -s --max-time 20 http://10.77.0.2:8080/ | tr -d x >"$tmp/page"
[[ ! -s $tmp/page && $(host curl -s --max-time 20 http://10.77.0.2:8080/ | wc -c) = 200000 ]]
ok 'nginx: every byte of one'
stop
ok 'nginx ends'

# ---------------------------------------------------------------------- haproxy
# (Debian's has CMPXCHG16B, which the guest of an old QEMU has not: vm/README.md)
behind_haproxy() {
  inside 'cat >/tmp/haproxy.cfg <<END
defaults
  mode http
  timeout connect 5s
  timeout client 30s
  timeout server 30s
frontend f
  bind :8080
  default_backend b
backend b
  server s 127.0.0.1:8081
END
bench-nginx --size 64 --port 8081 >/tmp/back.log 2>&1 </dev/null & echo $! >/tmp/back.pid
for i in {1..100}; do ss -Hltn "sport = 8081" | grep -q . && exit; sleep 0.1; done; exit 1'
  ok 'nginx as the server behind haproxy'
  start "stackmap run --trace -- haproxy -f /tmp/haproxy.cfg"
  ok 'haproxy starts'
  load --connections 64 && delivered 100
  ok 'haproxy: 64 connections, over the port'
  min=20 load --connections 16 --per-connection
  ok 'haproxy: a connection for each request'
  [[ $(host curl -s --max-time 20 http://10.77.0.2:8080/ | tr -dc x | wc -c) = 64 ]]
  ok 'haproxy: what comes through it is what the server has'
  stop
  inside 'kill $(cat /tmp/back.pid)'
  ok 'haproxy ends'
}
if inside 'grep -qw cx16 /proc/cpuinfo'; then behind_haproxy; else echo 'ok - haproxy # SKIP no CMPXCHG16B'; fi

# --------------------------------------------------- ports from who has the rights
# As systemd would (stackmap-ports.socket), for a user without any: it becomes one before it asks
nobody='stackmap run --nic lo --user nobody -- stackmap run --nic eth0 --from /tmp/ports --trace --'
inside 'listen /tmp/ports 666 stackmap ports --nic eth0 >/tmp/listen.log 2>&1 </dev/null & echo $! >/tmp/listen.pid; sleep 0.5'
start "$nobody $redis"
load --protocol redis --connections 16 && delivered 50
ok 'redis without privileges has its port from a socket'
[[ $(inside 'p=$(cat /tmp/app.pid); sed -n "s/^CapEff:[[:space:]]*//p; s/^Uid:[[:space:]]*\([0-9]*\).*/\1/p" /proc/$p/status; stackmap list | grep -cw "$p"') = $'65534\n0000000000000000\n1' ]]
ok 'and is the one that has it, as stackmap list says'
stop
inside 'stackmap list | grep -q . && exit 1; exit 0'
ok 'when it has ended nobody has it'
inside "$nobody true" >"$tmp/true" 2>&1 && inside "stackmap run --nic lo --from /tmp/ports -- true" >"$tmp/other" 2>&1
grep -q 'run: lo is not offered here: the program runs without' "$tmp/other"
ok 'a NIC that is not offered is refused, in one line'
inside 'kill $(cat /tmp/listen.pid); chmod 600 /tmp/ports; stackmap run --nic eth0 --from /tmp/ports -- true' >"$tmp/gone" 2>&1
grep -q '/tmp/ports: Connection refused: the program runs without' "$tmp/gone"
ok 'nobody listens: the program runs as ever, and one line says so'
inside 'stackmap ports </dev/null' >"$tmp/no" 2>&1
[[ $(grep -c 'standard input is no UNIX socket' "$tmp/no") = 1 ]]
ok 'stackmap ports for nobody'

# ------------------------------------------------------------- without a port
inside 'stackmap-httpd -i eth0 -p 8081 >/tmp/httpd.log 2>&1 </dev/null & echo $! >/tmp/httpd.pid; sleep 1'
start "stackmap run --trace -- $redis"
load --protocol redis --connections 16 && [[ $(inside 'grep -c "runs without" /tmp/app.log') = 1 ]]
ok 'the queue is taken: redis runs as ever, and one line says so'
stop
inside 'kill $(cat /tmp/httpd.pid); sleep 0.5; stackmap run -- sh -c "exit 7"; [ $? = 7 ] && ! stackmap run -- /no/such 2>/dev/null'
ok 'a program ends as it ends'

# ------------------------------------------------------------- killed meanwhile
lost=0 rounds=0
for ((i = 0; i < kills; i++)); do
  rm -f "$tmp/loaded"
  start "stackmap run -- killed server 8080 /tmp/counts" || break
  host build/tests/preload/killed client 10.77.0.2 8080 16 "$tmp/loaded" >"$tmp/got" 2>"$tmp/client" & client=$!
  for ((j = 0; j < 200; j++)); do [[ ! -e $tmp/loaded ]] || break; sleep 0.05; done
  inside 'kill -9 $(cat /tmp/app.pid); od -An -v -t u8 -w8 -N 128 /tmp/counts' >"$tmp/counts"
  wait $client || break
  paste "$tmp/counts" "$tmp/got" | awk '$2 < $1 { print; bad = 1 } END { exit bad || NR != 16 }' >"$tmp/differ" || lost=$((lost + 1))
  rounds=$((rounds + 1))
done
[[ $rounds = "$kills" && $lost = 0 ]]
ok "killed in the middle of answers, $rounds times: what write() had returned for has come"
exit $failed
