# shellcheck shell=bash disable=SC2034  # for tests/suites/run
# SPDX-License-Identifier: GPL-2.0
# tests/suites/memcached.sh: memcached's own tests, of Debian's server. Sourced by tests/suites/run.
suite_programs=(memcached perl)
suite_cases=()
suite_stage() {
  mkdir -p "$stage/memcached" "$stage/usr/share/perl" "$stage/usr/lib/x86_64-linux-gnu"
  cp -r "$source"/{t,timedrun} "$stage/memcached/"
  # By TCP, and without what Debian's is not built with
  sed -i 's/^\(    my \$unix_socket_disabled *=\).*/\1 1;/; /-o relaxed_privileges/d' "$stage/memcached/t/lib/MemcachedTest.pm"
  cp -rL "$root"/usr/share/perl/. "$stage/usr/share/perl/"
  cp -rL "$root"/usr/lib/x86_64-linux-gnu/{perl,perl-base} "$stage/usr/lib/x86_64-linux-gnu/"
  cp -L "$root/usr/bin/perl" "$stage/usr/bin/"
  cp -L "$root/usr/bin/memcached" "$stage/usr/local/bin/"
  under "$stage/memcached/memcached-debug" /usr/local/bin/memcached
  # Its help, which tests ask for at each connection, is not worth a port, nor a start of the program
  sed -i '2i[ "$*" != -h ] || exec cat /tmp/help' "$stage/memcached/memcached-debug"
  # Not those that are long, or about memory and time only
  mapfile -t suite_cases < <(cd "$source/t" && ls ./*.t | sed 's:^\./::; s/\.t$//' |
    grep -vx '64bit\|.*extstore.*\|slabs.*\|lru-maintainer\|proxy\|ssl_.*\|restart\|refhang\|slabhang\|dyn-maxbytes')
}
suite_has() { [[ -e $source/t/$1.t ]]; }
suite_command() {
  echo "[ -e /tmp/help ] || memcached -h >/tmp/help; cd /memcached && UNDER='$2' timeout 500 perl -I t/lib t/$1.t >/tmp/output 2>&1; s=\$?; cat /tmp/output
    sed -n 's/^\(ok\|not ok\) \([0-9]*\).*/\1 \2/; s/^ok \(.*\)/$1.\1 ok/p; s/^not ok \(.*\)/$1.\1 failed/p' /tmp/output >/tmp/results
    if grep -q '^1\.\.0 # [Ss][Kk][Ii][Pp]' /tmp/output; then echo $1.all skipped; else echo $1.status \$s; fi >>/tmp/results"
}
