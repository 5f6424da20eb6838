# shellcheck shell=bash disable=SC2034  # for tests/suites/run
# SPDX-License-Identifier: GPL-2.0
# tests/suites/haproxy.sh: haproxy's reg-tests, of Debian's haproxy, by varnish's varnishtest. Sourced by tests/suites/run.
#
# A test is a file: it passes, fails, or is skipped by itself. Listeners are inherited from varnishtest.
suite_programs=(haproxy varnish)
suite_options=(--emulator backports)
suite_cases=(balance cache checks compression connection converter filters http-capture http-cookies http-errorfiles http-messaging
  http-rules http-set-timeout log lua mcli peers sample_fetches seamless-reload server spoe ssl startup stick-table stickiness stream
  tcp-rules webstats)
suite_stage() {
  mkdir -p "$stage/haproxy/scripts"
  cp -r "$source/reg-tests" "$stage/haproxy/"
  cp -L "$root/usr/bin/varnishtest" "$stage/usr/local/bin/"
  cp -L "$root/usr/sbin/haproxy" "$stage/usr/local/bin/"
  mkdir -p "$stage/haproxy/bin"
  under "$stage/haproxy/bin/haproxy" /usr/local/bin/haproxy
}
suite_has() { [[ -d $source/reg-tests/$1 ]]; }
suite_command() {
  echo "cd /haproxy && export UNDER='$2' HAPROXY_PROGRAM=/haproxy/bin/haproxy TMPDIR=/tmp; for t in reg-tests/$1/*.vtc; do
    timeout 120 varnishtest -k -t 60 \$t >/tmp/output 2>&1 </dev/null; s=\$?
    case \$s in 0) s=ok ;; 77) s=skipped ;; *) cat /tmp/output; s=failed ;; esac
    echo \"\${t#reg-tests/} \$s\"; done >/tmp/log; grep '^$1/' /tmp/log >/tmp/results; cat /tmp/log"
}
