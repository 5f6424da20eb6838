#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# tests/unit/doctor.sh STACKMAP: stackmap doctor on made-up machines, files below a directory of their own. Prints TAP.
#
# What it asks the kernel for is tested in a guest (tests/doctor.sh).
set -uo pipefail
cd "$(dirname "$0")/../.." || exit 1
stackmap=$(realpath "${1:?which program?}")
tmp=$(mktemp -d) failed=0
root=$tmp/root
trap 'rm -rf "$tmp"' EXIT
version=$(sed -n 's/.*STACKMAP_VERSION "\(.*\)"$/\1/p' include/stackmap_version.h)
tested=$(sed -n 's/.*STACKMAP_TESTED_KERNELS "\(.*\)"$/\1/p' include/stackmap_version.h)
release=${tested##* }.0-test

ok() { # NAME: the status of the command before is the result
  if (($? == 0)); then echo "ok - $1"; else echo "not ok - $1"; failed=1; cat "$tmp/out" "$tmp/err" 2>/dev/null | sed 's/^/# /'; fi
}
put() { [[ -d $root${1%/*} ]] || mkdir -p "$root${1%/*}"; printf '%s\n' "${2-}" >"$root$1"; } # FILE [LINE]
link() { [[ -d $root${1%/*} ]] || mkdir -p "$root${1%/*}"; ln -sfn "$2" "$root$1"; }
# What doctor says in JSON, in $tmp/out, its checks as lines in $lines (one process for them all), and its status in $status
look() {
  "$stackmap" doctor --json --sysroot "$root" "$@" >"$tmp/out" 2>"$tmp/err"
  status=$?
  lines=$(jq -r '(.machine, .interfaces[]) as $p | $p.checks[] |
    [$p.name // "", .status, .check, .finding, .remedy // ""] | join("\u001f")' "$tmp/out") && [[ ! -s $tmp/err && $lines ]]
}
has() { jq -e "$@" "$tmp/out" >/dev/null; }
# LEVEL CHECK PATTERN [REMEDY]: the machine, or else interface $nic, has such a line
nic=''
says() {
  local name level check finding remedy
  while IFS=$'\x1f' read -r name level check finding remedy; do
    [[ $name != "$nic" || $level != "$1" || $check != "$2" ]] || { [[ $finding =~ $3 && $remedy =~ ${4-} ]] && return; }
  done <<<"$lines"
  false
}
# That every line but the ones marked ok has a remedy
remedies() { ! grep -v $'^[^\x1f]*\x1fok\x1f' <<<"$lines" | grep -q $'\x1f.\{0,5\}$'; }

# A module as the compiler makes it, with what modinfo shows of it
module() { # VERMAGIC [signed]
  local dir=$root/lib/modules/$release/updates
  mkdir -p "$dir"
  printf 'static const char info[] __attribute__((section(".modinfo"), used)) = "vermagic=%s\\0" "version=%s\\0" "srcversion=%s\\0" "name=stackmap";\n' \
    "$1" "$version" ABC | ${CC:-cc} -x c -c -o "$dir/stackmap.ko" - || exit 1
  if [[ ${2-} ]]; then
    # struct module_signature (scripts/sign-file.c), of no kind that needs more than this
    { printf 'Somebody'; printf 'k'; printf 'sig'; printf '\0\4\1\10\1\0\0\0\0\0\0\3'; printf '~Module signature appended~\n'; } >>"$dir/stackmap.ko"
  fi
  touch "$root/lib/modules/$release/modules."{order,builtin,builtin.modinfo}
  depmod -b "$root" "$release"
}
# A NIC on PCI: NAME DRIVER [QUEUES]
make_nic() {
  local dev=/sys/devices/pci0/$1.0 q
  put "$dev/net/$1/ifindex" 2
  put "$dev/net/$1/flags" 0x1003
  put "$dev/net/$1/carrier" 1
  put "$dev/net/$1/mtu" 1500
  link "/sys/class/net/$1" "../../devices/pci0/$1.0/net/$1"
  link "$dev/net/$1/device" ../..
  link "$dev/driver" "../../../bus/pci/drivers/$2"
  link "$dev/subsystem" ../../../bus/pci
  mkdir -p "$root/sys/bus/pci/drivers/$2" "$root/sys/module/${3:-$2}"
  link "/sys/bus/pci/drivers/$2/module" "../../../../module/${3:-$2}"
  mkdir -p "$root$dev/net/$1/queues/"{rx,tx}-0
}
# A machine that is fit, with the module loaded and one good NIC
fit_machine() {
  put /proc/sys/kernel/osrelease "$release"
  put /proc/self/status 'Name:	x'
  printf 'CapEff:\t000001ffffffffff\n' >>"$root/proc/self/status"
  put /proc/self/uid_map '         0          0 4294967295'
  put /proc/self/limits 'Limit                     Soft Limit           Hard Limit           Units'
  printf 'Max locked memory         8388608              8388608              bytes\n' >>"$root/proc/self/limits"
  put "/lib/modules/$release/build/Makefile"
  put /sys/module/stackmap/version "$version"
  put /sys/module/stackmap/parameters/any_driver N
  mkdir -p "$root/dev" && ln -s /dev/null "$root/dev/stackmap" && [[ -c $root/dev/stackmap ]]
  mkdir -p "$root/sys/class/net/lo"
  make_nic eth0 e1000e
}
# Another of that kind
machine() { rm -rf "$root" && cp -a "$tmp/fit" "$root"; }
unload() { rm -rf "$root/sys/module/stackmap" "$root/dev/stackmap"; }

fit_machine && mv "$root" "$tmp/fit"
machine
look && [[ $status = 0 ]] && has '.ready and (.machine.checks | all(.status != "fail")) and .interfaces[0].can_be_owned' && remedies
ok 'a machine that lacks nothing: status 0'
has --arg r "$release" '.machine.kernel == $r and .interfaces == [.interfaces[] | select(.name == "eth0" and .driver == "e1000e")]'
ok 'interfaces without a device are not looked at'
"$stackmap" doctor --sysroot "$root" >"$tmp/out" && grep -q '^  ok    driver  .*e1000e' "$tmp/out" && grep -q '^ready' "$tmp/out"
ok 'and in lines'

# ---- kernel
for r in $tested; do
  put /proc/sys/kernel/osrelease "$r.5-1-amd64" && look && says ok kernel "^$r[.].*tested"
  ok "$r is tested"
done
put /proc/sys/kernel/osrelease 5.10.0-30-amd64
look && [[ $status = 1 ]] && says fail kernel 'too old' "${tested%% *}" && has '.ready == false'
ok 'a kernel that is too old'
put /proc/sys/kernel/osrelease 6.1234.0
look && [[ $status = 0 ]] && says warn kernel 'not tested' && says warn headers none 'linux-headers-6.1234.0'
ok 'a series that was not tested, no headers: it may work'
put /proc/sys/kernel/osrelease "$(printf 'a%.0s' {1..400})"
look && says warn kernel 'no release'
ok 'a release that is none'

# ---- module
machine; unload
look && [[ $status = 1 ]] && says fail module 'not installed' stackmap-dkms && remedies
ok 'no module'
module "$release SMP preempt mod_unload modversions "
look && [[ $status = 1 ]] && says fail module 'installed: /lib/modules/.*/updates/stackmap.ko' 'modprobe stackmap' && has '.machine.module_installed'
ok 'a module that is not loaded'
put /proc/sys/kernel/modules_disabled 1 && look && says fail module 'loads no more'
ok 'no more modules are loaded'
module '6.0.0-other SMP preempt mod_unload modversions ' && look && says warn module 'built for 6.0.0-other.*may not'
ok 'a module for another kernel, with checksums of symbols'
module '6.0.0-other SMP preempt mod_unload ' && look && says fail module 'built for 6.0.0-other.*does not'
ok 'and without'
head -c 100 /dev/urandom >"$root/lib/modules/$release/updates/stackmap.ko" && look && says fail module 'no kernel module'
ok 'a module that is none'
machine; module "$release modversions "; put /sys/module/stackmap/srcversion DEF
look && [[ $status = 0 ]] && says warn module 'another build' 'modprobe -r'
ok 'another build is loaded than is installed'
put /sys/module/stackmap/version 0.0.0 && look && says warn module 'version 0.0.0' 'modprobe -r'
ok 'another version is loaded'
put /sys/module/stackmap/parameters/any_driver Y && look && says warn any_driver set
ok 'any_driver'

# ---- Secure Boot
efi=/sys/firmware/efi/efivars/SecureBoot-8be4df61-93ca-11d2-aa0d-00e098032b8c
machine; unload; module "$release modversions "; mkdir -p "$root$(dirname $efi)"; printf '\6\0\0\0\0' >"$root$efi"
look && says ok 'secure boot' '^off' && has '.machine.secure_boot == false and .machine.module_signed == false'
ok 'Secure Boot off'
printf '\6\0\0\0\1' >"$root$efi" && look && says fail 'secure boot' '^on.*not signed' 'mokutil --import'
ok 'on, with a module that is not signed'
module "$release modversions " signed && look && says warn 'secure boot' "^on.*Somebody" && has '.machine.module_signed'
ok 'and with one that is'
put /sys/kernel/security/lockdown '[none] integrity confidentiality' && look && says ok 'secure boot' '^on; modules need no'
ok 'on, without a lockdown'
printf '\6\0\0\0\0' >"$root$efi"; put /sys/kernel/security/lockdown 'none [integrity] confidentiality'
look && says warn 'secure boot' '^off; only signed'
ok 'a lockdown without Secure Boot'
rm "$root/sys/kernel/security/lockdown"; put /sys/module/module/parameters/sig_enforce Y; look && says warn 'secure boot' '^off; only signed'
ok 'module.sig_enforce'
printf '\6' >"$root$efi"; look && has '.machine.secure_boot == null'
ok 'a variable that is cut off'

# ---- rights
machine
ln -sfn nothing "$root/dev/stackmap" && look && [[ $status = 1 ]] && says fail device 'No such file' devtmpfs
ok 'a module without its device'
ln -sfn /etc/passwd "$root/dev/stackmap" && look && says fail device 'no device'
ok 'a file in its place'
machine
printf 'Name:\tx\nCapEff:\t0000000000001000\n' >"$root/proc/self/status"
look && [[ $status = 1 ]] && says fail rights '^you lack CAP_NET_RAW$' setcap && says fail memory '8192 kB.*16456' 'ulimit -l 16512'
ok 'a capability that is missing, and locked memory'
printf 'Name:\tx\nCapEff:\t0000000000000000\n' >"$root/proc/self/status"
look && says fail rights 'CAP_NET_ADMIN and CAP_NET_RAW'
ok 'both missing'
machine
sed -i 's/8388608/16850944/' "$root/proc/self/limits" && printf 'CapEff:\t0000000000003000\n' >"$root/proc/self/status"
look && [[ $status = 0 ]] && says ok memory '16456 kB.* 1 default'
ok 'memory for just one port'
sed -i 's/16850944/16850943/' "$root/proc/self/limits" && look && [[ $status = 1 ]]
ok 'and a byte less'
sed -i 's/16850943/unlimited/' "$root/proc/self/limits" && look && says ok memory 'no limit'
ok 'memory without a limit'
machine; put /proc/self/uid_map '0 1000 1'; look && says fail memory '8192 kB'
ok 'CAP_IPC_LOCK of a user namespace does not count'

# ---- interfaces
machine; nic=eth0
put /sys/class/net/eth0/flags 0x1002 && look && [[ $status = 1 ]] && says fail link down 'ip link set dev eth0 up'
ok 'down'
put /sys/class/net/eth0/flags 0x1003 && put /sys/class/net/eth0/carrier 0 && look && [[ $status = 0 ]] && says warn link carrier
ok 'no carrier'
while read -r driver level pattern; do
  machine; make_nic eth0 "$driver" && look
  says "$level" driver "$pattern" && remedies && has --argjson want "$([[ $level = ok ]] && echo true || echo false)" '.ready == $want'
  ok "$driver: $level, $pattern"
done <<'END'
igb ok tested
ixgbe ok read
8139too fail safely
nosuch fail neither
vif fail neither
END
machine; make_nic eth0 vif xen_netfront; look && says ok driver vif
ok 'xen-netfront, which calls itself as xen-netback does'
machine; put /sys/module/e1000e/taint OE; look && says fail driver "outside the kernel's tree"
ok 'a driver from outside the tree'
machine; make_nic eth0 nosuch; put /sys/module/stackmap/parameters/any_driver Y; look && [[ $status = 0 ]] && says warn driver any_driver
ok 'any driver is owned where that was asked for'
machine; make_nic eth0 tg3; mkdir -p "$root/sys/class/net/eth0/queues/rx-1"; look && says fail driver 'single receive queue' 'ethtool -L eth0'
ok 'a driver that is owned with one queue only'
machine; mkdir -p "$root/sys/class/net/br0/lower_eth0" && put /sys/class/net/br0/ifindex 5
nic=br0; look br0 && [[ $status = 1 ]] && says fail driver 'no NIC' 'own eth0'
ok 'a bridge: it names the NIC below'
nic=eth0; look eth0 br0 && [[ $status = 1 ]] && has '[.interfaces[].can_be_owned] == [true, false]'
ok 'one of two that were named: status 1'
make_nic eth1 8139cp; look && [[ $status = 0 ]]
ok 'one of two that were found: status 0'
for bad in nosuch '' . .. ../eth0 /etc averyverylongname $'a\nb' $'\xff\xfe'; do
  nic=''; look "$bad" && [[ $status = 1 ]] && has '.interfaces | length == 1 and .[0].can_be_owned == false and .[0].checks[0].status == "fail"'
  ok "no interface: $(printf %q "$bad")"
done
"$stackmap" doctor --sysroot "$root" $'\e[31mred\xff' >"$tmp/out" 2>"$tmp/err"
[[ $? = 1 ]] && ! LC_ALL=C grep -q '[^ -~]' "$tmp/out"
ok 'a terminal gets no control characters'
rm -rf "$root/sys/class/net"; nic=''; look && [[ $status = 1 ]] && says fail interfaces none
ok 'no interface at all'

# ---- interrupts and processors
machine; nic=eth0
for q in 0 1 2 3; do
  mkdir -p "$root/sys/class/net/eth0/queues/"{rx,tx}-$q
  put "/sys/class/net/eth0/device/msi_irqs/$((30 + q))" msix
  mkdir -p "$root/proc/irq/$((30 + q))/eth0-TxRx-$q"
  put "/proc/irq/$((30 + q))/smp_affinity_list" 0-39
  put "/proc/irq/$((30 + q))/effective_affinity_list" $((q % 3))
done
put /sys/class/net/eth0/device/msi_irqs/40 msix; mkdir -p "$root/proc/irq/40/eth0"
put /sys/class/net/eth0/queues/tx-0/xps_cpus '00000000,00000001'
put /sys/class/net/eth0/queues/tx-1/xps_cpus 'f0,8000000a'
put /sys/class/net/eth0/queues/tx-2/xps_cpus '0'
put /sys/class/net/eth0/queues/rx-1/rps_cpus '3'
look && has '[.interfaces[0].queues[] | [.queue, .irq, .irq_name, .irq_cpus, .irq_cpus_allowed]]
  == [range(4) | [., 30 + ., "eth0-TxRx-\(.)", "\(. % 3)", "0-39"]]'
ok 'the interrupt of each queue'
says tip interrupt 'queues 0 and 3 both interrupt CPU 0' && says ok interrupt 'queue 2: 32 .eth0-TxRx-2. on CPU 2' 'taskset -c 2'
ok 'two of them on one processor'
has '[.interfaces[0].queues[].xps_cpus] == ["0", "1,3,31,36-39", "", null]' && says tip XPS '^1 of 4'
ok 'XPS, of 64 processors'
says tip RPS 'queue 1 .*CPU 0-1' 'rx-1/rps_cpus' && has '.interfaces[0].queues[1].rps_cpus == "0-1"'
ok 'RPS'
rm -rf "$root/sys/class/net/eth0/device/msi_irqs" "$root/proc/irq"; put /sys/class/net/eth0/device/irq 11
mkdir -p "$root/proc/irq/11/eth0" && put /proc/irq/11/smp_affinity_list 1 && look && says ok interrupt 'queue 0: 11 .eth0. on CPU 1'
ok 'an interrupt of the old kind'

# ---- virtio
machine; unload; module "$release modversions "
dev=/sys/devices/pci0/p/virtio3
make_nic eth0 virtio_net; rm "$root/sys/class/net/eth0"
put $dev/net/eth0/ifindex 2; put $dev/net/eth0/flags 0x1003; put $dev/net/eth0/mtu 1500; mkdir -p "$root$dev/net/eth0/queues/"{rx,tx}-0
link /sys/class/net/eth0 ../../devices/pci0/p/virtio3/net/eth0
link $dev/net/eth0/device ../..; link $dev/driver ../../../../bus/pci/drivers/virtio_net; link $dev/subsystem ../../../../bus/virtio
put /sys/devices/pci0/p/msi_irqs/27 msix; mkdir -p "$root/proc/irq/27/virtio3-input.0"; put /proc/irq/27/smp_affinity_list 3
features() { put $dev/features "$(printf '%s' "$1" | awk '{ n = split($0, b, " "); for (i = 1; i <= n; i++) f[b[i]] = 1; for (i = 0; i < 64; i++) printf "%d", f[i] }')"; }
features '0 15 32 40'; look && says tip virtio copies 'modprobe stackmap && stackmap bind eth0' && says ok interrupt '27 .virtio3-input.0. on CPU 3' &&
  has '.interfaces[0].virtio_features == ["csum", "mrg_rxbuf", "version_1", "ring_reset"]'
ok 'a virtio NIC: stackmap bind, and its features'
features '0 15'; look && says tip virtio legacy
ok 'a legacy device'
link $dev/driver ../../../../bus/virtio/drivers/stackmap_virtio
features '32'; look && says ok driver own && says warn virtio 'reset a ring' && says tip virtio mergeable && says ok buffers 'fits' && remedies
ok "the module's own driver on a poor device"
put $dev/net/eth0/mtu 4066; look && says ok buffers fits
ok 'the largest MTU that fits in a buffer'
put $dev/net/eth0/mtu 4067; look && says tip buffers '2 buffers' 'mtu 4066'
ok 'and one more'
put $dev/features x; look && says warn virtio 'reset'
ok 'features that are none'

# ---- speed
machine; nic=''
put /sys/devices/system/cpu/cpu0/cpufreq/scaling_governor performance; look && says ok governor performance
ok 'governor'
put /sys/devices/system/cpu/cpu1/cpufreq/scaling_governor powersave; put /proc/sys/net/core/busy_read 50
look && [[ $status = 0 ]] && says tip governor 'powersave on 1 of 2' && says tip 'busy poll' 'busy_read is 50'
ok 'a governor that saves power, sockets that poll'
nic=eth0; put /sys/class/net/eth0/gro_flush_timeout 200000; put /sys/class/net/eth0/napi_defer_hard_irqs 2; put /sys/class/net/eth0/threaded 1
look && [[ $status = 0 ]] && says tip interrupts '200 us' && says tip interrupts thread && remedies
ok 'interrupts that are held up'

# ---- the command line
wrong() { # NAME PATTERN ARGUMENT...: status 2 and one line like PATTERN
  local name=$1 pattern=$2
  shift 2
  "$stackmap" "$@" >"$tmp/out" 2>"$tmp/err"
  [[ $? = 2 && ! -s $tmp/out && $(wc -l <"$tmp/err") = 1 ]] && grep -q "$pattern" "$tmp/err"
  ok "$name"
}
wrong 'no such root' 'no root of a system' doctor --sysroot /nonexistent
wrong '--sysroot with another command' 'is for doctor' list --sysroot "$root"
wrong 'doctor --watch' 'looks once' doctor -n 1
wrong 'an option that is none' "no option '--frob'" doctor --frob
"$stackmap" --help >"$tmp/out" && grep -q 'doctor \[--json\] \[IFACE' "$tmp/out" && ! grep -q sysroot "$tmp/out"
ok '--help'
"$stackmap" doctor --sysroot "$root" >/dev/full 2>"$tmp/err"
[[ $? = 1 ]] && grep -q 'writing' "$tmp/err"
ok 'a full disk is told'
exit $failed
