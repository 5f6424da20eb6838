-- SPDX-License-Identifier: GPL-2.0
-- report.lua: wrk prints one line for bench/run: requests/s, p50 and p99 in us, errors; and "more": p90, p99.9, most.
-- It defines no request() or response(), so that it costs nothing while wrk runs.
function done(summary, latency, requests)
  local e = summary.errors
  io.write(string.format("report %.1f %.0f %.0f %d\n", summary.requests / (summary.duration / 1e6),
    latency:percentile(50), latency:percentile(99), e.connect + e.read + e.write + e.status + e.timeout))
  io.write(string.format("more %.0f %.0f %.0f\n", latency:percentile(90), latency:percentile(99.9), latency.max))
end
