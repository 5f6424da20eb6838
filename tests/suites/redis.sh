# shellcheck shell=bash disable=SC2034  # for tests/suites/run
# SPDX-License-Identifier: GPL-2.0
# tests/suites/redis.sh: redis' own tests, of Debian's server. Sourced by tests/suites/run.
#
# Those in which connections, their buffers and their ends matter, and replication; the rest is of data types. (Not
# unit/obuf-limits, which takes ten minutes here)
suite_programs=(redis tcl)
suite_cases=(unit/auth unit/protocol unit/keyspace unit/info unit/type/list unit/multi unit/quit integration/block-repl
  integration/replication integration/replication-2 integration/replication-3 integration/replication-psync integration/replication-buffer
  integration/shutdown integration/psync2 integration/psync2-reg integration/psync2-pingoff integration/failover integration/redis-cli
  integration/redis-benchmark unit/pubsub unit/pubsubshard unit/introspection unit/introspection-2 unit/limits unit/wait
  unit/pause unit/querybuf unit/pendingquerybuf unit/tracking unit/shutdown unit/networking unit/client-eviction unit/replybufsize)
suite_quick=(unit/protocol unit/networking unit/querybuf)
suite_stage() {
  mkdir -p "$stage/redis/src" "$stage/usr/share"
  cp -r "$source/tests" "$source/redis.conf" "$stage/redis/"
  cp -rL "$root/usr/share/tcltk" "$stage/usr/share/"
  cp -L "$root/usr/bin/tclsh8.6" "$stage/usr/bin/tclsh"
  cp -L "$root"/usr/bin/redis-{server,cli,benchmark,check-rdb} "$stage/usr/local/bin/"
  for p in cli benchmark check-rdb check-aof; do ln -s /usr/local/bin/redis-${p/aof/rdb} "$stage/redis/src/redis-$p"; done
  under "$stage/redis/src/redis-server" /usr/local/bin/redis-server
}
suite_has() { [[ -e $source/tests/$1.tcl ]]; }
# One test at a time: which ports they have is told by order. [ok]: NAME (N ms)
suite_command() {
  echo "cd /redis && UNDER='$2' tclsh tests/test_helper.tcl --single $1 --clients 1 --timeout 600 --durable --no-latency --skiptest '/OOM' |
    tee /tmp/output | sed -n 's/ ([0-9]* ms)\$//; s/.*\[\(ok\|err\|ignore\|skip\|exception\)\]:* \([^:]*\).*/\2:\1/p' | tr ' ' _ | sed 's/:/ /' |
    awk '{ print \"$1.\" \$0 }' >/tmp/results; cat /tmp/output"
}
