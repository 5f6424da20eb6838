# SPDX-License-Identifier: GPL-2.0
# bench/lib.sh: sourced by bench/run, bench/evaluation and scripts/demo: one guest, one server in it at a time, one measurement.
#
# The sourcing script sets guest (its name). Everything that waits is bounded. The NIC has the driver that the
# server is for: stackmap and the -own ones the module's own, all others the stock one.

# NIC and PORT: see bench_commands
declare -A server_command=(
  [stackmap]='stackmap-httpd -i NIC -p PORT'
  [stackmap-napi]='stackmap-httpd -i NIC -p PORT'
  [epoll]='bench-epoll --port PORT'
  [epoll-busypoll]='bench-epoll --port PORT --busy-poll'
  [epoll-napibusy]='bench-epoll --port PORT --busy-poll=64 --budget 64 --prefer --defer 200'
  [epoll-fullbusy]='bench-epoll --port PORT --busy-poll=1000 --budget 64 --prefer --defer 5000'
  [epoll-suspend]='bench-epoll --port PORT --suspend'
  [iouring]='bench-iouring --port PORT'
  [iouring-napi]='bench-iouring --port PORT --napi'
  [iouring-napi-defer]='bench-iouring --port PORT --napi --defer 200'
  [iouring-bundle]='bench-iouring --port PORT --bundle'
  [iouring-incremental]='bench-iouring --port PORT --incremental'
  [epoll-own]='bench-epoll --port PORT'
  [iouring-own]='bench-iouring --port PORT'
  [nginx]='bench-nginx'
  [lwip]='bench-lwip --interface NIC --port PORT'
  [lwip-dpdk]='bench-dpdk --interface NIC --port PORT'
)
# Servers that have a NIC and a port of their own: N for ethN with the driver that they are for, in the subnet 10.77.N.
# All others are on eth0, whose driver changes with them, and on port 8080
declare -A bench_nic=() bench_port=()
# More options where requests have large bodies
declare -A server_post_options=([stackmap]='--large-bufs 1536 --large-size 32768'
  [stackmap-napi]='--large-bufs 512 --large-size 32768' [iouring]='--buf-size 65536' [iouring-napi]='--buf-size 65536' [iouring-own]='--buf-size 65536'
  [iouring-napi-defer]='--buf-size 65536' [iouring-incremental]='--buf-size 65536')
# Who is compared if nobody is named, and of them those that not every kernel can: see bench_able()
bench_servers='stackmap stackmap-napi epoll epoll-busypoll epoll-napibusy epoll-fullbusy epoll-suspend'
bench_servers+=' iouring iouring-napi iouring-napi-defer iouring-bundle iouring-incremental'
bench_newer='epoll-busypoll epoll-napibusy epoll-fullbusy epoll-suspend iouring-napi iouring-napi-defer iouring-bundle iouring-incremental'
bench_queues=1 # of the NIC, and as many processors
bench_kernel=cloud # as for vm/kernel
bench_stage=build/stage-cloud
bench_qemu='' # more arguments for QEMU
bench_emulator=host # as for vm/guest
bench_tag=server # names the log and the processes of what bench_launch starts and bench_stop stops

die() { echo "${0##*/}: $*" >&2; exit 1; }

# bench_stage_with STAGE PROGRAM...: bench_stage is a copy of what it was from now on, STAGE, with more programs
bench_stage_with() {
  rm -rf "$1"
  cp -a "$bench_stage" "$1"
  cp "${@:2}" "$1/usr/local/bin/"
  bench_stage=$1
}

# bench_stage_lwip STAGE: the servers on lwIP in a stage of their own, STAGE, a copy of bench_stage
bench_stage_lwip() {
  scripts/setup evaluation
  make -s build/bench-lwip build/bench-lwip-dpdk
  bench_stage_with "$1" build/bench-lwip build/bench-lwip-dpdk
  cp bench/dpdk "$1/usr/local/bin/bench-dpdk"
}

# bench_boot: a guest with the module loaded, BENCH_CPU its processor's model if not vm/guest's. Its threads have names, so that
# bench/cpu can tell them apart
bench_boot() {
  vm/guest start "$guest" --kernel "$bench_kernel" --emulator "$bench_emulator" ${BENCH_CPU:+--cpu "$BENCH_CPU"} --stage "$bench_stage" --cpus "$bench_queues" --queues "$bench_queues" --qemu "-name debug-threads=on $bench_qemu"
  vm/guest exec "$guest" -- 'insmod /root/stackmap.ko'
  bench_place
}

# bench_boot_with N: likewise, with N more NICs: eth1 to ethN, in the subnets 10.77.1 to 10.77.N
bench_boot_with() {
  local i
  bench_qemu=''
  for ((i = 1; i <= $1; i++)); do
    bench_qemu+=" -netdev tap,id=n$i,ifname=tap$i,script=no,downscript=no,vhost=off$( ((bench_queues == 1)) || echo ",queues=$bench_queues")"
    bench_qemu+=" -device virtio-net-pci,netdev=n$i,romfile=$( ((bench_queues == 1)) || echo ",mq=on,vectors=$((2 * bench_queues + 2))")"
  done
  bench_boot || return 1
  [[ $(vm/guest addr "$guest" 8080) == 10.77.0.2:8080 ]] || { echo "${0##*/}: it needs tap devices" >&2; return 1; }
  for ((i = 1; i <= $1; i++)); do
    vm/guest host "$guest" -- sh -c "ip addr add 10.77.$i.1/24 dev tap$i && ip link set tap$i up" &&
      vm/guest exec "$guest" -- "ip addr add 10.77.$i.2/24 dev eth$i && ip link set eth$i up" || return 1
  done
}

# bench_place: the guest's processors have processors of this machine to themselves, where it has as many, and QEMU's
# other threads and the client (bench_client is to be put before it) share the rest. Left to the scheduler they move about,
# and with them every figure.
bench_client=()
bench_place() {
  local task comm rest
  bench_client=()
  (($(nproc) > bench_queues)) || return 0
  rest=$bench_queues-$(($(nproc) - 1))
  bench_client=(taskset -c "$rest")
  for task in /proc/"$(<"build/vm/$guest/pid")"/task/*; do
    # A thread may go meanwhile
    comm=$(cat "$task/comm") || continue
    case $comm in
      "CPU "*) comm=${comm#CPU }; taskset -cp "${comm%%/*}" "${task##*/}" ;;
      *) taskset -cp "$rest" "${task##*/}" || true ;;
    esac
  done >/dev/null 2>&1
}

# bench_addr SERVER [SEPARATOR (:)]: where the client reaches it
bench_addr() {
  local at
  if [[ ${bench_nic[$1]:-} ]]; then at=10.77.${bench_nic[$1]}.2:${bench_port[$1]}; else at=$(vm/guest addr "$guest" 8080); fi
  echo "${at/:/${2:-:}}"
}

# bench_commands SERVER SIZE [OPTIONS]: how to run it, a line for each process: one, or one for each queue
bench_commands() {
  local q command="${server_command[$1]} --size $2 ${3:-}"
  command=${command/NIC/eth${bench_nic[$1]:-0}}
  command=${command/PORT/${bench_port[$1]:-8080}}
  case $bench_queues$1 in
    1*) echo "$command" ;;
    *stackmap*) echo "$command -q 0-$((bench_queues - 1))" ;;
    *nginx) echo "$command --workers $bench_queues" ;;
    *) for ((q = 0; q < bench_queues; q++)); do echo "taskset -c $q $command --reuseport"; done ;;
  esac
}

# bench_able SERVER...: those that the guest's kernel can serve with; of the others a line on standard error says why not
bench_able() {
  local s why able=()
  for s; do
    if [[ " $bench_newer " != *" $s "* ]] || why=$(vm/guest exec "$guest" -- "$(bench_commands "$s" 64 --probe | head -n 1) 2>&1"); then
      able+=("$s")
    else
      echo "$s: left out, as this kernel cannot: $why" >&2
    fi
  done
  echo "${able[*]}"
}

# bench_launch SERVER SIZE [OPTIONS]: run a server in the guest, next to those that are there; return when it serves
bench_launch() {
  local addr try line script='' nic=eth${bench_nic[$1]:-0} defer=0 flush=0
  addr=$(bench_addr "$1")
  # As af_xdp.rst has it for busy polling; otherwise the kernel's defaults
  [[ $1 != lwip ]] || defer=2 flush=200000
  while read -r line; do script+="setsid $line >>/tmp/$bench_tag.log 2>&1 </dev/null & echo \$! >>/tmp/$bench_tag.pid; "; done \
    < <(bench_commands "$@")
  vm/guest exec "$guest" -- "echo $defer >/sys/class/net/$nic/napi_defer_hard_irqs
    echo $flush >/sys/class/net/$nic/gro_flush_timeout; $script"
  for try in {1..50}; do
    if [[ ${3:-} == *--binary* ]]; then
      vm/guest host "$guest" -- timeout 2 bash -c "exec 3<>/dev/tcp/${addr/://}" 2>/dev/null && return
    else
      vm/guest host "$guest" -- curl -s -o /dev/null --max-time 2 "http://$addr/" && return
    fi
    sleep 0.1
  done
  vm/guest exec "$guest" -- "cat /tmp/$bench_tag.log" >&2
  die "$1 does not serve"
}

# bench_start SERVER SIZE [OPTIONS]: likewise, and it is the only one
bench_start() {
  local change=unbind driver=virtio_net switch=''
  [[ $1 != stackmap && $1 != stackmap-descriptors && $1 != *-own ]] || change=bind driver=stackmap_virtio
  [[ ${bench_nic[$1]:-} ]] || switch="ethtool -i eth0 | grep -q $driver || stackmap $change eth0 >/dev/null"
  vm/guest exec "$guest" -- "$switch
    rm -f /tmp/$bench_tag.log /tmp/$bench_tag.pid"
  bench_launch "$@"
}

# bench_start_reflect: bench-reflect on eth0, port 9, with the stock driver
bench_start_reflect() {
  local i
  vm/guest exec "$guest" -- "! ethtool -i eth0 | grep -q stackmap_virtio || stackmap unbind eth0 >/dev/null
    setsid bench-reflect eth0 9 --spin >/tmp/$bench_tag.log 2>&1 </dev/null & echo \$! >/tmp/$bench_tag.pid"
  for ((i = 0; i < 50; i++)); do
    ! vm/guest exec "$guest" -- grep -q UDP "/tmp/$bench_tag.log" || return 0
    sleep 0.1
  done
  vm/guest exec "$guest" -- cat "/tmp/$bench_tag.log" >&2
  return 1
}

# bench_stop: stop all that run. (One may have a NIC to give back)
bench_stop() {
  vm/guest exec "$guest" -- "p=\$(cat /tmp/$bench_tag.pid) && rm /tmp/$bench_tag.pid && kill \$p; for i in {1..50}; do
    kill -0 \$p 2>/dev/null || exit 0; sleep 0.1; done; kill -9 \$p"
}

# bench_measure CONNECTIONS SECONDS [SCRIPT]: prints "RPS P50_US P99_US ERRORS"
bench_measure() {
  vm/guest host "$guest" -- "${bench_client[@]}" timeout $(($2 + 30)) wrk -t1 -c"$1" -d"$2"s --timeout 10s -s "bench/${3:-report.lua}" \
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
  result=$(vm/guest host "$guest" -- "${bench_client[@]}" ping -n -A -U -c 2000 -W 2 -w 20 "$(bench_addr "$1" | cut -d: -f1)" |
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
