-- SPDX-License-Identifier: GPL-2.0
-- post.lua: wrk sends requests with bodies of 65536 bytes, and reports as ever. The request is built once.
dofile("bench/report.lua")
wrk.method = "POST"
wrk.body = string.rep("x", 65536)
