// SPDX-License-Identifier: GPL-2.0
/*
 * t_others.c - everybody else on an owned NIC: ping, ss, tcpdump, nft, sockets
 */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "app.h"
#include "net.h"
#include "sh.h"
#include "tap.h"

enum owner { BUSY, ASLEEP, STOPPED };

static int owner_port;

/* A process that owns the NIC and serves an echo, until it is killed */
static pid_t owner_start(enum owner how)
{
	int p[2];
	pid_t pid;

	CHECK(!pipe(p));
	pid = fork();
	if (pid == 0) {
		struct app *app = app_new_slots(64);

		owner_port = app_listen(app, here->guest4);
		app->spin = how == BUSY;
		app_round(app);
		CHECK(write(p[1], &owner_port, sizeof(owner_port)) == sizeof(owner_port));
		for (;;)
			app_round(app);
	}
	close(p[1]);
	CHECK(read(p[0], &owner_port, sizeof(owner_port)) == sizeof(owner_port));
	close(p[0]);
	if (how == STOPPED) {
		usleep(20000);
		kill(pid, SIGSTOP);
	}
	return pid;
}

static void owner_end(pid_t pid)
{
	kill(pid, SIGKILL);
	waitpid(pid, NULL, 0);
}

/*
 * ping from the peer: none lost, and the round trip is bounded. A busy host may give the guest no processor
 * for as long: what the owner is to blame for comes again
 */
static void ping_peer(int n, int ms, int bound)
{
	int lost, max, tries = 3;
	struct ask a;

	do {
		ask(&a, "ping %s %d %d", here->guest4, n, ms);
		ask_wait(&a, 20);
		CHECK(sscanf(a.answer, "ok %d %d", &lost, &max) == 2);
		tap_note("ping: %d lost, %d ms at most", lost, max);
		EQ(lost, 0);
	} while (max > bound * slow() && --tries);
	CHECKF(max <= bound * slow(), "%d ms", max);
}

/* An ordinary echo server, in this process, with the peer's echo client */
static void plain_server(int conns)
{
	int l = try_listen(here->guest4, 0), fd, i;
	char b[4096];
	struct ask a;
	ssize_t k;

	CHECK(l >= 0);
	set_timeout(l, 5000);
	ask(&a, "short %s %d %d 3 1", here->guest4, port_of(l), conns);
	for (i = 0; i < conns; i++) {
		fd = accept(l, NULL, NULL);
		CHECKF(fd >= 0, "connection %d: %s", i, strerror(errno));
		set_timeout(fd, 5000);
		while ((k = recv(fd, b, sizeof(b), 0)) > 0)
			send_all(fd, b, k);
		close(fd);
	}
	ask_wait(&a, 10);
	close(l);
}

static void others(enum owner how, int bound)
{
	pid_t pid = owner_start(how);
	double start = mono();

	ping_peer(20, 50, bound);
	/* (Whose addresses are known by then: ping ends at the first that has nobody) */
	CHECK(sh_pings(here->peer4));
	CHECK(sh_pings(here->peer6));
	EQ(sh("ping -n -q -c 5 -i 0.1 -W 2 -w 5 %s >/dev/null", here->peer4), 0);
	EQ(sh("ping -n -q -c 5 -i 0.1 -W 2 -w 5 %s >/dev/null", here->peer6), 0);
	start = mono();
	plain_server(50);
	tap_note("50 plain connections in %.2f s", mono() - start);
	owner_end(pid);
	ping_peer(3, 50, 200);
}

TEST_NIC(others_while_owner_syncs, 60)
{
	others(BUSY, 200);
}

TEST_NIC(others_while_owner_sleeps, 60)
{
	others(ASLEEP, 200);
}

TEST_NIC(others_while_owner_stopped, 60)
{
	others(STOPPED, 200);
}

/* Stopped for a while and on again: its connections have only waited */
TEST_NIC(owner_stopped_and_continued, 60)
{
	pid_t pid = owner_start(BUSY);
	struct ask a;
	int i;

	ask(&a, "echo %s %d 8 2000000 9999 3", here->guest4, owner_port);
	for (i = 0; i < 5; i++) {
		usleep(30000);
		kill(pid, SIGSTOP);
		usleep(150000);
		kill(pid, SIGCONT);
	}
	ask_wait(&a, 30);
	owner_end(pid);
}

TEST_NIC(ss_shows_ulp, 30)
{
	pid_t pid = owner_start(BUSY);
	char out[16384];
	struct ask a;

	ask(&a, "slow %s %d 1 2 8000", here->guest4, owner_port);
	usleep(300000);
	EQ(sh_read(out, sizeof(out), "ss -Htie 2>/dev/null"), 0);
	CHECKF(strstr(out, "stackmap"), "%s", out);
	EQ(sh_read(out, sizeof(out), "ss -Htlie sport = :%d 2>/dev/null", owner_port), 0);
	CHECKF(strstr(out, "LISTEN"), "%s", out);
	owner_end(pid);
	EQ(sh_read(out, sizeof(out), "ss -Htaie 2>/dev/null"), 0);
	CHECK(!strstr(out, "stackmap"));
}

TEST_NIC(tcpdump_sees_all, 40)
{
	pid_t pid = owner_start(BUSY);
	char out[4096];
	struct ask a;
	int i, in, outw;

	EQ(sh("timeout 15 tcpdump -U -n -i eth0 -s 128 -w /tmp/sm.pcap tcp port %d >/tmp/sm.log 2>&1 & for _ in {1..50}; do grep -q listening /tmp/sm.log && exit; sleep 0.1; done; exit 1",
	      owner_port), 0);
	ask(&a, "short %s %d 20 3 1", here->guest4, owner_port);
	ask_wait(&a, 10);
	/* tcpdump gets what it has captured once a second, and little of the processor */
	for (i = 0, in = 0, outw = 0; i < 10 && (in < 60 || outw < 40); i++) {
		usleep(500000);
		EQ(sh_read(out, sizeof(out),
			   "tcpdump -nr /tmp/sm.pcap dst host %s 2>/dev/null | wc -l; tcpdump -nr /tmp/sm.pcap src host %s 2>/dev/null | wc -l",
			   here->guest4, here->guest4), 0);
		CHECK(sscanf(out, "%d %d", &in, &outw) == 2);
	}
	/* SYN, ACK, payload, end; SYN-ACK, payload: at least */
	CHECKF(in >= 60 && outw >= 40, "%d in, %d out", in, outw);
	unlink("/tmp/sm.pcap");
	unlink("/tmp/sm.log");
	owner_end(pid);
}

TEST_NIC(nft_counts_and_drops, 40)
{
	pid_t pid = owner_start(BUSY);
	char out[4096];
	struct ask a;
	int n;

	if (sh("modprobe -q nf_tables; nft list ruleset >/dev/null 2>&1"))
		tap_skip("no nftables");
	EQ(sh("nft 'add table inet sm; add chain inet sm in { type filter hook input priority 0; }; add rule inet sm in tcp dport %d counter accept; add rule inet sm in tcp dport 7777 drop'",
	      owner_port), 0);
	ask(&a, "short %s %d 20 3 1", here->guest4, owner_port);
	ask_wait(&a, 10);
	EQ(sh_read(out, sizeof(out), "nft list table inet sm | sed -n 's/.*packets \\([0-9]*\\).*/\\1/p'"), 0);
	n = atoi(out);
	CHECKF(n >= 60, "%d packets", n);
	/* One more rule, for the owner's own port: nothing comes through */
	EQ(sh("nft 'insert rule inet sm in tcp dport %d drop'", owner_port), 0);
	ask(&a, "flood %s %d 500", here->guest4, owner_port);
	ask_wait(&a, 10);
	CHECKF(!strcmp(a.answer, "ok 0"), "%s", a.answer);
	EQ(sh("nft delete table inet sm"), 0);
	ask(&a, "short %s %d 5 3 1", here->guest4, owner_port);
	ask_wait(&a, 10);
	owner_end(pid);
}
