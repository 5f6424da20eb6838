#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# tests/takeover.sh GUEST [TIMES (20)]: stackmap-httpd is replaced by another one, TIMES times, under load. Prints TAP.
#
# stackmap.ko is loaded in GUEST, nobody owns eth0 or has port 8080. Kept connections go on, new ones are accepted, a
# response that is half sent is sent to its end, and a request that has half come is answered: by the new process.
set -uo pipefail
cd "$(dirname "$0")/.." || exit 1
guest=${1:?which guest?} times=${2:-20}
addr=$(vm/guest addr "$guest" 8080)
tmp=$(mktemp -d) failed=0

inside() { vm/guest exec "$guest" --timeout "${2:-30}" -- "$1"; }
outside() { vm/guest host "$guest" -- timeout 400 "$@"; }
ok() { # NAME: the status of the command before is the result
  if (($? == 0)); then echo "ok - $1"; else echo "not ok - $1"; failed=1; fi
}
# Server N has ended, within 10 s (or is a zombie, which is init's affair)
ended() {
  inside "for j in {1..100}; do grep -q '^State:.[^ZX]' /proc/\$(cat /tmp/pid.$1)/status 2>/dev/null || exit 0; sleep 0.1; done; exit 1"
}
cleanup() {
  inside 'pidof stackmap-httpd >/dev/null && kill -KILL $(pidof stackmap-httpd)' >/dev/null 2>&1
  rm -rf "$tmp"
}
trap cleanup EXIT
driver=$(inside "ethtool -i eth0 | sed -n 's/driver: //p'")
queues=$(inside 'ls -d /sys/class/net/eth0/queues/rx-* | wc -l')
options="-q 0-$((queues - 1)) --root /tmp/www --takeover /tmp/takeover"

# start N [OPTION...]: one more, in the background; returns when it serves
start() {
  inside "setsid stackmap-httpd $options ${*:2} >/tmp/httpd.$1 2>&1 </dev/null & echo \$! >/tmp/pid.$1
    for i in {1..200}; do grep -q http:// /tmp/httpd.$1 && exit; [ -d /proc/\$(cat /tmp/pid.$1) ] || break; sleep 0.1; done; cat /tmp/httpd.$1; exit 1" 40
}
inside 'rm -rf /tmp/www /tmp/takeover /tmp/httpd.* /tmp/pid.*; mkdir -p /tmp/www; echo hello >/tmp/www/small; head -c 20000000 /dev/urandom >/tmp/www/large
  sha256sum </tmp/www/large >/tmp/sum' 60
start 0
ok "$driver: a server starts that may be taken over"

# Under load: kept connections (wrk tells of errors only if there are any), new ones, and slow readers of something large
outside bash -c "while [[ ! -e $tmp/stop ]]; do wrk -t 1 -c 16 -d 4 'http://$addr/small'; done" >"$tmp/wrk" 2>&1 &
wrk=$!
outside bash -c "n=0; while [[ ! -e $tmp/stop ]]; do [[ \$(curl -s --max-time 20 'http://$addr/small') == hello ]] && ((++n)) || echo lost; done; echo \$n" >"$tmp/new" 2>&1 &
new=$!
for i in 1 2; do
  outside curl -s --max-time 110 --limit-rate 1M "http://$addr/large" 2>/dev/null | sha256sum >"$tmp/large.$i" &
  large[i]=$!
done
# Requests that come in parts, with takeovers in between
outside bash -c "exec 3<>/dev/tcp/${addr/://}; printf GE >&3; sleep 3; printf 'T /sm' >&3; sleep 3; printf 'all HTTP/1.1\r\nHo' >&3; sleep 3
  printf 'st: x\r\nConnection: close\r\n\r\n' >&3; cat <&3" >"$tmp/parts" 2>&1 &
parts=$!
outside bash -c "exec 3<>/dev/tcp/${addr/://}; printf 'GET /small HTTP/1.1\r\nHost: x\r\nContent-Length: 8\r\n\r\n1234' >&3; sleep 4
  printf '5678GET /small HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r' >&3; sleep 4; printf '\n' >&3; cat <&3" >"$tmp/body" 2>&1 &
body=$!
sleep 1
bad=0
for ((i = 1; i <= times; i++)); do
  start "$i" || { bad=$((bad + 1)); break; }
  # The one before has ended, and by itself
  ended $((i - 1)) || { bad=$((bad + 1)); echo "# the one before has not ended"; }
  inside "grep -q 'requests on' /tmp/httpd.$((i - 1)) && [ \$(wc -l </tmp/httpd.$((i - 1))) -le 3 ]" ||
    { bad=$((bad + 1)); inside "cat /tmp/httpd.$((i - 1))"; }
  sleep 0.7
done
((!bad))
ok "$driver: taken over $((i - 1)) times"
wait "$parts" "$body"
touch "$tmp/stop"
wait "$wrk"
grep -q 'Requests/sec' "$tmp/wrk" && ! grep -q 'Socket errors\|Non-2xx' "$tmp/wrk"
ok "$driver: 16 connections go on: $(awk '/ requests in / { n += $1 } END { print n }' "$tmp/wrk") requests, none lost"
grep 'Socket errors\|Non-2xx' "$tmp/wrk" | sed 's/^/# /'
wait "$new"
[[ $(<"$tmp/new") =~ ^[0-9]+$ ]] && (($(<"$tmp/new") > times))
ok "$driver: new connections: $(tail -n 1 "$tmp/new"), none lost"
grep -q '^HTTP/1.1 200 OK' "$tmp/parts" && grep -q '^hello' "$tmp/parts"
ok "$driver: a request that came in parts, to several servers, is answered"
[[ $(grep -c '^HTTP/1.1 200 OK' "$tmp/body") == 2 && $(grep -c '^hello' "$tmp/body") == 2 ]]
ok "$driver: one with a body in parts, and the one behind it, too"
[[ $(grep -c '^hello' "$tmp/body") == 2 ]] || sed 's/^/# /' "$tmp/body"
for i in 1 2; do wait "${large[i]}"; done
[[ $(sort -u "$tmp"/large.* "$tmp/large.1" | wc -l) == 1 && $(<"$tmp/large.1") == "$(inside 'cat /tmp/sum')" ]]
ok "$driver: responses that were being sent arrive to the byte"
inside 'stackmap stats --json' | jq -e '[.ports[] | .stats.frames_user == .rx_ring_slots + .tx_ring_slots + .extra_bufs] | all' >/dev/null
ok "$driver: no buffer is lost"
inside "stackmap-httpd -i eth0 -q 0 --binary --size 5 --takeover /tmp/takeover; [ \$? = 1 ]" 2>&1 | grep -q 'has another --interface, --queue or'
ok "$driver: another kind of server is told so"
[[ $(outside curl -s --max-time 20 "http://$addr/small") == hello ]]
ok "$driver: and nothing has changed"
inside "kill \$(cat /tmp/pid.$times)"
ended "$times"
ok "$driver: the last one ends as ever"
[[ ! $(inside 'ls /tmp/takeover 2>/dev/null') ]]
ok "$driver: and takes its socket with it"

# Large responses from the server's own memory (stackmap_memory_add()): what is queued of them goes over
size=3000000 options="-q 0-$((queues - 1)) --size $size --takeover /tmp/takeover"
start bulk0
for i in 1 2; do
  outside bash -c "curl -s --max-time 60 --limit-rate 500K 'http://$addr/' | tr -d x | wc -c; curl -s --max-time 20 'http://$addr/' | wc -c" >"$tmp/bulk.$i" &
  bulk[i]=$!
done
sleep 2
start bulk1 && ended bulk0 && sleep 1 && start bulk2 && ended bulk1
ok "$driver: a server of large responses is taken over, twice"
for i in 1 2; do wait "${bulk[i]}"; done
outside curl -s --max-time 60 --limit-rate 900K "http://$addr/" | wc -c >"$tmp/whole" &
whole=$!
sleep 1
start bulk3 && ended bulk2
wait "$whole"
[[ $(<"$tmp/whole") == "$size" && $(echo $(<"$tmp/bulk.1")) == "0 $size" && $(echo $(<"$tmp/bulk.2")) == "0 $size" ]]
ok "$driver: and its responses arrive whole"
((!failed)) || head "$tmp/whole" "$tmp"/bulk.*
inside 'kill $(cat /tmp/pid.bulk3)'
ended bulk3
exit $failed
