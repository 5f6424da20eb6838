#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# nics.sh IFACE ROUNDS PEER [OP...]: the guest's half of tests/nics. Prints TAP, and "want ..." for what the host
# has to do.
#
# Everything that reconfigures IFACE (OP...; all by default) is done without an owner first, with a processor as busy
# as one makes it: so it is seen how long it takes, and what the driver cannot do. Then ROUNDS rounds with an owner that
# sleeps and syncs in turn, and as many with one that never stops. A round is one operation, there and back, each begun
# only when the owner polls the NIC; then traffic has to work. What takes seconds is not in every turn of the list.
# Environment: SLACK_MS, what an emulated machine that does other things, too, may take longer; BOUND, seconds after
# which an owner's rounds end early; NO_OWNER, the rounds are done without one.
ifc=$1 rounds=$2 peer=$3
shift 3
slack=${SLACK_MS:-500} bound=${BOUND:-100000} ticks=8 counts=/dev/shm/owner owner='' pinging='' failed=0 mode=''
declare -A there back worst sum n late base_worst base_mean
dev=/sys/class/net/$ifc/device
case $ifc in smn*) driver=veth ;; *) driver=$(basename "$(readlink "$dev/driver")") ;; esac

tap() { # STATUS NAME
  if (($1 == 0)); then echo "ok - $driver: $2"; else echo "not ok - $driver: $2"; failed=1; fi
}

# ---- what is done; status 0, or the driver cannot

pairs() { ethtool "$1" "$ifc" 2>/dev/null | awk -v part="$2" '/^Pre-set/ { p = "max" } /^Current/ { p = "now" } p == part'; }
value() { pairs "$1" "$2" | awk -v k="$3:" '$1 == k && $2 ~ /^[0-9]+$/ { print $2 }'; }

prepare() {
  local k a b max other=''
  for k in RX TX; do
    a=$(value -g now $k) max=$(value -g max $k)
    [[ $a ]] || continue
    b=$((2 * a <= max ? 2 * a : a / 2))
    there[rings]+="${k,,} $b " back[rings]+="${k,,} $a "
  done
  [[ ! ${there[rings]-} ]] || there[rings]="ethtool -G $ifc ${there[rings]}" back[rings]="ethtool -G $ifc ${back[rings]}"
  for k in Combined RX TX; do
    a=$(value -l now $k) max=$(value -l max $k)
    ((${max:-0} > 1)) || continue
    b=$((a == 1 ? 2 : 1))
    there[channels]+="${k,,} $b " back[channels]+="${k,,} $a "
  done
  [[ ! ${there[channels]-} ]] ||
    there[channels]="ethtool -L $ifc ${there[channels]}" back[channels]="ethtool -L $ifc ${back[channels]}"
  # What a driver has to look at rather than what only the stack does
  for k in rx-checksumming rx-all rx-vlan-offload generic-receive-offload; do
    a=$(ethtool -k "$ifc" 2>/dev/null | sed -n "s/^$k: \(on\|off\)\$/\1/p")
    [[ $a ]] || continue
    [[ $a == on ]] && b=off || b=on
    there[features$other]="ethtool -K $ifc $k $b" back[features$other]="ethtool -K $ifc $k $a"
    [[ $other ]] && break
    other=-2
  done
  there[pause]="ethtool -A $ifc rx off tx off" back[pause]="ethtool -A $ifc rx on tx on"
  there[mtu]="ip link set $ifc mtu 1400" back[mtu]="ip link set $ifc mtu 1500"
  there[promisc]="ip link set $ifc promisc on" back[promisc]="ip link set $ifc promisc off"
  there[updown]="ip link set $ifc down" back[updown]="ip link set $ifc up"
  there[carrier]=carrier_off back[carrier]=carrier_on
  if [[ $driver == veth ]]; then
    there[recreate]="ip link del $ifc" back[recreate]=veth_make
    return
  fi
  there[negotiate]="ethtool -r $ifc"
  there[unbind]=unbind back[unbind]=bind
  # igb's loopback test frees an skb twice on QEMU 10, and e1000e's frees buffers that the NIC is receiving into: where
  # the module was never loaded, too (--no-owner)
  [[ $driver == igb || $driver == e1000e ]] || there[selftest]=self_test
  # QEMU's e1000e writes what it receives to memory that was freed as the driver put it to sleep, where the module
  # was never loaded, too (page poisoning tells, on a debug kernel; --no-owner)
  # QEMU's vmxnet3 receives nothing any more after a sleep, without an owner, too, whatever is done then
  [[ $driver == vmxnet3 || $driver == e1000e && $(</proc/cmdline) == *page_poison* ]] ||
    there[suspend]=suspend there[freeze]=freeze
  there[rmmod]="rmmod $(basename "$(readlink "$dev/driver/module")")"
  back[rmmod]=${there[rmmod]/rmmod/modprobe}
  there[timeout]=hang back[timeout]=unhang
  there[aer]=aer
}
# In this order; the second list is what takes seconds
fast=(rings channels features features-2 pause mtu promisc updown carrier negotiate unbind recreate)
slow=(selftest suspend freeze rmmod timeout aer)

unbind() {
  device=$(basename "$(readlink -f "$dev")") drivers=$(readlink -f "$dev/driver")
  echo "$device" >"$drivers/unbind"
}
bind() { echo "$device" >"$drivers/bind"; }
# Whether it passes is the driver's and the emulator's affair: it resets the device
self_test() { ethtool -t "$ifc" offline >/tmp/test 2>&1; grep -q 'test result' /tmp/test; }
# To memory. The host wakes it: a clock's alarm may come before a busy machine sleeps
suspend() {
  local s
  grep -q mem /sys/power/state || return
  read -r s </sys/power/suspend_stats/success
  want wakeup
  echo mem >/sys/power/state || return
  (($(</sys/power/suspend_stats/success) > s))
}
# Tasks and devices only, for a second: nothing wakes an emulated machine that is idle otherwise
freeze() {
  local status=0
  echo devices >/sys/power/pm_test && echo 1 >/sys/module/suspend/parameters/pm_test_delay || return
  echo freeze >/sys/power/state || status=$?
  echo none >/sys/power/pm_test
  return $status
}
nap() { read -rt "$1" -u 7; } # without a process, which takes long to start here
exec 7<> <(:)
carrier_is() { # 0 or 1, within 15 s
  local end=$((SECONDS + 15)) now
  while ((SECONDS < end)); do
    read -r now <"/sys/class/net/$ifc/carrier" && [[ $now == "$1" ]] && return
    nap 0.02
  done 2>/dev/null
  return 1
}
want() { echo "want $*" >&9; }
carrier_off() {
  if [[ $driver == veth ]]; then ip -n smnet link set smn1 down; else want set_link n0 off; fi
  carrier_is 0
}
carrier_on() {
  if [[ $driver == veth ]]; then ip -n smnet link set smn1 up; else want set_link n0 on; fi
  carrier_is 1
}
# Its peer sends by one queue: with two, it would depend on a random hash whether ping comes in at the owner's
veth_make() {
  ip link add "$ifc" numrxqueues 2 numtxqueues 2 type veth peer name smn1 netns smnet numrxqueues 2 numtxqueues 1 || return
  ethtool -K "$ifc" gro on
  # A ping goes by NAPI only where its sender does no TSO (veth_skb_is_eligible_for_gro()): else the owner polled nothing
  ip netns exec smnet ethtool -K smn1 gro on tso off
  ip -n smnet addr add 10.78.0.1/24 dev smn1
  ip -n smnet link set smn1 up
}
# The device is kept from reading and writing memory: what is to be sent stays in its ring, until the kernel's watchdog
# has the driver reset it. e1000 does so when the carrier is lost with something in the ring, as then nothing else would
timeouts() { cat /sys/class/net/"$ifc"/queues/tx-*/tx_timeout | awk '{ n += $1 } END { print n }'; }
master() { # 0 or 1
  local c
  c=$(od -An -tu2 -j4 -N2 "$dev/config")
  c=$(((c & ~4) | 4 * $1))
  printf "\\x$(printf %x $((c & 255)))\\x$(printf %x $((c >> 8)))" | dd of="$dev/config" bs=1 seek=4 conv=notrunc status=none
}
host_address() { # STATE
  local mac
  mac=$(ip neigh show "$peer" dev "$ifc" | sed -n 's/.*lladdr \([^ ]*\).*/\1/p')
  ip neigh replace "$peer" lladdr "$mac" dev "$ifc" nud "$1"
}
hang() {
  local before end
  # (Without memory there is no MSI either, by which the carrier's loss would be told.)
  case $driver in virtio_net | e1000e | igb) return 1 ;; esac
  [[ -e $dev/config ]] || return
  before=$(timeouts)
  sysctl -q -w net.core.wmem_max=16000000
  host_address permanent || return
  master 0
  setsid ping -n -q -f -s 1400 -S 8000000 -l 1000 -c 4000 -w 15 "$peer" >/dev/null 2>&1 &
  if [[ $driver == e1000 ]]; then
    sleep 1
    carrier_off || { master 1; return 1; }
    sleep 3 # for the driver's watchdog, which looks every other second
    return
  fi
  end=$((SECONDS + 15))
  while ((SECONDS < end)); do
    (($(timeouts) == before)) || return 0
    nap 0.2
  done
  master 1
  return 1
}
unhang() { master 1; host_address reachable; carrier_on; }
# An error on PCI Express, not fatal, as the port reports it: the driver gets to know without RTNL
aer() {
  local b d f before i
  [[ -e $dev/aer_dev_nonfatal && -e $dev/../aer_rootport_total_err_nonfatal ]] || return
  modprobe aer_inject && [[ -c /dev/aer_inject ]] || return
  IFS=:. read -r _ b d f <<<"$(basename "$(readlink -f "$dev")")"
  before=$(grep TOTAL "$dev/aer_dev_nonfatal")
  # struct aer_error_inj: where, "completer abort"
  printf "\\x$b\\x$d\\x$f\\0\\0\\x80\\0\\0%24s" | tr ' ' '\0' >/dev/aer_inject || return
  for ((i = 0; i < 50; i++)); do
    [[ $(grep TOTAL "$dev/aer_dev_nonfatal") == "$before" ]] || return 0
    nap 0.1
  done
  return 1
}

# ---- how it is done

addresses() { # of an interface that was away or down
  case $driver in
    veth) ip link set "$ifc" up; ip addr replace 10.78.0.2/24 dev "$ifc" ;;
    *)
      sysctl -q -w "net.ipv6.conf.$ifc.accept_ra=0"
      ip link set "$ifc" up; ip addr replace 10.77.0.2/24 dev "$ifc"; ip -6 addr replace fd77::2/64 dev "$ifc" nodad
      ip route replace default via 10.77.0.1; ip -6 route replace default via fd77::1 ;;
  esac 2>/dev/null
}
traffic() { # within 30 s
  local i
  for ((i = 0; i < 30; i++)); do ping -n -q -c 1 -W 1 "$peer" >/dev/null 2>&1 && return; nap 0.05; done
  return 1
}
polls() { read -r now _ <$counts; } 2>/dev/null
# The owner polls the NIC, or there is none and the carrier is there
ready() {
  local end=$((SECONDS + 20)) start now=0
  [[ $owner ]] || { carrier_is 1; return; }
  polls
  start=${now:-0}
  while ((SECONDS < end)); do
    polls && ((now > start)) && return
    nap 0.01
  done
  return 1
}
bad() { echo "# $driver, $mode, $1: $2"; late[$1]=$((${late[$1]-0} + 1000)); }
timed() { # OP COMMAND
  local s=$EPOCHREALTIME e status=0 ms now slack=$slack
  eval "$2" >/tmp/err 2>&1 || status=$?
  e=$EPOCHREALTIME
  ms=$(((${e/./} - ${s/./}) / 1000))
  ((status == 0)) || return $status
  # The host looks only every other second whether to wake it
  [[ $1 != suspend ]] || ((slack += 2000))
  sum[$1]=$((${sum[$1]-0} + ms)) n[$1]=$((${n[$1]-0} + 1))
  ((ms <= ${worst[$1]-0})) || worst[$1]=$ms
  [[ $owner ]] && ((ms > ${base_worst[$1]} + ticks + slack)) || return 0
  # How fast is the machine just now?
  s=$EPOCHREALTIME; ethtool --version >/dev/null; ip -V >/dev/null; e=$EPOCHREALTIME
  now=$(((${e/./} - ${s/./}) / 1000))
  ((ms <= ${base_worst[$1]} + ticks + slack + 3 * now)) || late[$1]=$((${late[$1]-0} + 1))
  ((ms <= ${base_worst[$1]} + ticks + 4 * slack + 3 * now)) || bad "$1" "'$2' took $ms ms, when programs took $now to start"
}
round() { # OP
  local op=$1
  ready || { bad "$op" "before: $([[ $owner ]] && echo the owner does not poll the NIC || echo no carrier)"; addresses; return; }
  nap "0.0$((RANDOM % 40))"
  timed "$op" "${there[$op]}" || {
    [[ ! $owner ]] || bad "$op" "'${there[$op]}': $(</tmp/err)"
    eval "${back[$op]-}" >/dev/null 2>&1
    addresses
    return 1
  }
  if [[ ${back[$op]-} ]]; then
    case $op in
      updown | unbind | rmmod | recreate | carrier | timeout) ;;
      *) ready || bad "$op" 'between: the owner does not poll the NIC' ;;
    esac
    nap "0.0$((RANDOM % 40))"
    timed "$op" "${back[$op]}" || bad "$op" "'${back[$op]}': $(</tmp/err)"
  fi
  case $op in updown | unbind | rmmod | recreate | aer) addresses ;; esac
  traffic || stuck || { bad "$op" 'no traffic for 30 s'; addresses; }
}
# tulip sends nothing more at times, until it is bound anew ("Out-of-sync dirty pointer"), also where the module was never
# loaded: it uses its ring anew (tulip_up()) while something of before is in it
stuck() {
  [[ $driver == tulip ]] && dmesg | tail -n 5 | grep -q 'NETDEV WATCHDOG\|Out-of-sync' || return
  echo "# tulip: its transmit ring is stuck, as it is without an owner at times: bound anew"
  unbind && nap 0.1 && bind
  addresses
  traffic
}

owner_start() { # ON_MS OFF_MS
  local i
  rm -f $counts
  taskset -c "$(($(nproc) - 1))" /root/nic_owner "$ifc" "$1" "$2" $counts 2>/tmp/owner.err &
  owner=$!
  for ((i = 0; i < 500; i++)); do
    [[ -s $counts ]] && return
    kill -0 "$owner" 2>/dev/null || break
    nap 0.02
  done
  wait "$owner"
  [[ $? == 3 ]] || { tap 1 "an owner starts: $(</tmp/owner.err)"; exit 1; }
  echo "ok - $driver # SKIP the module will not have it: $(</tmp/owner.err)"
  exit
}
# shellcheck disable=SC2086  # either may be none
finish() {
  kill -KILL $owner $pinging 2>/dev/null
  wait $owner $pinging 2>/dev/null
  owner='' pinging=''
}

with_owner() { # NAME ON_MS OFF_MS
  local i turn op s=$SECONDS
  worst=() sum=() n=() late=() mode=$1
  if [[ $driver == veth ]]; then
    ip netns exec smnet ping -n -q -i 0.02 -s 1000 10.78.0.2 >/dev/null 2>&1 &
    pinging=$!
  fi
  [[ ${NO_OWNER-} ]] || owner_start "$2" "$3"
  for ((i = 0, turn = 0; ; turn++)); do
    for op in "${fast[@]}" "${slow[@]}"; do
      ((i < rounds && SECONDS - s < bound)) || break 2
      [[ $can == *" $op "* ]] || continue
      [[ " ${slow[*]} " != *" $op "* ]] || ((turn % 8 == 0)) || continue
      round "$op"
      ((++i))
    done
  done
  for op in "${fast[@]}" "${slow[@]}"; do
    [[ ${n[$op]-} || ${late[$op]-} ]] || continue
    # What is late once may be the machine's fault
    ((${late[$op]-0} <= 1 + ${n[$op]-0} / 20))
    tap $? "$mode: $op: ${n[$op]-0} times, worst ${worst[$op]-} ms, mean $((${sum[$op]-0} / ${n[$op]-1})),\
 late ${late[$op]-0}; without an owner ${base_worst[$op]}, ${base_mean[$op]}"
  done
  if [[ ! ${NO_OWNER-} ]]; then read -r polled synced packets stalls ports errors <$counts; else
    echo "# $mode: $i rounds in $((SECONDS - s)) s"
    return
  fi
  ((polled > i && errors == 0 && packets > 0))
  tap $? "$mode: $i rounds in $((SECONDS - s)) s; $polled polls, $packets packets, $synced syncs, $stalls stalls,\
 $ports ports, $errors errors"
  finish
}

exec 9>&1
trap finish EXIT
[[ $driver != veth ]] || { veth_make && addresses; }
prepare
[[ ! $* ]] || fast=("$@") slow=()
traffic || { tap 1 'traffic before anything else'; exit 1; }
[[ ${NO_OWNER-} ]] || owner_start 1 1
finish
mode='no owner'
taskset -c "$(($(nproc) - 1))" bash -c 'while :; do :; done' &
busy=$!
trap 'kill $busy; finish' EXIT
can=' '
for op in "${fast[@]}" "${slow[@]}"; do
  [[ ${there[$op]-} ]] || continue
  round "$op" || { echo "# $driver: cannot do $op: $(head -n 1 /tmp/err)"; continue; }
  # Some emulated NICs do not come back from a sleep: that says nothing of an owner
  if [[ $op =~ ^(suspend|freeze)$ ]] && ((${late[$op]-0})); then
    echo "# $driver: does not come back from $op, without an owner either"
    round unbind
    continue
  fi
  can+="$op "
  ((${late[$op]-0} == 0))
  tap $? "without an owner: $op"
  base_worst[$op]=${worst[$op]-0} base_mean[$op]=$((${sum[$op]-0} / ${n[$op]-1}))
done
kill "$busy"
trap finish EXIT
[[ $can =~ ' '(rings|channels|features|pause)' ' || $* ]]
tap $? 'something is reconfigured by ethtool'
[[ ! ${NO_OWNER-} ]] || { with_owner "$mode"; exit $failed; }
with_owner 'an owner that sleeps and syncs' 30 10
with_owner 'an owner that never stops' 0 0
exit $failed
