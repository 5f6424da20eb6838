# shellcheck shell=bash disable=SC2034  # for tests/suites/run
# SPDX-License-Identifier: GPL-2.0
# tests/suites/libevent.sh: libevent's own tests, with each of what it waits by. Sourced by tests/suites/run.
suite_cases=(epoll poll select)
suite_stage() { cp "$source/build/bin/regress" "$stage/usr/local/bin/"; }
suite_has() { [[ ' epoll poll select ' == *" $1 "* ]]; }
# NAME: [forking] OK, SKIPPED, DISABLED or what went wrong
suite_command() {
  local no=''
  case $1 in poll) no='EVENT_NOEPOLL=1' ;; select) no='EVENT_NOEPOLL=1 EVENT_NOPOLL=1' ;; esac
  echo "cd /tmp && $no $2 regress --timeout 60 >/tmp/output 2>&1; cat /tmp/output
    sed -n 's/^\([a-z_]*\/[^: ]*\): \(\[forking\] \)*\(.*\)/$1.\1 \3/p' /tmp/output | sed 's/ *\[.*//; s/ OK\$/ ok/; s/ \$/ failed/' >/tmp/results"
}
