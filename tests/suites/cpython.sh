# shellcheck shell=bash disable=SC2034  # for tests/suites/run
# SPDX-License-Identifier: GPL-2.0
# tests/suites/cpython.sh: CPython's own tests of sockets, their readiness, signals and processes. Sourced by tests/suites/run.
suite_programs=(python)
suite_cases=(test_socket test_selectors test_epoll test_poll test_select test_signal test_subprocess test_ssl
  test_asyncio.test_streams test_asyncio.test_sock_lowlevel test_asyncio.test_server test_asyncio.test_sendfile test_asyncio.test_events
  test_asyncio.test_sslproto test_asyncio.test_subprocess test_asyncio.test_unix_events test_asyncio.test_buffered_proto
  test_socketserver test_httpservers test_ftplib test_smtplib test_poplib test_imaplib test_telnetlib test_asyncore)
suite_quick=(test_epoll test_poll test_select)
suite_stage() {
  python=$(basename "$(find "$root/usr/bin" -name 'python3.[0-9]*' ! -name '*config' | sort -V | tail -n 1)")
  cp "$root/usr/bin/$python" "$stage/usr/bin/"
  cp -r "$root/usr/lib/$python" "$stage/usr/lib/"
  cp tests/suites/results.py "$stage/root/"
}
suite_has() { [[ -e $root/usr/lib/$python/test/${1//.//}.py ]]; }
suite_command() { echo "cd /tmp && HOME=/tmp $2 $python /root/results.py /tmp/results test.$1"; }
