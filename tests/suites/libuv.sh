# shellcheck shell=bash disable=SC2034  # for tests/suites/run
# SPDX-License-Identifier: GPL-2.0
# tests/suites/libuv.sh: libuv's own tests, each in processes of its own. Sourced by tests/suites/run.
suite_cases=(all)
suite_stage() {
  mkdir -p "$stage/libuv/test"
  cp "$source/build/uv_run_tests" "$stage/libuv/"
  cp -L "$source"/build/libuv.so.1 "$stage/usr/lib/"
  cp -r "$source/test/fixtures" "$stage/libuv/test/"
}
suite_has() { [[ $1 == all ]]; }
suite_command() {
  echo "cd /libuv && UV_RUN_AS_ROOT=1 UV_TEST_TIMEOUT_MULTIPLIER=5 $2 ./uv_run_tests >/tmp/output 2>&1; cat /tmp/output
    sed -n 's/^ok [0-9]* - \([^ ]*\).*SKIP.*/\1 skipped/p; t; s/^ok [0-9]* - \([^ ]*\).*/\1 ok/p; s/^not ok [0-9]* - \([^ ]*\).*/\1 failed/p' /tmp/output >/tmp/results"
}
