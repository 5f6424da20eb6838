#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# tests/install.sh: make, make install and make uninstall as a new user meets them. Prints TAP; needs no guest.
#
#   tests/install.sh [KERNEL (cloud)]      for the kernel that vm/kernel unpacks; nothing is put in this system
#
# Everything goes below a DESTDIR. What is installed is compared with a list, used as its users do (pkg-config, man, modinfo,
# a C and a C++ compiler), and taken out again.
set -uo pipefail
cd "$(dirname "$0")/.." || exit 1
eval "$(vm/kernel "${1:-cloud}")" || exit 1
tmp=$(mktemp -d) dest=$(mktemp -d) n=0 failed=0
trap 'rm -rf "$tmp" "$dest"' EXIT

ok() { # NAME: the status of the command before is the result
  local status=$?
  n=$((n + 1))
  if [ $status = 0 ]; then echo "ok $n - $1"; else echo "not ok $n - $1"; failed=$((failed + 1)); fi
}
is() { # GOT WANTED NAME
  [ "$1" = "$2" ]
  ok "$3"
  [ "$1" = "$2" ] || diff <(echo "$2") <(echo "$1") | sed 's/^/# /'
}
run() { make --no-print-directory O="$tmp/build" KBUILD="$KERNEL_BUILD" KVERSION="$KERNEL_RELEASE" DESTDIR="$dest" "$@"; }
version=$(sed -n 's/.*VERSION "\(.*\)"$/\1/p' include/stackmap_version.h)

# ---- what is missing is said in a line, and nothing was copied or compiled before
lines() { # PATTERN NAME MAKE-ARGUMENT...: make fails; what it says for itself is one line like PATTERN
  local pattern=$1 name=$2 status said
  shift 2
  run -j1 "$@" >"$tmp/out" 2>&1
  status=$?
  said=$(grep -v '^make' "$tmp/out")
  [ $status != 0 ] && [ "$(grep -c . <<<"$said")" = 1 ] && grep -q "$pattern" <<<"$said" && [ -z "$(find "$dest" "$tmp/build" -type f 2>/dev/null)" ]
  ok "$name" || true
  [ "${said##*$'\n'}" = "$said" ] || sed 's/^/# /' "$tmp/out"
}
lines 'no C compiler .nosuch-cc.*scripts/setup build' 'make without a compiler' CC=nosuch-cc all
lines 'no HTTP parser.*libhttp-parser-dev' 'make without the HTTP parser' CPPFLAGS='-nostdinc -isystem '"$tmp" need-http
lines 'no jansson.*libjansson-dev' 'make without the JSON library' CPPFLAGS='-nostdinc -isystem '"$tmp" need-tools
lines 'no kernel headers in /nonexistent.*linux-headers' 'make install without kernel headers' KBUILD=/nonexistent install
is "$(sed -n 's/^vm: //p' Makefile)" 'need-vm everything' 'make vm looks for what a guest needs first'

# ---- everything, and only that
run install >"$tmp/log" 2>&1
ok 'make install' || sed 's/^/# /' "$tmp/log"
prefix_files=$(printf '/usr/local/%s\n' bin/stackmap bin/stackmap-httpd lib/modules-load.d/stackmap.conf \
  lib/systemd/system/stackmap-{httpd@.service,ports.socket,ports@.service} share/bash-completion/completions/stackmap{,-httpd} \
  share/doc/stackmap/examples/{60-stackmap.rules,batches.bt,copies.bt,fragments.bt,stalls.bt,syncs.bt,files.conf,memcached.conf,nginx.conf,own-driver.conf,ports-group.conf,redis-server.conf})
pages=$(for f in man/*.[1378]; do echo "/usr/local/share/man/man${f##*.}/${f##*/}"; done)
is "$(cd "$dest" && find . ! -type d | sed 's/^\.//' | sort)" "$(sort <<END
/lib/modules/$KERNEL_RELEASE/updates/stackmap/stackmap.ko
$prefix_files
/usr/local/include/stackmap/stackmap.h
/usr/local/include/stackmap/uapi.h
/usr/local/lib/libstackmap.a
/usr/local/lib/libstackmap.so
/usr/local/lib/libstackmap.so.0
/usr/local/lib/libstackmap.so.$version
/usr/local/lib/stackmap/libstackmap-preload.so
/usr/local/lib/pkgconfig/libstackmap.pc
$pages
END
)" 'the list of files'
is "$(grep -rl '@bindir@' "$dest")$(cat "$dest"/usr/local/lib/systemd/system/*.service | grep -c '^ExecStart=/usr/local/bin/')" 2 'the units start what was installed'
is "$(ls "$tmp/build" | grep -c bench)" 0 'the rivals of the comparison are not built'
ko=$dest/lib/modules/$KERNEL_RELEASE/updates/stackmap/stackmap.ko
is "$(readelf -SW "$ko" | grep -c '\.debug_')" 0 'the module is stripped of debugging symbols'
is "$(modinfo -F version "$ko") $(modinfo -F author "$ko" | grep -c .)" "$version 1" 'modinfo has version and author'
mkdir -p "$tmp/root/lib/modules" && cp -r "$dest/lib/modules/$KERNEL_RELEASE" "$tmp/root/lib/modules/" &&
  touch "$tmp/root/lib/modules/$KERNEL_RELEASE/modules."{order,builtin} && depmod -b "$tmp/root" "$KERNEL_RELEASE" &&
  modprobe -d "$tmp/root" -S "$KERNEL_RELEASE" --show-depends stackmap 2>/dev/null | grep -q stackmap.ko
ok 'modprobe stackmap finds it'
is "$("$dest/usr/local/bin/stackmap" --version)-$("$dest/usr/local/bin/stackmap-httpd" --version)" \
  "stackmap $version-stackmap-httpd $version" 'the programs run, and have the version'
is "$(sed -n 's/^\.TH .* "StackMap \([0-9.]*\)".*/\1/p' man/* | sort -u)" "$version" 'man pages have it, too'

# ---- as its users meet it
export PKG_CONFIG_PATH=$dest/usr/local/lib/pkgconfig PKG_CONFIG_SYSROOT_DIR=$dest
is "$(pkg-config --modversion libstackmap)" "$version" 'pkg-config'
echo 'int main(void) { return stackmap_open_hint(2) == 0; }' >"$tmp/prog.body"
for how in 'gcc -x c -std=c11' 'g++ -x c++ -std=c++17' 'clang -x c -std=c11' 'clang++ -x c++ -std=c++17'; do
  if ! type -P "${how%% *}" >/dev/null; then
    n=$((n + 1))
    echo "ok $n - the installed header, ${how}: without warnings # SKIP no ${how%% *}"
    continue
  fi
  # shellcheck disable=SC2046,SC2086  # words
  { echo '#include <stackmap/stackmap.h>'; cat "$tmp/prog.body"; } |
    $how -Wall -Wextra -Wpedantic -Wshadow -Werror $(pkg-config --cflags libstackmap) -o "$tmp/prog" - -x none \
      $(pkg-config --libs libstackmap) && LD_LIBRARY_PATH=$dest/usr/local/lib "$tmp/prog"
  ok "the installed header, $how -Wpedantic -Wshadow: without warnings, and it links and runs"
done
if type -P man >/dev/null; then
  for f in $(sed -n 's/^\t\(stackmap_[a-z_]*[a-z]\);$/\1/p' lib/libstackmap.map) \
    $(sed -n 's/^static inline .*\(stackmap_[a-z_]*[a-z]\)(.*/\1/p' lib/stackmap.h); do echo "3 $f"; done >"$tmp/pages"
  printf '%s\n' '1 stackmap-httpd' '7 stackmap' '8 stackmap' >>"$tmp/pages"
  while read -r section page; do
    MANPATH=$dest/usr/local/share/man man -w "$section" "$page" >/dev/null 2>&1 || echo "$page($section)"
  done <"$tmp/pages" >"$tmp/lost"
  is "$(cat "$tmp/lost")" '' 'man finds every function of the library'
  while read -r section page; do
    [ "$(MANPATH=$dest/usr/local/share/man man -P cat "$section" "$page" 2>/dev/null | grep -c "$page")" -gt 0 ] || echo "$page($section)"
  done <"$tmp/pages" >"$tmp/lost"
  is "$(cat "$tmp/lost")" '' '... and shows a page that has it'
fi

# ---- an update that cannot be done leaves what was there
(cd "$dest" && find . -type f -exec sha256sum {} + | sort -k 2) >"$tmp/before"
rm "$dest/usr/local/share/man/man7/stackmap.7" && mkdir "$dest/usr/local/share/man/man7/stackmap.7"
run install >"$tmp/log" 2>&1
[ $? != 0 ] && tail -n 3 "$tmp/log" | grep -q 'nothing was installed'
ok 'make install that fails half-way says so'
rmdir "$dest/usr/local/share/man/man7/stackmap.7" && cp man/stackmap.7 "$dest/usr/local/share/man/man7/"
is "$(cd "$dest" && find . -type f -exec sha256sum {} + | sort -k 2)" "$(cat "$tmp/before")" 'and has changed nothing'

# ---- nothing stays
run uninstall >"$tmp/log" 2>&1
ok 'make uninstall'
is "$(find "$dest" -mindepth 1)" '' 'nothing is left'
mkdir -p "$dest/usr/local/share/man/man7" && touch "$dest/usr/local/share/man/man7/stackmap.7x"
mkdir "$dest/opt" && touch "$dest/opt/libdir"
run libdir=/opt/libdir install >"$tmp/log" 2>&1
[ $? != 0 ]
ok 'a file where a directory should be: it fails'
is "$(cd "$dest" && find . ! -type d | sort)" "./opt/libdir
./usr/local/share/man/man7/stackmap.7x" 'and leaves only what was there'
rm -rf "${dest:?}"/*
mkdir -p "$dest/lib/modules/6.1.0-old/updates/stackmap" && touch "$dest/lib/modules/6.1.0-old/updates/stackmap/stackmap.ko"
run prefix=/opt/s libdir=/opt/s/lib64 install >"$tmp/log" 2>&1
is "$(cd "$dest" && find . ! -type d | sed 's|^./opt/s/\([^/]*\)/.*|\1|' | grep -v '^\.' | sort -u | tr '\n' ' ')" 'bin include lib lib64 share ' \
  'prefix and libdir are obeyed'
run prefix=/opt/s libdir=/opt/s/lib64 uninstall >"$tmp/log" 2>&1
is "$(find "$dest" ! -type d)" '' 'and by uninstall, which finds the modules for other kernels, too'

# ---- flags get everywhere
run -n -B O="$tmp/other" CPPFLAGS=-DSM_CPP CFLAGS=-DSM_C LDFLAGS=-Wl,-DSM_LD LDLIBS=-lsm_libs all bench-servers >"$tmp/dry" 2>&1
cc=$(sed ':a;/\\$/{N;s/\\\n[ \t]*//;ba}' "$tmp/dry" | grep '^cc ')
is "$(grep -e ' -c ' <<<"$cc" | grep -v -e '-DSM_CPP.*-DSM_C')" '' 'CPPFLAGS and CFLAGS: every compilation'
is "$(grep -v -e ' -c ' <<<"$cc" | grep -v -e '-DSM_C .*-DSM_LD')" '' 'CFLAGS and LDFLAGS: every link'
[ "$(grep -c -e ' -c ' <<<"$cc")" -gt 20 ] && [ "$(grep -vc -e ' -c ' <<<"$cc")" -gt 5 ]
ok '(there were some)'
echo "1..$n"
[ $failed = 0 ]
