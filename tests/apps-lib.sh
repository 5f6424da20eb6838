# SPDX-License-Identifier: GPL-2.0
# tests/apps-lib.sh: sourced by tests/apps.sh and tests/profiles, which set guest: start, load, look at and stop a server there.
tmp=$(mktemp -d) failed=0
inside() { vm/guest exec "$guest" --timeout 60 -- "$1"; }
host() { vm/guest host "$guest" -- timeout 60 "$@"; }
ok() { # NAME: the status of the command before is the result
  if (($? == 0)); then
    echo "ok - $1"
  else
    echo "not ok - $1"
    { tail -n 5 "$tmp"/*; inside 'tail -n 20 /tmp/app.log; stackmap list'; } 2>/dev/null | sed 's/^/# /'
    failed=1
  fi
}
stop() { inside 'p=$(cat /tmp/app.pid) && kill -'"${1:-TERM}"' $p; for i in {1..50}; do kill -0 $p 2>/dev/null || exit 0; sleep 0.1; done; kill -9 $p'; }
trap 'stop KILL >/dev/null 2>&1; rm -rf "$tmp"' EXIT
# start COMMAND: in the background, until something listens on port 8080
start() {
  inside "mkdir -p /var/log/nginx; rm -f /tmp/app.log; setsid $1 >/tmp/app.log 2>&1 </dev/null & echo \$! >/tmp/app.pid
    for i in {1..100}; do ss -Hltn 'sport = 8080' | grep -q . && exit; sleep 0.1; done; exit 1"
}
# counter NAME: of the port
counter() { inside 'stackmap stats --json' | jq ".ports[0].stats.$1"; }
# Between two looks at a counter
delivered() { local n; n=$(counter rx_slots) && ((n > ${1:-10})); }
rss() { inside 'grep VmRSS /proc/$(cat /tmp/app.pid)/status' | awk '{ print $2 }'; }
load() { host build/bench-load --seconds 1 --warmup 0 "$@" 10.77.0.2 8080 | awk -v min="${min:-100}" '$2 < min || $8 { exit 1 }'; }
