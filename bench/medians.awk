# SPDX-License-Identifier: GPL-2.0
# medians.awk: one line for each point of a file that bench/evaluation wrote, the rounds brought together.
#
#   awk -v commit=C -v base=SERVER -f bench/medians.awk results.csv results.csv
#                                       (without commit: that of the last line; without base: epoll)
#
# EXPERIMENT SERVER QUEUES PROTOCOL SIZE CONNECTIONS OFFERED ROUNDS, then MEDIAN MIN MAX of each of: requests/s, p50, p90,
# p99, p99.9 (us); then the medians of: errors + unanswered, client, io, vcpu, wait (%), instructions; then those of requests/s
# and of p50 in times of what the base had at the same point in the same round. "-": not measured.
BEGIN { FS = ","; if (base == "") base = "epoll" }
FNR == NR { if (FNR > 1) last = $1; next }
commit == "" { commit = last }
$1 != commit { next }
{
  key = $2 " " $3 " " $4 " " $5 " " $6 " " $7 " " $8
  if (!(key in rounds)) order[++keys] = key
  n = ++rounds[key]
  for (i = 10; i <= 14; i++) value[key, i, n] = $i
  value[key, 15, n] = $16 + $17
  for (i = 16; i <= 20; i++) value[key, i, n] = $(i + 3)
  # Datagrams have a protocol of their own, and bulk has two at one point
  point[key] = $2 " " $4 " " ($5 == "post") " " $6 " " $7 " " $8
  round[key, n] = $9
  if ($3 == base) for (i = 10; i <= 11; i++) first[point[key], i, $9] = $i
}
# The rounds' ratios to the base's of value[key, i, ...] become value[key, i + 11, ...]
function ratios(key, i, n,   j, e) {
  for (j = 1; j <= n; j++) {
    e = first[point[key], i, round[key, j]]
    value[key, i + 11, j] = e > 0 && value[key, i, j] > 0 ? value[key, i, j] / e : ""
  }
}
# The median of value[key, i, ...], and in least and most their ends
function median(key, i, n,   a, k, j, v) {
  k = 0
  for (j = 1; j <= n; j++) if (value[key, i, j] != "") {
    v = value[key, i, j] + 0
    a[++k] = v
    for (m = k; m > 1 && a[m - 1] > v; m--) a[m] = a[m - 1]
    a[m] = v
  }
  if (!k) { least = most = "-"; return "-" }
  least = a[1]; most = a[k]
  return k % 2 ? a[(k + 1) / 2] : (a[k / 2] + a[k / 2 + 1]) / 2
}
END {
  for (o = 1; o <= keys; o++) {
    key = order[o]
    line = key " " rounds[key]
    for (i = 10; i <= 14; i++) { mid = median(key, i, rounds[key]); line = line " " mid " " least " " most }
    for (i = 10; i <= 11; i++) ratios(key, i, rounds[key])
    for (i = 15; i <= 22; i++) line = line " " median(key, i, rounds[key])
    print line
  }
}
