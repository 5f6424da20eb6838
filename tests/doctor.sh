#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# tests/doctor.sh GUEST: stackmap doctor in a guest: what it says is what the module does. Prints TAP.
#
# GUEST has the programs of scripts/stage, and nobody owns eth0, on either driver. With the stock one the module is taken out
# first, and is loaded afterwards. tests/unit/doctor.sh has what no guest has.
set -uo pipefail
cd "$(dirname "$0")/.." || exit 1
guest=${1:?which guest?}
tmp=$(mktemp -d) failed=0
inside() { vm/guest exec "$guest" --timeout 30 -- "$1"; }
ok() { # NAME: the status of the command before is the result
  if (($? == 0)); then echo "ok - $1"; else echo "not ok - $1"; failed=1; sed 's/^/# /' "$tmp/out"; fi
}
clean() {
  inside 'kill $(pidof stackmap-httpd); ip link del dummy7; ip link del dv0; ip link del dbr' >/dev/null 2>&1
  rm -rf "$tmp"
}
trap clean EXIT
# In the guest; its JSON is in $tmp/out, its status in $status
look() { # [PREFIX...]: of the command
  inside "${1-} stackmap doctor --json ${*:2}" >"$tmp/out" 2>"$tmp/err"
  status=$?
  [[ ! -s $tmp/err ]] && jq -e . "$tmp/out" >/dev/null
}
has() { jq -e "$@" "$tmp/out" >/dev/null; }
# LEVEL CHECK PATTERN: the machine, or an interface
says() {
  has --arg l "$1" --arg c "$2" --arg p "$3" '[.machine, .interfaces[]] | map(.checks[]) |
    any(.status == $l and .check == $c and (.finding | test($p)) and (.status == "ok" or .remedy != null))'
}

own=$(inside 'readlink /sys/class/net/eth0/device/driver')
if [[ $own == */virtio_net ]]; then
  inside 'if [ -e /sys/module/stackmap ]; then rmmod stackmap; fi'
  look '' && [[ $status = 1 ]] && has '.ready == false and .machine.module_installed' && says fail module 'not loaded; it is installed' &&
    has '.interfaces | length == 1 and .[0].can_be_owned'
  ok 'the module is not loaded'
  inside 'stackmap list; stackmap-httpd' >"$tmp/out" 2>&1
  [[ $(grep -c 'modprobe stackmap; .*see stackmap doctor' "$tmp/out") = 2 ]]
  ok 'and other messages say so, too'
  inside "$(jq -r '.machine.checks[] | select(.check == "module") | .remedy | split(" (")[0]' <(look ''; cat "$tmp/out"))"
  ok 'the remedy loads it'
fi

look '' && [[ $status = 0 ]] && has '.ready and (.interfaces | length == 1) and (.interfaces[0] |
  .can_be_owned and .up and .mtu == 1500 and .offloads.gro and .rings.rx > 0 and (.queues | length) == .rx_queues and .owners == [] and
  (.virtio_features | index("version_1")) != null and (.queues[0].irq_name | test("^virtio.-input.0$")) and .queues[0].irq > 0)'
ok 'eth0 can be owned'
says ok device 'mode 0600: for root' && says ok abi answers && says ok rights CAP_NET_RAW && says ok memory CAP_IPC_LOCK
ok 'and by root'
if [[ $own == */virtio_net ]]; then says tip virtio 'copies'; else says ok driver 'own' && says ok buffers fits; fi
ok 'it tells the drivers of a virtio NIC apart'

# What is the same on either driver
if [[ $own == */virtio_net ]]; then
  look "su -s /bin/sh nobody -c 'exec \"\$0\" \"\$@\"' --" && [[ $status = 1 ]] && says fail device 'mode 0600.*Permission denied' &&
    says fail rights 'CAP_NET_ADMIN and CAP_NET_RAW' && says fail memory 'kB may be locked' && has '.interfaces[0].can_be_owned'
  ok 'another user may not'
  inside "su -s /bin/sh nobody -c stackmap-httpd" >"$tmp/out" 2>&1
  grep -q 'udev rule (see stackmap doctor)' "$tmp/out"
  ok 'whom stackmap-httpd sends to the doctor'
  look 'unshare -r' && [[ $status = 1 ]] && says fail rights 'user namespace'
  ok 'capabilities of a user namespace do not count'
  inside "unshare -r sh -c 'chmod 666 /dev/stackmap; stackmap-httpd'; chmod 600 /dev/stackmap" >"$tmp/out" 2>&1
  grep -q -e 'CAP_NET_RAW over' -e 'no permission' "$tmp/out"
  ok 'nor for the module'
  look 'unshare -n' eth0 && [[ $status = 1 ]] && says fail interface 'this network namespace'
  ok 'an interface of another network namespace'
  look '' nosuch eth0 "'../eth0'" "''" && [[ $status = 1 ]] && has '[.interfaces[].can_be_owned] == [false, true, false, false]'
  ok 'interfaces that are not there'
  for bad in --frob '-n 1' --json=7; do
    inside "stackmap doctor $bad" >"$tmp/out" 2>&1
    [[ $? = 2 && $(wc -l <"$tmp/out") = 1 ]]
    ok "doctor $bad"
  done
fi

# What it says of an interface is what the module does with it
inside 'modprobe -a dummy veth bridge; ip link add dummy7 type dummy; ip link add dv0 type veth peer name dv1; ip link add dbr type bridge
  for i in dummy7 dv1 dv0 dbr; do ip link set $i up; done; ethtool -K dv0 gro on'
agrees() { # INTERFACE WANTED PATTERN: of what the module's refusal reads like
  local opened=true
  look '' "$1"
  inside "timeout -s KILL 2 stackmap-httpd -i $1 -p 8123 2>&1" >"$tmp/opened"
  grep -q 'owns' "$tmp/opened" || opened=false
  [[ $opened = "$2" ]] && grep -q "$3" "$tmp/opened" && has --argjson opened "$opened" '.interfaces[0].can_be_owned == $opened'
  ok "$1: module and doctor say $2"
}
agrees dv0 true owns
agrees dv1 false 'stackmap doctor'
says fail offloads GRO
ok '... for a reason'
agrees dummy7 false 'stackmap doctor'
says fail driver 'dummy'
ok '... for a reason'
inside 'ip link set eth0 master dbr'
look '' dbr && says fail driver 'virtual interface' && has '.interfaces[0].checks | any((.remedy // "") | test("own eth0"))'
ok 'a bridge: it names the NIC below'
inside 'ip link set eth0 nomaster; ip link set dv0 down'
agrees dv0 false 'is down'

# An owner is named, and not disturbed
inside 'stackmap-httpd -p 8080 >/tmp/d.out 2>&1 </dev/null & for i in 1 2 3 4 5 6 7 8 9; do grep -q owns /tmp/d.out && break; sleep 0.2; done'
look '' eth0 && [[ $status = 0 ]] && has '.interfaces[0].owners | length == 1 and .[0].queue == 0 and .[0].pid > 1' && says ok owner 'owns queue 0'
ok 'the owner of a queue'
[[ $(vm/guest host "$guest" -- curl -s -m 5 "http://$(vm/guest addr "$guest" 8080)/" | wc -c) -gt 0 ]]
ok 'who goes on'
exit $failed
