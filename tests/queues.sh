#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# tests/queues.sh GUEST: stackmap-httpd with a thread for each of two queues. Prints TAP.
#
# GUEST has two processors and a NIC of two queues (vm/guest start --cpus 2 --queues 2); stackmap.ko is loaded.
set -uo pipefail
cd "$(dirname "$0")/.." || exit 1
guest=${1:?which guest?}
url=http://$(vm/guest addr "$guest" 8080)/
failed=0

inside() { vm/guest exec "$guest" --timeout 20 -- "$1"; }
ok() { # NAME: the status of the command before is the result
  if (($? == 0)); then echo "ok - $1"; else echo "not ok - $1"; failed=1; fi
}
trap 'inside "pidof stackmap-httpd >/dev/null && kill -KILL \$(pidof stackmap-httpd)" >/dev/null 2>&1' EXIT

inside "setsid stackmap-httpd -q 0-1 --size 5000 >/tmp/q.out 2>&1 </dev/null & echo \$! >/tmp/q.pid
  for i in {1..25}; do grep -q http:// /tmp/q.out && exit; sleep 0.2; done; cat /tmp/q.out; exit 1"
ok 'a server on two queues starts'
inside "grep -q 'owns eth0 queues 0,1 .*http://' /tmp/q.out"
ok 'and names both'
inside "[ \$(stackmap list | grep -c 'eth0 queue [01] .*stackmap-httpd') = 2 ]"
ok 'each queue has its port'
inside 'stackmap-httpd -q 1-2 2>&1 | grep -q "another program owns\|no such queue\|cannot own"'
ok 'a queue that is taken says so'
# Each curl is a connection of its own, and 40 of them hash to both queues
vm/guest host "$guest" -- timeout 40 bash -c "for i in {1..40}; do curl -s --max-time 5 -d @/etc/hostname $url | wc -c; done" |
  awk '$1 != 5000 { bad = 1 } END { exit bad || NR != 40 }'
ok '40 connections are answered in full'
inside "stackmap stats --json" | jq -e '[.ports[].stats.rx_slots > 10] | length == 2 and all' >/dev/null
ok 'both threads have served'
inside 'kill $(cat /tmp/q.pid); for i in {1..25}; do [ -d /proc/$(cat /tmp/q.pid) ] || break; sleep 0.2; done
  grep -q "4[0-9] requests on 4[0-9] connections" /tmp/q.out'
ok 'SIGTERM ends all threads, and their requests are summed up'
exit $failed
