# SPDX-License-Identifier: GPL-2.0
# bench/lib.sh: sourced by bench/run, bench/evaluation and scripts/demo: one guest, one server in it at a time, one measurement.
#
# The sourcing script sets guest (its name). Everything that waits is bounded. The NIC has the driver that the
# server is for: stackmap and the -own ones the module's own, all others the stock one.

declare -A server_command=(
  [stackmap]='stackmap-httpd -i eth0 -p 8080'
  [stackmap-napi]='stackmap-httpd -i eth0 -p 8080'
  [epoll]='bench-epoll --port 8080'
  [epoll-busypoll]='bench-epoll --port 8080 --busy-poll'
  [iouring]='bench-iouring --port 8080'
  [iouring-napi]='bench-iouring --port 8080 --napi'
  [epoll-own]='bench-epoll --port 8080'
  [iouring-own]='bench-iouring --port 8080'
  [nginx]='bench-nginx'
  [lwip]='bench-lwip'
)
# More options where requests have large bodies
declare -A server_post_options=([iouring]='--buf-size 65536' [iouring-napi]='--buf-size 65536' [iouring-own]='--buf-size 65536')
bench_queues=1 # of the NIC, and as many processors
bench_stage=build/stage-cloud

die() { echo "${0##*/}: $*" >&2; exit 1; }

# bench_boot: a guest with the module loaded. Its threads have names, so that bench/cpu can tell them apart
bench_boot() {
  vm/guest start "$guest" --stage "$bench_stage" --cpus "$bench_queues" --queues "$bench_queues" --qemu '-name debug-threads=on'
  vm/guest exec "$guest" -- 'insmod /root/stackmap.ko'
}

# bench_commands SERVER SIZE [OPTIONS]: how to run it, a line for each process: one, or one for each queue
bench_commands() {
  local q command="${server_command[$1]} --size $2 ${3:-}"
  case $bench_queues$1 in
    1*) echo "$command" ;;
    *stackmap*) echo "$command -q 0-$((bench_queues - 1))" ;;
    *nginx) echo "$command --workers $bench_queues" ;;
    *) for ((q = 0; q < bench_queues; q++)); do echo "taskset -c $q $command --reuseport"; done ;;
  esac
}

# bench_start SERVER SIZE [OPTIONS]: start a server in the guest, return when it serves
bench_start() {
  local addr try line change=unbind driver=virtio_net script='' defer=0 flush=0
  addr=$(vm/guest addr "$guest" 8080)
  [[ $1 != stackmap && $1 != *-own ]] || change=bind driver=stackmap_virtio
  # As af_xdp.rst has it for busy polling; otherwise the kernel's defaults
  [[ $1 != lwip ]] || defer=2 flush=200000
  while read -r line; do script+="setsid $line >>/tmp/server.log 2>&1 </dev/null & echo \$! >>/tmp/server.pid; "; done \
    < <(bench_commands "$@")
  vm/guest exec "$guest" -- "ethtool -i eth0 | grep -q $driver || stackmap $change eth0 >/dev/null
    echo $defer >/sys/class/net/eth0/napi_defer_hard_irqs; echo $flush >/sys/class/net/eth0/gro_flush_timeout
    rm -f /tmp/server.log /tmp/server.pid; $script"
  for try in {1..50}; do
    if [[ ${3:-} == *--binary* ]]; then
      vm/guest host "$guest" -- timeout 2 bash -c "exec 3<>/dev/tcp/${addr/://}" 2>/dev/null && return
    else
      vm/guest host "$guest" -- curl -s -o /dev/null --max-time 2 "http://$addr/" && return
    fi
    sleep 0.1
  done
  vm/guest exec "$guest" -- 'cat /tmp/server.log' >&2
  die "$1 does not serve"
}

bench_stop() {
  vm/guest exec "$guest" -- 'p=$(cat /tmp/server.pid); kill $p; for i in {1..20}; do
    kill -0 $p 2>/dev/null || exit 0; sleep 0.1; done; kill -9 $p'
}

# bench_measure CONNECTIONS SECONDS [SCRIPT]: prints "RPS P50_US P99_US ERRORS"
bench_measure() {
  vm/guest host "$guest" -- timeout $(($2 + 30)) wrk -t1 -c"$1" -d"$2"s --timeout 10s -s "bench/${3:-report.lua}" \
    "http://$(vm/guest addr "$guest" 8080)/" | sed -n 's/^report //p'
}

# bench_one SERVER SIZE CONNECTIONS SECONDS [post]: warm up, measure; prints as bench_measure
bench_one() {
  local result script=report.lua options=''
  [[ ${5:-} != post ]] || script=post.lua options=${server_post_options[$1]:-}
  bench_start "$1" "$2" "$options"
  bench_measure "$3" 1 "$script" >/dev/null
  result=$(bench_measure "$3" "$4" "$script")
  # Before the result is told: the caller goes on with the next server then
  bench_stop
  echo "$result"
}

# bench_icmp SERVER: the round trip of ICMP echoes to a NIC that its owner polls all the time, SERVER being
# stackmap or stackmap-napi. The kernel answers them, so no server comes near it. Prints "P50_US P99_US"
bench_icmp() {
  local before after result
  # A host that is busy elsewhere for 10 ms must not look like an owner that is
  bench_start "$1" 64 '--spin always --stall-us 1000000'
  before=$(bench_unpolled)
  result=$(vm/guest host "$guest" -- ping -n -A -U -c 2000 -W 2 -w 20 "$(vm/guest addr "$guest")" |
    sed -n 's/.* time=\([0-9.]*\) ms$/\1/p' | sort -n |
    awk '{ v[NR] = $1 * 1000 } END { if (NR >= 1900) printf "%d %d\n", v[int((NR + 1) / 2)], v[int(NR * 0.99)] }')
  after=$(bench_unpolled)
  bench_stop
  [[ $before == "$after" ]] || { echo "bench_icmp: $1 did not poll all the time" >&2; return 1; }
  echo "$result"
}

# How often the NIC went back to interrupts: its owner slept, or was late
bench_unpolled() { vm/guest exec "$guest" -- 'stackmap stats' | awk '$1 == "sleeps" || $1 == "stalls" { print $1, $2 }'; }

# median of the numbers on standard input
median() { sort -n | awk '{ v[NR] = $1 } END { if (NR) print NR % 2 ? v[(NR + 1) / 2] : (v[NR / 2] + v[NR / 2 + 1]) / 2 }'; }
