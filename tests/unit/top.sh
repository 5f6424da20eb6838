#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# tests/unit/top.sh STACKMAP: stackmap top in terminals of several sizes, stackmap metrics by file, HTTP and promtool. TAP.
#
# STACKMAP is the command with ports that are none (fake_ports.c), so that what it has to show is known. The terminals
# are tmux's, on a server of their own.
set -uo pipefail
stackmap=${1:?which command?}
tmp=$(mktemp -d) failed=0 sock=sm-top-$$ turn=0
finish() { tmux -L "$sock" kill-server 2>/dev/null; rm -rf "$tmp"; }
trap finish EXIT
ok() { # NAME: the status of the command before is the result
  if (($? == 0)); then echo "ok - $1"; else echo "not ok - $1"; failed=1; fi
}
export LC_ALL=C.UTF-8 TERM=xterm

# ---- once

out=$(FAKE_PORTS=3 "$stackmap" top --once --delay 0.5)
[[ $(wc -l <<<"$out") == 5 && $(sed -n 1p <<<"$out") == *' 3 ports  42 sockets '* && $(sed -n 3p <<<"$out") =~ ^lo:2\  ]]
ok "top --once: a line a port, the busiest first"
# 1000 slots a second, twice as many sent; a quarter of what is received is copied, an eighth of all; half of half busy
read -r -a f <<<"$(sed -n 5p <<<"$out")"
rate() { awk -v got="$1" -v want="$2" 'BEGIN { k = substr(got, length(got)); n = got + 0; if (k == "k") n *= 1e3; if (k == "M") n *= 1e6; exit !(n > 0.9 * want && n < 1.1 * want) }'; }
[[ ${f[0]} == lo:0 && ${f[2]} == 7 && ${f[7]} == 4.0 && ${f[8]} == 25 && ${f[9]} == 12 ]] &&
  rate "${f[3]}" 1000 && rate "${f[4]}" 2000 && rate "${f[5]}" 100000 && rate "${f[6]}" 100000 && rate "${f[10]}" 1000 && rate "${f[11]}" 3000
ok "top --once: what it says is true (${f[*]})"
[[ $(FAKE_PORTS=3 "$stackmap" top -1 -d 0.1 --sort port | sed -n 3p) =~ ^lo:0\  ]]
ok "top --sort port"
[[ $("$stackmap" top -1 -d 0.1 | sed -n 1p) == *' 0 ports '* ]]
ok "top --once without ports"
complains() { # STATUS TEXT ARGUMENT...
  local status=$1 text=$2 said got
  shift 2
  said=$("$stackmap" "$@" 2>&1 >/dev/null </dev/null) && got=0 || got=$?
  [[ $got == "$status" && $said == *"$text"* && $(wc -l <<<"$said") == 1 ]]
  ok "stackmap $*: $said"
}
complains 2 'no terminal: use --once' top
complains 2 "no column 'x'" top --sort x
complains 2 "seconds from 0.1 to 3600, not '0'" top --delay 0
complains 2 "no option '-x'" top -x
complains 2 "what is 'eth0'" top eth0
FAKE_PORTS=1 FAKE_FAIL=0 complains 1 'no permission' top -1 -d 0.1

# ---- in a terminal

# screen WIDTH HEIGHT PORTS [KEY...]: what is on it half a second after the last key
screen() {
  local width=$1 height=$2 ports=$3 i
  shift 3
  tmux -L "$sock" kill-server 2>/dev/null
  # (The one before is still going)
  sock=sm-top-$$-$((++turn))
  tmux -L "$sock" -f /dev/null new-session -d -x "$width" -y "$height" \
    "FAKE_PORTS=$ports FAKE_FAIL=${fail-} $stackmap top --delay 0.3 2>$tmp/err; echo \"ended \$?\" >$tmp/status; sleep 60"
  tmux -L "$sock" set -g status off
  for ((i = 0; i < 100; i++)); do tmux -L "$sock" capture-pane -p | grep -q 'PORT  ' && break; sleep 0.1; done
  for i; do tmux -L "$sock" send-keys "$i"; sleep 0.5; done
  sleep 0.5
  tmux -L "$sock" capture-pane -p >"$tmp/screen"
}
looks() { # NAME: what the screen has to be
  local status=$?
  if ((status == 0)); then echo "ok - $1"; else echo "not ok - $1"; sed 's/^/# |/' "$tmp/screen"; failed=1; fi
}
line() { sed -n "$1p" "$tmp/screen"; }
widest() { awk '{ if (length > n) n = length } END { print n + 0 }' "$tmp/screen"; }

screen 80 24 3
[[ $(line 1) == 'stackmap top - '*' 3 ports  42 sockets'* && $(line 2) == PORT*STAL && $(line 3) == lo:2* &&
   $(line 5) == lo:0* && $(widest) -le 80 ]] && grep -q '^lo:2, .* nic virtio, 1024+1024 slots, 16.8 MB' "$tmp/screen" &&
  grep -q '^rx copied   shared [67]' "$tmp/screen" && grep -q '^syncs       half <8us  99 % <8us' "$tmp/screen"
looks "80x24: the table, and what explains the first"
screen 80 24 3 Down Down
grep -q '^lo:0, ' "$tmp/screen"
looks "80x24: another port is marked"
screen 80 24 3 p
[[ $(line 3) == lo:0* ]]
looks "80x24: sorted by port"
screen 80 24 3 p i
[[ $(line 3) == lo:2* ]]
looks "80x24: the other way round"
screen 80 24 100 NPage NPage NPage NPage NPage
[[ $(line 2) == PORT* ]] && grep -q '^lo:0 ' "$tmp/screen" && ! grep -q '^lo:99 ' "$tmp/screen"
looks "80x24: a hundred ports are gone through"
screen 200 50 30
[[ $(line 2) == PORT*SYNC99*PID && $(grep -c '^lo:[0-9]* ' "$tmp/screen") == 30 ]] && grep -q '^buffers ' "$tmp/screen"
looks "200x50: thirty ports, more to a line, and what explains one"
screen 20 5 3
[[ $(line 1) == 'stackmap top - '* && $(grep -c '^lo:' "$tmp/screen") == 3 && $(widest) -le 20 ]]
looks "20x5: cut off, not garbled"
screen 80 24 3
tmux -L "$sock" resize-window -x 120 -y 40
sleep 1
tmux -L "$sock" capture-pane -p >"$tmp/screen"
[[ $(line 2) == PORT*PID && $(line 3) == lo:2* ]]
looks "the terminal becomes larger"
tmux -L "$sock" resize-window -x 60 -y 10
sleep 1
tmux -L "$sock" capture-pane -p >"$tmp/screen"
[[ $(line 3) == lo:2* && $(widest) -le 60 ]]
looks "and smaller"
screen 80 24 0
[[ $(line 3) == 'no ports in this network namespace' ]]
looks "no ports"
rm -f "$tmp/status"
screen 80 24 2 q
[[ $(<"$tmp/status") == 'ended 0' && ! -s $tmp/err ]]
looks "q ends"
fail=1.5 screen 80 24 2
sleep 2
[[ $(<"$tmp/status") == 'ended 1' ]] && grep -q '^stackmap: no permission' "$tmp/err" && (($(wc -l <"$tmp/err") == 1))
looks "a module that goes: $(cat "$tmp/err")"
tmux -L "$sock" kill-server 2>/dev/null

# ---- metrics

FAKE_PORTS=2 "$stackmap" metrics >"$tmp/metrics"
ok "metrics: $(grep -c '^stackmap_' "$tmp/metrics") samples"
has() { grep -q "$1" "$tmp/metrics"; ok "metrics: $1"; }
has '^stackmap_port_info{interface="lo",queue="1",nic="virtio",pid="[0-9]*",program="stackmap-fake"} 1$'
has '^stackmap_sockets{interface="lo",queue="1"} 14$'
has '^stackmap_copied_bytes_total{interface="lo",queue="0",direction="rx",reason="shared"} [0-9]*$'
has '^stackmap_copied_bytes_total{interface="lo",queue="0",direction="tx",reason="no_sg"} 0$'
has '^stackmap_refused_slots_total{interface="lo",queue="0",reason="room"} '
has '^stackmap_releases_total{interface="lo",queue="0",reason="stall"} '
has '^stackmap_sync_seconds_bucket{interface="lo",queue="0",le="1.023e-06"} 0$'
has '^stackmap_batch_slots_bucket{interface="lo",queue="0",le="7"} '
# Each histogram ends with all there are, and no line comes twice
awk '/_bucket.*le="\+Inf"/ { n = $NF } /_sum/ { next } /_seconds_count|_slots_count/ { if ($NF != n) exit 1 }' "$tmp/metrics" &&
  [[ ! $(grep '^stackmap_' "$tmp/metrics" | sed 's/ [^ ]*$//' | sort | uniq -d) ]]
ok "metrics: histograms add up, and no sample is there twice"
"$stackmap" metrics | grep -q '^# TYPE stackmap_sync_seconds histogram$'
ok "metrics without ports"
promtool=$(type -P promtool || ls build/promtool/usr/bin/promtool 2>/dev/null)
if [[ ! $promtool ]]; then
  mkdir -p build/promtool
  (cd build/promtool && timeout 240 apt-get download -qq prometheus && dpkg -x prometheus_*.deb . && rm -f prometheus_*.deb) >"$tmp/log" 2>&1
  promtool=$(ls build/promtool/usr/bin/promtool 2>/dev/null)
fi
if [[ $promtool ]]; then
  said=$("$promtool" check metrics <"$tmp/metrics" 2>&1)
  ok "promtool has nothing to say${said:+, but: $said}"
else
  echo "ok - promtool # SKIP it cannot be had: $(tail -n 1 "$tmp/log")"
fi
FAKE_PORTS=2 "$stackmap" metrics --textfile "$tmp/x.prom" && [[ $(ls "$tmp" | grep -c 'x.prom') == 1 ]] && grep -q '^stackmap_sockets' "$tmp/x.prom"
ok "metrics --textfile"
complains 1 'No such file or directory' metrics --textfile /nonexistent/x.prom
complains 2 'either --textfile or --listen' metrics -t x -l 1
complains 2 "with numbers" metrics -l somewhere:80
complains 2 "with numbers" metrics -l :80

# Its own network namespace: any port is free there
if unshare -n true 2>/dev/null; then
  cat >"$tmp/http.sh" <<EOF
ip link set lo up 2>/dev/null || ifconfig lo up
FAKE_PORTS=2 $stackmap metrics --listen 9100 2>$tmp/err & pid=\$!
for i in {1..50}; do curl -s -o /dev/null http://127.0.0.1:9100/ && break; sleep 0.1; done
curl -s -i http://127.0.0.1:9100/metrics >$tmp/get
curl -s -I http://127.0.0.1:9100/metrics >$tmp/head
curl -s -i http://127.0.0.1:9100/ >$tmp/root
curl -s -i -X DELETE http://127.0.0.1:9100/metrics >$tmp/delete
printf 'nonsense\r\n\r\n' | timeout 20 bash -c 'exec 3<>/dev/tcp/127.0.0.1/9100; cat >&3; cat <&3' >$tmp/bad
# One who says nothing holds up the others for its few seconds only
timeout 30 bash -c 'exec 3<>/dev/tcp/127.0.0.1/9100; cat <&3' & sleep 0.2
timeout 20 curl -s -o /dev/null -w '%{http_code}' http://127.0.0.1:9100/metrics >$tmp/after
kill \$pid; wait \$pid; echo \$? >$tmp/end
FAKE_PORTS=1 $stackmap metrics --listen '[::1]:9101' & pid=\$!
for i in {1..50}; do curl -s 'http://[::1]:9101/metrics' >$tmp/six && break; sleep 0.1; done
kill \$pid; wait
EOF
  timeout 100 unshare -n bash "$tmp/http.sh"
  grep -q '^HTTP/1.1 200 OK' "$tmp/get" && grep -qi '^content-type: text/plain; version=0.0.4; charset=utf-8' "$tmp/get" &&
    grep -q '^stackmap_sockets{interface="lo",queue="1"} 14$' "$tmp/get"
  ok "GET /metrics"
  grep -q '^HTTP/1.1 200 OK' "$tmp/head" && ! grep -q '^stackmap_' "$tmp/head"
  ok "HEAD /metrics"
  grep -q '^HTTP/1.1 404 ' "$tmp/root" && grep -q 'at /metrics' "$tmp/root" && grep -q '^HTTP/1.1 405 ' "$tmp/delete" && grep -q '^HTTP/1.1 400 ' "$tmp/bad"
  ok "others: 404, 405, 400"
  [[ $(<"$tmp/after") == 200 && $(<"$tmp/end") == 0 && ! -s $tmp/err ]]
  ok "one who says nothing holds up nobody for long, and a signal ends it"
  grep -q '^stackmap_sockets' "$tmp/six"
  ok "over IPv6"
else
  echo "ok - metrics --listen # SKIP no network namespaces here"
fi
exit $failed
