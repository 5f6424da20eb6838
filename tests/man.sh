#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# tests/man.sh: every call of the library has a man page under its own name, which describes it. Prints TAP.
set -uo pipefail
cd "$(dirname "$0")/.." || exit 1
failed=0
ok() { # NAME: the status of the command before is the result
  if (($? == 0)); then echo "ok - $1"; else echo "not ok - $1"; failed=1; fi
}

exported=$(sed -n 's/^\t\(stackmap_[a-z_]*[a-z]\);$/\1/p' lib/libstackmap.map)
inline=$(sed -n 's/^static inline .*\b\(stackmap_[a-z_]*\)(.*/\1/p; s/^\(stackmap_[a-z_]*\)(.*/\1/p' lib/stackmap.h)
n=0 bad=()
for call in $exported $inline; do
  n=$((n + 1))
  page=man/$call.3
  # a link page names the page that has it
  [[ ! -f $page ]] || page=man/$(sed -n 's|^\.so man3/||p' "$page" | grep . || basename "$page")
  [[ -f $page ]] && grep -q "^\.Nm $call\b" "$page" && grep -q "^\.F[no] $call\b" "$page" || bad+=("$call")
done
((n >= 45 && ${#bad[@]} == 0))
ok "man 3 finds all $n calls${bad[*]:+, but not ${bad[*]}}"

bad=()
for page in man/*.3; do
  [[ $page == man/stackmap_*.3 ]] && call=$(basename "$page" .3)
  grep -q '^\.so ' "$page" || continue
  grep -qx "$call" <<<"$exported"$'\n'"$inline" || bad+=("$call")
done
((${#bad[@]} == 0))
ok "and nothing that is no call${bad[*]:+, but ${bad[*]}}"
exit $failed
