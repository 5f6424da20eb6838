#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# tests/suspend.sh GUEST: the guest sleeps (to memory, woken by its clock), with and without an owner. Prints TAP.
#
# stackmap.ko is loaded in GUEST, nobody owns eth0 or has port 8080.
set -uo pipefail
cd "$(dirname "$0")/.." || exit 1
guest=${1:?which guest?}
addr=$(vm/guest addr "$guest" 8080)
failed=0

inside() { vm/guest exec "$guest" --timeout "${2:-20}" -- "$1"; }
outside() { vm/guest host "$guest" -- timeout 30 "$@"; }
ok() { # NAME: the status of the command before is the result
  if (($? == 0)); then echo "ok - $1"; else echo "not ok - $1"; failed=1; fi
}
# The host's clock decides how long; 60 s are for a guest that does not wake up
suspend() {
  inside 'rtc=/sys/class/rtc/rtc0/wakealarm; echo 0 >$rtc; echo +3 >$rtc
    before=$(cat /sys/power/suspend_stats/success); echo mem >/sys/power/state
    [ $(cat /sys/power/suspend_stats/success) -gt $before ]' 60
}
trap 'inside "pidof stackmap-httpd >/dev/null && kill -KILL \$(pidof stackmap-httpd)" >/dev/null 2>&1' EXIT

inside 'grep -q mem /sys/power/state && [ -e /sys/class/rtc/rtc0/wakealarm ]' || { echo 'ok - suspend # SKIP the guest cannot'; exit; }
driver=$(inside "ethtool -i eth0 | sed -n 's/driver: //p'")

suspend
ok "$driver: the guest sleeps and wakes up"
outside ping -q -n -c 5 -i 0.2 -W 2 -w 10 "${addr%:*}" | grep -q ' 0% packet loss'
ok "$driver: ping works afterwards"

queues=$(inside 'ls -d /sys/class/net/eth0/queues/rx-* | wc -l')
inside "setsid stackmap-httpd -q 0-$((queues - 1)) --spin always --size 20000000 >/tmp/s.out 2>&1 </dev/null & echo \$! >/tmp/s.pid
  for i in {1..25}; do grep -q http:// /tmp/s.out && exit; sleep 0.2; done; cat /tmp/s.out; exit 1"
ok "$driver: a server starts"
# 20 MB, more than go by before the guest sleeps
rest=$(mktemp)
outside curl -s --max-time 25 --limit-rate 3M "http://$addr/" | wc -c >"$rest" &
sleep 1
suspend
ok "$driver: the guest sleeps with an owner, and wakes up"
wait $!
[[ $(<"$rest") == 20000000 ]]
ok "$driver: a connection goes on"
[[ $(outside curl -s --max-time 10 "http://$addr/" | wc -c) == 20000000 ]]
ok "$driver: the owner serves others, too"
inside "stackmap stats --json" | jq -e '[.ports[] | .frames == (.stats | .frames_user + .frames_pool + .frames_flight + .frames_nic)] | all' >/dev/null
ok "$driver: no buffer is lost"
# An owner that has no processor just then has lost the NIC before (stall): so it sleeps again, thrice at most
for _ in 1 2 3; do
  inside "stackmap stats --json" | jq -e '[.ports[].detail.released.suspend] | add > 0' >/dev/null && break
  suspend
done
inside "stackmap stats --json" | jq -e '[.ports[].detail.released.suspend] | add > 0' >/dev/null
ok "$driver: it is counted that the machine's sleep took the NIC"
inside 'kill $(cat /tmp/s.pid); for i in {1..25}; do [ -d /proc/$(cat /tmp/s.pid) ] || break; sleep 0.2; done
  grep -q "requests on" /tmp/s.out'
ok "$driver: the owner ends as ever"
rm -f "$rest"
exit $failed
