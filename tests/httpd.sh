#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# tests/httpd.sh GUEST [HTTPD [STACKMAP]]: stackmap-httpd, seen from outside.
#
# GUEST runs (vm/guest start), stackmap.ko is loaded in it, and HTTPD and STACKMAP are the programs' paths there
# (/root/stackmap-httpd, /root/stackmap). Nobody else owns eth0, port 8080 is free. Prints TAP; takes some 30 s.
set -uo pipefail
cd "$(dirname "$0")/.." || exit 1

guest=${1:?usage: tests/httpd.sh GUEST [HTTPD [STACKMAP]]}
httpd=${2:-/root/stackmap-httpd}
stackmap=${3:-/root/stackmap}
addr=$(vm/guest addr "$guest" 8080) || exit 1
url=http://$addr
tmp=$(mktemp -d)
n=0 failed=0

inside() { vm/guest exec "$guest" --timeout 20 -- "$1"; }
outside() { vm/guest host "$guest" -- timeout 20 "$@"; }
curl_() { outside curl -s -m 10 "$@"; }
raw() { outside socat -t3 -T5 - "TCP:$addr" 2>/dev/null; } # bytes of stdin as they are; what comes back

ok() { # NAME: the status of the command before is the result
  local status=$?
  n=$((n + 1))
  if [ $status = 0 ]; then echo "ok $n - $1"; else echo "not ok $n - $1"; failed=$((failed + 1)); fi
}
is() { # GOT WANTED NAME
  [ "$1" = "$2" ]
  ok "$3"
  [ "$1" = "$2" ] || { echo "# got:    ${1:0:200}"; echo "# wanted: ${2:0:200}"; }
}
status() { curl_ -o /dev/null -w '%{http_code}' "$@"; }
statuses() { raw | tr -d '\0' | sed -n 's|^\(x*\)HTTP/1.1 \([0-9]*\).*|\2|p' | tr '\n' ' '; }

start() { # OPTION...: returns once it serves
  inside "rm -f /tmp/httpd.out; (setsid $httpd $* >/tmp/httpd.out 2>&1 </dev/null; echo status \$? >>/tmp/httpd.out) &
    for i in 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20; do
      grep -q -e http:// -e status /tmp/httpd.out && break; sleep 0.2; done; grep -q http:// /tmp/httpd.out"
}
stop() { # [SIGNAL]: leaves its exit status in $stopped
  stopped=$(inside "kill -${1:-TERM} \$(pidof ${httpd##*/}) 2>/dev/null
    for i in 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15; do grep -q status /tmp/httpd.out && break; sleep 0.2; done
    sed -n 's/^status //p' /tmp/httpd.out")
}
trap 'inside "pidof ${httpd##*/} >/dev/null && kill -KILL \$(pidof ${httpd##*/})" >/dev/null 2>&1; rm -rf "$tmp"' EXIT

inside 'modprobe stackmap && grep -q "^stackmap " /proc/modules'
ok 'modprobe stackmap, as messages say'

get=$'GET / HTTP/1.1\r\nHost: a\r\n\r\n'
last=$'GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n'

# ---- what cannot work says so
bad() { # NAME PATTERN OPTION...: exits non-zero with one line like PATTERN
  local name=$1 pattern=$2 out
  shift 2
  out=$(inside "timeout 5 $httpd $* 2>&1 </dev/null && echo succeeded")
  [ "$(grep -c . <<<"$out")" = 1 ] && grep -q -e "$pattern" <<<"$out"
  ok "$name"
}
bad 'a number that is none' '--port takes a number' --port 80x
bad 'no such option' "no option '--frob'" --frob
bad '--size and --root exclude each other' 'exclude each other' --size 1 --root /tmp
bad 'no such interface' 'no such network interface' -i nosuch0
bad 'no such queue' 'cannot own eth0 queue 4000' -q 4000
bad 'no such root' 'No such file' --root /nosuch
bad 'no such user' "no such user 'nosuch'" --user nosuch
bad 'no such group' "no such group 'nosuch'" --user nobody:nosuch
bad 'half a user' '--user takes NAME' --user nobody:
bad 'an address that is none' 'not a numeric address' --addr nosuch.invalid

# ---- from memory
start --size 64
ok 'starts, and says where it serves'
is "$(inside "grep -c 'owns eth0 queue 0.*http://' /tmp/httpd.out")" 1 'names the NIC, the queue and the URL'
bad 'a port in use' 'in use' -q 0
bad 'a queue in use' 'another program owns' -p 8099
x64=$(printf 'x%.0s' {1..64})
is "$(curl_ "$url/")" "$x64" 'GET'
if [ "$addr" = 10.77.0.2:8080 ]; then
  is "$(curl_ 'http://[fd77::2]:8080/')" "$x64" 'GET over IPv6'
fi
is "$(curl_ -I "$url/" | tr -d '\r' | sed -n '1p;s/^Content-Length: //p' | tr '\n' ' ')" 'HTTP/1.1 200 OK 64 ' 'HEAD'
is "$(curl_ -d a=b "$url/")" "$x64" 'POST'
head -c 900000 /dev/zero >"$tmp/body"
is "$(curl_ --data-binary @"$tmp/body" "$url/")" "$x64" 'POST of 900 kB, Expect: 100-continue'
is "$(curl_ -H 'Transfer-Encoding: chunked' --data-binary @"$tmp/body" "$url/")" "$x64" 'POST, chunked'
head -c 3000000 /dev/zero >"$tmp/body"
is "$(status -H 'Expect:' --data-binary @"$tmp/body" "$url/")" 413 '413 arrives although the body is under way'
is "$(status -X DELETE "$url/")" 405 '405'
is "$(status -X BREW "$url/")-$(printf 'POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip\r\n\r\n' | statuses)" '501-501 ' \
  '501: a method, a coding that nobody knows'
date=$(curl_ -D - -o /dev/null "$url/" | tr -d '\r' | sed -n 's/^Date: //p')
sleep 1.1
later=$(curl_ -D - -o /dev/null "$url/" | tr -d '\r' | sed -n 's/^Date: //p')
now=$(inside 'date -u +%s')
s1=$(date -u -d "$date" +%s) s2=$(date -u -d "$later" +%s)
[ "$s2" -gt "$s1" ] && [ $((now - s2)) -ge 0 ] && [ $((now - s2)) -le 5 ] &&
  [ "$date" = "$(LC_ALL=C date -u -d "$date" '+%a, %d %b %Y %H:%M:%S GMT')" ]
ok "Date: $date, and later another"
is "$(printf 'x\r\n\r\n' | raw | grep -c '^Date: ')" 1 'Date: with errors, too'
is "$(status "$url/$(printf 'a%.0s' {1..9000})")" 414 '414'
is "$(status -H "A: $(printf 'a%.0s' {1..20000})" "$url/")" 431 '431'
is "$(printf 'nonsense\r\n\r\n' | statuses)" '400 ' '400'
is "$(printf '%s' "$get$get$get$last" | raw | grep -c "$x64")" 4 'pipelining'
is "$({ for ((i = 0; i < 2000; i++)); do printf '%s' "$get"; done; printf '%s' "$last"; } | raw | grep -ao 'HTTP/1.1 200' |
  wc -l)" 2001 'pipelining, 2001 deep'
is "$(for ((i = 0; i < ${#last}; i++)); do printf '%s' "${last:i:1}"; sleep 0.004; done | statuses)" '200 ' \
  'a request byte by byte'
is "$(printf '%s' "$get" | statuses)" '200 ' 'a client that has sent its FIN is still answered'
is "$(printf 'GET / HTTP/1.0\r\n\r\n' | raw | tr -d '\r' | sed -n 's/^Connection: //p')" close 'HTTP/1.0'
is "$(inside "$stackmap list" | grep -c 'eth0 queue 0 .*stackmap-httpd')" 1 'stackmap list'
inside "$stackmap stats --json" | jq -e '.ports[0].stats | .rx_slots > 0 and .average_batch >= 1' >/dev/null
ok 'stackmap stats --json'
stop HUP; sleep 0.3
is "$(curl_ "$url/")" "$x64" 'SIGHUP: without a directory, nothing happens'
stop
is "$stopped" 0 'SIGTERM: exits with 0'

# ---- more than fits anywhere
start --size 20000000
is "$(curl_ "$url/" | tr -d x | wc -c)-$(curl_ "$url/" | wc -c)" 0-20000000 '20 MB from memory'
stop INT
is "$stopped" 0 'SIGINT: exits with 0'

# ---- idle connections, and too many
inside "printf '#!/bin/sh\nulimit -n 48\nexec $httpd \"\$@\"\n' >/tmp/limited && chmod +x /tmp/limited"
httpd=/tmp/limited start --idle-timeout 2 # and stop finds it by the name it has execed
outside bash -c "for i in {1..60}; do exec {fd}<>/dev/tcp/${addr%:*}/${addr#*:} || exit; done; sleep 6" 2>/dev/null &
sleep 1
is "$(curl_ "$url/")" "$x64" 'more connections than descriptors: idle ones make room'
wait $!
inside "$stackmap list" | grep -q 'sockets [01] '
ok '--idle-timeout'
stop

# accept() without a descriptor, and connections wait: it neither ends nor spins
inside "printf '#!/bin/sh\nexec $httpd \"\$@\"\n' >/tmp/limited"
httpd=/tmp/limited start --spin 0 --descriptors
limit() { inside "prlimit --pid \$(pidof ${httpd##*/}) --nofile=$1:"; }
limit "\$((\$(ls /proc/\$(pidof ${httpd##*/})/fd | wc -l) + 1))"
ok '(it may open one more)'
outside bash -c "for i in {1..5}; do exec {fd}<>/dev/tcp/${addr%:*}/${addr#*:} || exit; done; sleep 5" 2>/dev/null &
sleep 1
ticks() { inside "awk '{ print \$14 + \$15 }' /proc/\$(pidof ${httpd##*/})/stat"; }
before=$(ticks)
sleep 2
after=$(ticks)
[ $((after - before)) -le 40 ]
ok "EMFILE: it does not spin ($((after - before)) of 200 ticks)"
is "$(inside 'grep -c "Too many open files.*new ones wait" /tmp/httpd.out')" 1 'and says so'
limit 1000
wait $!
is "$(curl_ "$url/")" "$x64" 'then it serves again'
# What an administrator does to a socket in the way
if inside "ss -K state listening 'sport = :8080'" | grep -q 8080; then
  sleep 2.5
  is "$(curl_ "$url/")" "$x64" 'a listener that was shut down (ss -K) listens again'
fi
stop

# ---- another user
start --user nobody:tcpdump --size 64
ok '--user'
is "$(inside "cat /proc/\$(pidof ${httpd##*/})/task/*/status" | grep -e ^Uid -e ^Gid -e ^Groups -e ^CapEff -e ^CapPrm -e ^NoNewPrivs |
  tr -s '\t ' ' ' | tr '\n' ';')" \
  'Uid: 65534 65534 65534 65534;Gid: 100 100 100 100;Groups: 100 ;CapPrm: 0000000000000000;CapEff: 0000000000000000;NoNewPrivs: 1;' \
  'user, group, groups and capabilities are all others'
is "$(curl_ "$url/")" "$x64" 'and it serves'
sleep 0.2
is "$(curl_ "$url/")$(inside "$stackmap stats" | awk '$1 == "sleeps" { print ($2 > 0) }')" "${x64}1" 'and has slept, and serves'
stop
is "$stopped" 0 'SIGTERM: exits with 0'

# ---- files
inside 'rm -rf /tmp/www; mkdir -p /tmp/www/dir/empty; cd /tmp/www; head -c 1000000 /dev/urandom >block
  for i in 1 2 3 4 5 6 7 8 9 10; do for j in 1 2 3 4 5 6 7 8 9 10; do echo $i $j; cat block; done; done >big
  rm block; echo index >index.html; echo dir >dir/index.html; : >none; echo "a b" >"a b.txt"; ln -s /etc/passwd out; ln -s big in
  printf 0123456789 >old; touch -d "1994-11-06 08:49:37" old
  mkfifo fifo; sha256sum <big >/tmp/big.sum'
sum=$(inside 'cat /tmp/big.sum')
start --root /tmp/www
ok 'serves a directory'
is "$(curl_ "$url/")-$(curl_ "$url/dir/")" index-dir 'index.html'
is "$(curl_ -w '%{redirect_url}' "$url/dir" -o /dev/null)" "$url/dir/" 'a directory without its slash'
is "$(curl_ -w '%{redirect_url}' "$url/dir?x=1&y=%2F" -o /dev/null)" "$url/dir/?x=1&y=%2F" 'and with a query, which it keeps'
is "$(printf 'GET /dir?<"%%0d%%0a#f HTTP/1.1\r\nHost: a\r\n\r\n%s' "$last" | raw | tr -d '\r' | sed -n 's/^Location: //p')" \
  '/dir/?%3C%22%0d%0a' 'whatever is in it'
# No URL has such a byte: http-parser lets it pass, and then it is escaped; llhttp does not
[[ "$(printf 'GET /dir?\x80 HTTP/1.1\r\nHost: a\r\n\r\n%s' "$last" | raw | tr -d '\r' | sed -n '1s/^HTTP.1.1 \(...\).*/\1/p; s/^Location: //p')" =~ ^400|^301.*%80$ ]]
ok 'and a byte that no URL has is escaped, or 400'
is "$(curl_ "$url/a%20b.txt?q=1")" 'a b' 'an escaped name, a query'
is "$(curl_ -o /dev/null -w '%{content_type}' "$url/a%20b.txt")" text/plain 'Content-Type'
is "$(status "$url/none")-$(curl_ "$url/none" | wc -c)" 200-0 'an empty file'
is "$(status "$url/nosuch")-$(status "$url/dir/empty/")" 404-404 '404'
is "$(status "$url/out")-$(status "$url/fifo")" 403-403 '403: a link out of the root, no plain file'
is "$(status --path-as-is "$url/../etc/passwd")-$(status --path-as-is "$url/%2e%2e/etc/passwd")" 400-400 'a way out: 400'
is "$(status -d x "$url/index.html")" 405 'POST to a file: 405'
is "$(printf 'POST / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 9\r\n\r\n' | statuses)" '405 ' \
  'without an invitation to send the body first'
allow() { tr -d '\r' | sed -n 's/^Allow: //p'; }
is "$(curl_ -D - -o /dev/null -X DELETE "$url/" | allow)-$(curl_ -D - -o /dev/null -d x "$url/index.html" | allow)" 'GET, HEAD-GET, HEAD' \
  'one list of what is allowed'

# conditions and ranges
field() { tr -d '\r' | sed -n "s/^$1: //p"; }
etag=$(curl_ -I "$url/old" | field ETag) modified=$(curl_ -I "$url/old" | field Last-Modified)
is "$modified" 'Sun, 06 Nov 1994 08:49:37 GMT' 'Last-Modified'
case $etag in '"'*'"') true ;; *) false ;; esac
ok "ETag: $etag"
is "$(status -H "If-None-Match: $etag" "$url/old")-$(status -H "If-Modified-Since: $modified" "$url/old")" 304-304 '304'
is "$(status -H "If-None-Match: \"x\"" -H "If-Modified-Since: $modified" "$url/old")" 200 'not with another tag'
is "$(curl_ -D - -H "If-None-Match: $etag" "$url/old" | field ETag)" "$etag" '304 has the tag, and no body'
is "$(status -H "If-Match: $etag" "$url/old")-$(status -H 'If-Match: "x"' "$url/old")" 200-412 'If-Match: 412'
is "$(curl_ -r 2-4 "$url/old")-$(curl_ -r 2-4 -D - -o /dev/null "$url/old" | field Content-Range)" '234-bytes 2-4/10' 'a range'
is "$(curl_ -r -3 "$url/old")-$(curl_ -r 7- "$url/old")" 789-789 'the last bytes'
is "$(status -r 10- "$url/old")-$(curl_ -r 10- -D - -o /dev/null "$url/old" | field Content-Range)" '416-bytes */10' '416'
is "$(curl_ -r 0-0 -H "If-Range: $etag" "$url/old")-$(curl_ -r 0-0 -H 'If-Range: "x"' "$url/old")" 0-0123456789 'If-Range'
is "$(curl_ -r 0-0,5-6 "$url/old" | tr -d '\r' | sed 's/stackmap-httpd-[0-9a-f]*/B/' | tr '\n' '|')" \
  '|--B|Content-Type: application/octet-stream|Content-Range: bytes 0-0/10||0|--B|Content-Type: application/octet-stream|Content-Range: bytes 5-6/10||56|--B--|' \
  'several ranges'
is "$(curl_ -r 0-0,5-6 -D "$tmp/head" "$url/old" | wc -c)" "$(field Content-Length <"$tmp/head")" 'of which the length was told'
is "$(curl_ -r 0-49999999,60000000- "$url/big" | wc -c)" "$(curl_ -r 0-49999999,60000000- -D - -o /dev/null "$url/big" | field Content-Length)" \
  'large ones'
is "$(curl_ -r 50000000-59999999 "$url/big" | sha256sum)" "$(inside 'tail -c +50000001 /tmp/www/big | head -c 10000000 | sha256sum')" \
  'a range of 10 MB'
is "$(printf '%s' $'GET /old HTTP/1.1\r\nHost: a\r\nRange: bytes=0-0,2-2\r\n\r\nGET /old HTTP/1.1\r\nHost: a\r\n\r\n' "$last" |
  raw | grep -ao 'HTTP/1.1 [0-9]*' | cut -d' ' -f2 | tr '\n' ' ')" '206 200 200 ' 'pipelining behind ranges'
is "$(curl_ -I "$url/big" | tr -d '\r' | sed -n 's/^Content-Length: //p')" 100000420 'HEAD of a file'
outside curl -s -m 6 --limit-rate 500k "$url/big" 2>/dev/null | head -c 2000000 | sha256sum >"$tmp/slow" &
is "$(outside curl -s -m 20 "$url/big" | sha256sum)" "$sum" '100 MB, beside a slow reader'
wait $!
is "$(inside 'head -c 2000000 /tmp/www/big | sha256sum')" "$(cat "$tmp/slow")" 'the slow reader'
is "$(printf '%s' $'GET /none HTTP/1.1\r\nHost: a\r\n\r\nGET /in HTTP/1.1\r\nHost: a\r\n\r\n' "$last" | raw | tail -c 6)" \
  index 'pipelining behind a big file'
outside timeout 8 bash -c "exec 3<>/dev/tcp/${addr%:*}/${addr#*:} || exit 124; while printf 'GET /big HTTP/1.1\r\nHost: a\r\n\r\n%.0s' \
  {1..200} >&3; do :; done" 2>/dev/null
[ $? != 124 ]
ok 'a client that asks for ever and does not read is dropped'
is "$(curl_ "$url/")" index 'and others are served'
stop
is "$stopped" 0 'SIGTERM: exits with 0'

# ---- another release, another user
inside 'mkdir -p /tmp/r1 /tmp/r2; echo one >/tmp/r1/f; echo two >/tmp/r2/f; cp /tmp/r1/f /tmp/r1/secret; chmod 600 /tmp/r1/secret
  head -c 30000000 /dev/zero >/tmp/r1/zeros; ln -sfn r1 /tmp/now'
start --root /tmp/now --user nobody
is "$(curl_ "$url/f")-$(status "$url/secret")" one-403 '--user: serves what that user may read'
outside curl -s -m 15 --limit-rate 10M "$url/zeros" 2>/dev/null | wc -c >"$tmp/zeros" &
sleep 0.7
inside "ln -sfn r2 /tmp/now; kill -HUP \$(pidof ${httpd##*/})"
sleep 0.3
is "$(curl_ "$url/f")-$(status "$url/secret")" two-404 'SIGHUP: serves what has the name now'
wait $!
is "$(cat "$tmp/zeros")" 30000000 'and goes on with what it was sending'
inside "rm /tmp/now; kill -HUP \$(pidof ${httpd##*/})"
sleep 0.3
is "$(curl_ "$url/f")-$(inside 'grep -c "/tmp/now: No such file" /tmp/httpd.out')" two-1 'without one it keeps what it had'
stop
is "$stopped" 0 'SIGTERM: exits with 0'
inside 'rm -rf /tmp/r1 /tmp/r2'

is "$(inside 'cat /tmp/httpd.out' | grep -ci -e sanitizer -e 'runtime error')" 0 'no sanitizer complains'
inside 'rm -rf /tmp/www' || true

vm/guest check "$guest" >"$tmp/check" 2>&1
ok 'nothing in the kernel log'
sed 's/^/# /' "$tmp/check"
echo "1..$n"
[ $failed = 0 ]
