#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# tests/shell.sh GUEST: what a user finds in the guest of `make vm` is there, and works. Prints TAP.
#
# GUEST has what scripts/stage FLAVOUR --full lays out; nobody owns eth0 or has port 7.
set -uo pipefail
cd "$(dirname "$0")/.." || exit 1
guest=${1:?which guest?}
tmp=$(mktemp) failed=0
inside() { vm/guest exec "$guest" --timeout 60 -- "$1"; }
ok() { # NAME: the status of the command before is the result
  if (($? == 0)); then echo "ok - $1"; else echo "not ok - $1"; failed=1; sed 's/^/# /' "$tmp"; fi
}
trap 'inside "kill \$(pidof echo) 2>/dev/null" >/dev/null 2>&1; rm -f "$tmp"' EXIT

inside 'cd; echo exit | bash -i 2>&1' >"$tmp"
grep -q 'modprobe stackmap' "$tmp" && grep -q 'man 7 stackmap' "$tmp" && grep -q examples/echo.c "$tmp"
ok 'the shell greets with what there is'
# Each path and each page that the greeting names
inside "$(sed -n '/^  \//p' "$tmp" | grep -o '^  /[a-z/]*\(, /[a-z/]*\)*' | tr -d ' ' | tr ',' '\n' | sed 's/.*/[ -d & ] || echo "no &"/')
  cd /usr/local/share/doc/stackmap && ls README.md drivers.md examples/echo.c && ls /usr/local/lib/{libstackmap.{a,so},pkgconfig/libstackmap.pc} \
    /usr/local/include/stackmap/{stackmap,uapi}.h" >"$tmp" 2>&1 && ! grep -q '^no' "$tmp" && [[ $(wc -l <"$tmp") = 8 ]]
ok 'headers, library, documents and example are there'
inside 'for p in "7 stackmap" "8 stackmap" "1 stackmap-httpd" "3 stackmap_open" "3 stackmap_open_hint"; do
    set -- $p; man "$@" | grep -c "${p#* }" | grep -q -v "^0$" || echo "no $p"; done
  apropos stackmap_sync | grep -q "^stackmap_sync" || echo "no apropos"; cd /usr/local/share/man; ls man*/* | wc -l' >"$tmp" 2>&1
[[ $(cat "$tmp") = "$(ls man/*.[1378] | wc -l)" ]]
ok 'man shows the pages'
inside 'grep -q "^stackmap " /proc/modules || modprobe stackmap; stackmap doctor eth0' >"$tmp" 2>&1 && grep -q '^ready' "$tmp"
ok 'modprobe finds the module, and stackmap doctor has no complaint'
# Linked to the library that is installed
inside 'cd /usr/local/share/doc/stackmap/examples; (./echo >/tmp/echo.log 2>&1 </dev/null &)
  for i in {1..50}; do ss -Hltn "sport = 7" | grep -q . && break; sleep 0.2; done; cat /tmp/echo.log
  grep -q libstackmap.so.0 /proc/$(pidof echo)/maps && exec 3<>/dev/tcp/127.0.0.1/7 && echo hello >&3 && read -r -t 10 line <&3 && echo "$line"' >"$tmp" 2>&1
[[ $(cat "$tmp") = hello ]]
ok 'the example runs with the library, and echoes'
exit $failed
