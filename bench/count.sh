# SPDX-License-Identifier: GPL-2.0
# bench/count.sh: sourced after bench/lib.sh by bench/instructions, bench/path and bench/apps: a guest whose instructions
# are counted.
#
# The sourcing script sets guest, bench_stage, out (a directory of its own), emulator (host or backports) and
# connections; and size, if answers may be larger than 64 bytes; count_cache, if caches are to be modelled, too;
# count_plugin, if another plugin than bench/count.c is to count; count_append, if the guest's kernel takes more parameters.
count_plugin=count

# count_boot: a guest with the module, and QEMU's plugin. Ends with the script
count_boot() {
  local scoreboards icount
  (($(vm/qemu --version "$emulator") < 9)) || scoreboards=-DSCOREBOARDS
  ${CC:-cc} -O2 -Wall -Wextra -shared -fPIC ${scoreboards:-} -o "$out/$count_plugin.so" "bench/$count_plugin.c"
  rm -f "$out/fifo"
  mkfifo "$out/fifo"
  trap count_finish EXIT
  trap 'exit 1' INT TERM
  # A lone connection leaves the processor idle, unless it is polled. With sleep=off that time would be skipped from one
  # timer interrupt to the next, and these be counted for the request
  icount=shift=0,sleep=$( ((connections >= 16)) && echo off || echo on)
  vm/guest start "$guest" --kernel "$bench_kernel" --emulator "$emulator" ${BENCH_CPU:+--cpu "$BENCH_CPU"} --stage "$bench_stage" --timeout 300 \
    ${count_append:+--append "$count_append"} \
    --qemu "-icount $icount -plugin $out/$count_plugin.so,cmd=$out/fifo${count_cache:+,cache=on}"
  vm/guest exec "$guest" -- 'insmod /root/stackmap.ko; echo 0 >/proc/sys/kernel/randomize_va_space'
  vm/guest exec "$guest" -- cat /proc/kallsyms >"$out/kallsyms"
  waited=$(count_address sm_port_waited) received=$(count_address tcp_queue_rcv) syscall=$(count_address entry_SYSCALL_64)
  # A client's kernel widens its window by a KB with each answer, for thousands of them, and begins when some hundreds have
  # come. While it does, TCP's header prediction misses each request here (550 instructions): which server that befalls is
  # a matter of how many have come by then. The windows of large answers have to grow
  ((${size:-64} > 1400)) || vm/guest host "$guest" -- sh -c 'echo 0 >/proc/sys/net/ipv4/tcp_moderate_rcvbuf'
}

# count_neighbour: the client's address is known to the guest for good, to be called when a server is there. Else for some
# seconds out of thirty each packet looks whether it is (170 instructions), and a window may be one of those
count_neighbour() {
  local mac
  mac=$(vm/guest host "$guest" -- cat /sys/class/net/tap0/address) || return 0
  vm/guest exec "$guest" -- "ip neigh replace 10.77.0.1 lladdr $mac dev eth0 nud permanent"
}

count_finish() {
  [[ ! ${load:-} ]] || kill "$load" 2>/dev/null || true
  vm/guest stop "$guest" >/dev/null 2>&1 || true
  rm -f "$out/fifo"
}

# count_address FUNCTION
count_address() {
  awk -v name="$1" '$3 == name { print $1; found = 1; exit } END { exit !found }' "$out/kallsyms" || die "the guest has no $1()"
}

# count_built: what figures depend on: the guest's kernel and the compiler
count_built() { echo "$(vm/guest exec "$guest" -- uname -r) gcc-$(${CC:-cc} -dumpversion)"; }

# count_check ROW COUNT PERCENT WHAT: TAP; fails if COUNT is so much above what tests/instructions.baseline has for ROW.
# A baseline of another kernel or compiler is skipped
count_check() {
  local built want name="$4: $2"
  built=$(count_built)
  want=$(sed -n "s/^$1 \([0-9]*\) $built\$/\1/p" tests/instructions.baseline)
  if [[ ! $want ]]; then
    echo "ok - $name # SKIP no baseline for $built: add '$1 $2 $built' to tests/instructions.baseline"
  elif (($2 * 100 <= want * (100 + $3))); then
    echo "ok - $name (baseline $want)"
  else
    echo "not ok - $name, more than $3 % above the baseline of $want"
    return 1
  fi
}

# count_program PROGRAM FUNCTION: where it is in a process: programs begin there if nothing is random
count_program() {
  local at
  at=$(nm "build/$1" | awk -v name="$2" '$3 == name { print $1 }')
  [[ $at ]] || die "$1 has no $2()"
  printf '%x\n' $((0x555555554000 + 0x$at))
}

# snapshot FILE: executions so far
snapshot() {
  local i
  rm -f "$1" "$1.ok"
  timeout 10 sh -c 'echo "$1" >"$2"' sh "$1" "$out/fifo" || die "QEMU does not count"
  for ((i = 0; i < 200; i++)); do [[ ! -e $1.ok ]] || return 0; sleep 0.05; done
  die "QEMU does not write its counts"
}

# delta A B: instructions between two snapshots, in how many rounds a sync found nothing, segments with payload received
# (requests: to count all segments would be to count the acknowledgements, too, of which a client on a busy machine sends
# one for each third answer), and system calls. (By the same snapshots, or a busy host's delays are in the figure)
delta() {
  awk -v waited="$waited" -v received="$received" -v syscall="$syscall" '{ sign = FNR == NR ? -1 : 1; i += sign * $2 * $3 }
    $1 == waited { p += sign * $3 } $1 == received { n += sign * $3 } $1 == syscall { c += sign * $3 }
    END { printf "%.0f %.0f %.0f %.0f\n", i, p, n, c }' "$1" "$2"
}

# events SERVER REQUESTS: a line of what happened in the last window, per request: system calls, context switches, interrupts,
# exits (what a guest on hardware would leave its processor for: doorbells, halts, timers set), page faults, allocations (slab and
# pages), and misses of the modelled caches: L1I L1D L2. A driver in user space rings its doorbell itself: SERVER.symbols
# says where. (What user space allocates is in no count but the instructions)
events() {
  awk -v requests="$2" '
    FILENAME ~ /(kallsyms|symbols)$/ {
      if ($3 == "entry_SYSCALL_64") kind[$1] = "calls"
      else if ($3 == "__switch_to_asm") kind[$1] = "switches"
      else if ($3 ~ /^asm_(common_interrupt|sysvec_)/) kind[$1] = "interrupts"
      else if ($3 ~ /^(vp_notify|vp_notify_with_data|lapic_next_event|lapic_next_deadline|modern_notify_queue|legacy_notify_queue|default_idle|pv_native_safe_halt)$/) kind[$1] = "exits"
      else if ($3 == "asm_exc_page_fault") kind[$1] = "faults"
      else if ($3 ~ /^(kmem_cache_alloc(_lru|_node|_bulk)?|__kmalloc(_node|_node_track_caller|_cache|_cache_node|_large)?|__alloc_(frozen_)?pages)(_noprof)?$/)
        kind[$1] = "allocations"
      next
    }
    { sign = FILENAME ~ /\.a$/ ? -1 : 1 }
    /^#/ { n[substr($1, 2)] += sign * $2; next }
    $1 in kind { n[kind[$1]] += sign * $3 }
    END {
      k = split("calls switches interrupts exits faults allocations l1i l1d l2", of)
      for (i = 1; i <= k; i++) printf i <= 4 ? " %10.3f" : " %10.1f", n[of[i]] / requests
      print ""
    }' "$out/kallsyms" "$out/$1.symbols" "$out/$1.a" "$out/$1.b"
}

# user_symbols MAPS: what a process had mapped (/proc/PID/maps) as /proc/kallsyms has the kernel's: the functions of our
# preload library, and the beginning of each other file
user_symbols() {
  [[ -e $1 ]] || return 0
  awk -v lib=/libstackmap-preload.so '$6 ~ "^/" && !seen[$6]++ {
      split($1, a, "-"); n = split($6, path, "/")
      if (index($6, lib)) print "base", a[1]; else print a[1], "t", "(user)", "[" path[n] "]" }' "$1" |
    while read -r addr at rest; do
      if [[ $addr == base ]]; then
        nm build/libstackmap-preload.so | while read -r sym kind name; do
          [[ $kind != [tTwW] ]] || printf '%016x t %s [preload]\n' $((0x$sym + 0x$at)) "$name"
        done
      else
        printf '%016x %s %s\n' $((0x$addr)) "$at" "$rest"
      fi
    done
}

# shares SERVER REQUESTS: where the last window's instructions were spent: "COUNT FUNCTION", the largest first. What user
# space executed is one line, but where SERVER.maps says what was mapped
shares() {
  local files=("$out/$1.a" "$out/$1.b")
  [[ ! -e $out/$1.idle.a ]] || files+=("$out/$1.idle.a" "$out/$1.idle.b")
  { user_symbols "$out/$1.maps"; cat "$out/kallsyms"; } | sort | awk -v requests="$2" -v times="$(<"$out/$1.idle.times")" '
    BEGIN { for (i = 0; i < 16; i++) hex[substr("0123456789abcdef", i + 1, 1)] = i }
    # Addresses are compared as text of 16 digits, as awk has no integers of 64 bits
    function pad(s) { return substr("0000000000000000", length(s) + 1) s }
    FILENAME == "-" { if ($2 ~ /[tTwW]/) { addr[++k] = $1; name[k] = $3 ($4 ? " " $4 : "") } next }
    { a = pad($1); c = $2 * $3 * (FILENAME ~ /\.a$/ ? -1 : 1) * (FILENAME ~ /\.idle\.[ab]$/ ? -times : 1)
      if (a < "8" && (addr[1] > "8" || a < addr[1])) { sum["(user)"] += c; next }
      lo = 1; hi = k
      while (lo < hi) { m = int((lo + hi + 1) / 2); if (addr[m] <= a) lo = m; else hi = m - 1 }
      sum[name[lo]] += c }
    END { for (f in sum) printf "%8.0f  %s\n", sum[f] / requests, f }' - "${files[@]}" | sort -rn
}

