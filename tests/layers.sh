#!/bin/bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# tests/layers.sh NAME OBJECT...: whether the files of NAME use each other one way only, as their objects tell. TAP.
set -euo pipefail
name="the files of $1 use each other one way only"
shift

echo 1..1
# "USER USED" of each pair: tsort says where they go in a circle, and fails then
uses=$(nm -A "$@" | awk '
  { split($1, file, ":"); symbol = $NF; type = $(NF - 1) }
  type ~ /^[BDRTVW]$/ { at[symbol] = file[1] }
  type == "U" { needs[file[1] " " symbol] }
  END { for (n in needs) { split(n, w, " "); if (w[2] in at && at[w[2]] != w[1]) print w[1], at[w[2]] } }' | sort -u)
if circle=$(tsort <<<"${uses:?no file uses another}" 2>&1 >/dev/null); then
  echo "ok - $name"
else
  echo "not ok - $name"
  echo "# ${circle//$'\n'/$'\n# '}"
  exit 1
fi
