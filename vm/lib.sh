# shellcheck shell=bash
# SPDX-License-Identifier: GPL-2.0
# lib.sh: what the vm/ scripts share. Sourced, not run; the caller has set -euo pipefail.

prog=vm/${0##*/}
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
build=${here%/vm}/build
# The scripts run the administrator's programs; a plain user's PATH lacks them.
PATH=$PATH:/usr/sbin:/sbin

die() { echo "$prog: $*" >&2; exit 1; }
need_value() { (($# > 1)) || die "$1 needs a value"; }
# The comment block at the top of the running script is its manual.
usage() { sed -n '3,/^[^#]/{/^#/s/^# \{0,1\}//p}' "$0"; }

# Builds $build/vm/agent (both ends of the control channel, static) if it is older than its source.
build_agent() {
  local out=$build/vm/agent
  [[ $out -nt $here/agent.c ]] && return
  mkdir -p "$build/vm"
  "${CC:-gcc}" -std=gnu11 -O2 -Wall -Wextra -static -o "$out.$$" "$here/agent.c" || die "cannot build vm/agent.c"
  mv "$out.$$" "$out"
}
