#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# tests/zerocopy.sh: on the module's own NIC driver no payload of large requests and responses is copied. Prints TAP.
#
#   tests/zerocopy.sh GUEST     a running guest whose eth0 was given to the module (stackmap bind)
set -euo pipefail
cd "$(dirname "$0")/.."
guest=${1:?which guest?}
url=http://$(vm/guest addr "$guest" 8080)/
body=$(mktemp)
trap 'rm -f "$body"; vm/guest exec "$guest" -- "kill \$(cat /tmp/zc.pid)" || true' EXIT
head -c 900000 /dev/urandom >"$body"

counter() { vm/guest exec "$guest" -- "stackmap stats" | awk -v name="$1" '$1 == name { print $2 }'; }
post() { vm/guest host "$guest" -- curl -s -o /dev/null --max-time 10 --data-binary "@$body" "$url"; }
result() { if ((status)); then echo "not ok - $1"; else echo "ok - $1"; fi; }

vm/guest exec "$guest" -- 'setsid stackmap-httpd >/tmp/zc.log 2>&1 </dev/null & echo $! >/tmp/zc.pid'
for _ in {1..50}; do
  vm/guest host "$guest" -- curl -s -o /dev/null --max-time 2 "$url" && break
  sleep 0.1
done
# The NIC's ring still holds the driver's own pages: after one turn it holds the port's buffers
ring=$(vm/guest exec "$guest" -- ethtool -g eth0 | awk '/^Current/ { now = 1 } now && $1 == "RX:" { print $2; exit }')
for ((i = 0; i < ring / 64; i++)); do post; done
copied=$(counter rx_copied_bytes) handed=$(counter rx_handed_bytes)
post
copied=$(($(counter rx_copied_bytes) - copied)) handed=$(($(counter rx_handed_bytes) - handed))
echo "# $handed bytes handed over, $copied copied"
status=$((copied != 0))
result "no payload of a 900 kB request is copied"
status=$((handed < 900000))
result "all of it is handed over"
# The other way: a response of many buffers, from memory
head -c 900000 /dev/zero | tr '\0' x >"$body"
vm/guest exec "$guest" -- 'kill $(cat /tmp/zc.pid); sleep 0.5; setsid stackmap-httpd --size 900000 >/tmp/zc.log 2>&1 </dev/null & echo $! >/tmp/zc.pid'
for _ in {1..50}; do
  vm/guest host "$guest" -- curl -s -o /dev/null --max-time 2 "$url" && break
  sleep 0.1
done
copied=$(counter tx_copied_bytes) handed=$(counter tx_handed_bytes)
vm/guest host "$guest" -- curl -s --max-time 10 "$url" | cmp - "$body" && status=0 || status=1
result "a 900 kB response arrives as it is"
copied=$(($(counter tx_copied_bytes) - copied)) handed=$(($(counter tx_handed_bytes) - handed))
echo "# $handed bytes handed over, $copied copied"
status=$((copied != 0 || handed < 900000))
result "none of it is copied"
frames=$(vm/guest exec "$guest" -- 'stackmap stats --json')
sum=$(jq '.ports[0] | .frames == (.stats | .frames_user + .frames_pool + .frames_flight + .frames_nic)' <<<"$frames")
[[ $sum == true ]] && status=0 || status=1
result "all buffers are accounted for"
