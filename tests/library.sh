#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# tests/library.sh GUEST: the library and its example, apps/echo.c, on the real module. Prints TAP.
#
# stackmap.ko is loaded in GUEST, nobody owns eth0 or has port 7.
set -uo pipefail
cd "$(dirname "$0")/.." || exit 1
guest=${1:?which guest?}
failed=0

inside() { vm/guest exec "$guest" --timeout "${2:-60}" -- "$1"; }
ok() { # NAME: the status of the command before is the result
  if (($? == 0)); then echo "ok - $1"; else echo "not ok - $1"; failed=1; fi
}

make -s build/tests/library build/echo
vm/guest put "$guest" build/tests/library /root/library
vm/guest put "$guest" build/echo /root/echo
inside ./library 900 || failed=1

# clients are shells; what one sends must come back
inside 'cat >/root/client <<"END"
# client N: opens N connections, echoes a line on the last, and closes all when it is told to by a line
for ((i = 0; i < $1; i++)); do exec {fd[i]}<>/dev/tcp/127.0.0.1/7 || exit 1; done
echo hello >&${fd[i - 1]}
IFS= read -r -t "$2" line <&${fd[i - 1]} && echo "$line"
[ "$1" = 1 ] || sleep "$3"
END'
start() { # LIMIT of descriptors
  inside "ulimit -n $1; cd /root; setsid ./echo >/tmp/echo.log 2>&1 </dev/null & echo \$! >/tmp/echo.pid
    for i in {1..50}; do ss -Hltn 'sport = 7' | grep -q . && exit; sleep 0.2; done; cat /tmp/echo.log; exit 1"
}

start 16
ok 'echo starts'
[[ $(inside 'bash /root/client 1 10') == hello ]]
ok 'echo answers'
# 30 connections, 16 descriptors
inside 'bash /root/client 30 1 14 >/dev/null & sleep 4
  ticks() { awk "{ print \$14 + \$15 }" /proc/$(cat /tmp/echo.pid)/stat; }
  before=$(ticks); sleep 5; after=$(ticks) || exit; echo "# $((after - before)) of 500 ticks"; ((after - before < 250))'
ok 'echo does not spin without descriptors'
[[ $(inside 'sleep 8; bash /root/client 1 20') == hello ]]
ok 'echo answers again when there are descriptors'

# it closes first, so that connections are in TIME_WAIT on its side
inside 'bash /root/client 2 5 5 >/dev/null & sleep 3; kill $(cat /tmp/echo.pid); wait
  ss -Htn state time-wait "sport = 7" | grep -q .'
ok 'a connection is in TIME_WAIT'
start 64
ok 'echo starts again'
inside 'ss -K -ltn "sport = 7" >/dev/null; for i in {1..50}; do [ -d /proc/$(cat /tmp/echo.pid) ] || exit 0; sleep 0.2; done; exit 1'
inside 'cat /tmp/echo.log; grep -q "the listener is gone" /tmp/echo.log'
ok 'echo says that its listener was destroyed'
inside 'kill $(cat /tmp/echo.pid) 2>/dev/null' >/dev/null 2>&1
exit $failed
