// SPDX-License-Identifier: GPL-2.0
/*
 * t_lsm.c - a security module that denies sending or receiving denies attaching
 *
 * The security module is a BPF program on one hook, which denies what this process
 * does. It is seen to work on a plain socket first.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/bpf.h>
#include <linux/btf.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "net.h"
#include "pair.h"
#include "sm.h"
#include "tap.h"

static size_t btf_extra(const struct btf_type *t)
{
	uint32_t n = BTF_INFO_VLEN(t->info);

	switch (BTF_INFO_KIND(t->info)) {
	case BTF_KIND_INT:
	case BTF_KIND_VAR:
	case BTF_KIND_DECL_TAG:
		return 4;
	case BTF_KIND_ARRAY:
		return sizeof(struct btf_array);
	case BTF_KIND_STRUCT:
	case BTF_KIND_UNION:
		return n * sizeof(struct btf_member);
	case BTF_KIND_ENUM:
		return n * sizeof(struct btf_enum);
	case BTF_KIND_FUNC_PROTO:
		return n * sizeof(struct btf_param);
	case BTF_KIND_DATASEC:
		return n * sizeof(struct btf_var_secinfo);
	case 19:	/* BTF_KIND_ENUM64 */
		return n * 12;
	default:
		return 0;
	}
}

/* The kernel's number for a function, 0 if it does not tell */
static uint32_t btf_id(const char *func)
{
	int fd = open("/sys/kernel/btf/vmlinux", O_RDONLY | O_CLOEXEC);
	const struct btf_header *h;
	uint8_t *all, *p, *end;
	uint32_t id = 0;
	struct stat st;
	ssize_t n, len = 0;

	if (fd < 0 || fstat(fd, &st))
		return 0;
	all = malloc(st.st_size);
	while (all && len < st.st_size && (n = read(fd, all + len, st.st_size - len)) > 0)
		len += n;
	close(fd);
	if (!all || len < (ssize_t)sizeof(*h))
		return 0;
	h = (void *)all;
	p = all + h->hdr_len + h->type_off;
	end = p + h->type_len;
	while (p < end) {
		const struct btf_type *t = (void *)p;
		const char *name = (char *)all + h->hdr_len + h->str_off + t->name_off;

		id++;
		if (BTF_INFO_KIND(t->info) == BTF_KIND_FUNC && !strcmp(name, func)) {
			free(all);
			return id;
		}
		p += sizeof(*t) + btf_extra(t);
	}
	free(all);
	return 0;
}

static int bpf(int cmd, union bpf_attr *attr)
{
	return syscall(SYS_bpf, cmd, attr, sizeof(*attr));
}

/* Deny what this process asks of @hook, with @err. Returns what to close to allow it again */
static int deny(const char *hook, int err)
{
	struct bpf_insn prog[] = {
		{ .code = BPF_JMP | BPF_CALL, .imm = BPF_FUNC_get_current_pid_tgid },
		{ .code = BPF_ALU64 | BPF_RSH | BPF_K, .dst_reg = 0, .imm = 32 },
		{ .code = BPF_JMP | BPF_JEQ | BPF_K, .dst_reg = 0, .off = 2, .imm = getpid() },
		{ .code = BPF_ALU64 | BPF_MOV | BPF_K, .dst_reg = 0, .imm = 0 },
		{ .code = BPF_JMP | BPF_EXIT },
		{ .code = BPF_ALU64 | BPF_MOV | BPF_K, .dst_reg = 0, .imm = -err },
		{ .code = BPF_JMP | BPF_EXIT },
	};
	union bpf_attr attr = {
		.prog_type = BPF_PROG_TYPE_LSM,
		.expected_attach_type = BPF_LSM_MAC,
		.insn_cnt = sizeof(prog) / sizeof(prog[0]),
		.insns = (uintptr_t)prog,
		.license = (uintptr_t)"GPL",
		.attach_btf_id = btf_id(hook),
	};
	int fd, link;

	if (!attr.attach_btf_id)
		tap_skip("no BTF");
	fd = bpf(BPF_PROG_LOAD, &attr);
	if (fd < 0) {
		tap_note("BPF_PROG_LOAD: %s", strerror(errno));
		tap_skip("no BPF security module");
	}
	memset(&attr, 0, sizeof(attr));
	attr.raw_tracepoint.prog_fd = fd;
	link = bpf(BPF_RAW_TRACEPOINT_OPEN, &attr);
	if (link < 0) {
		tap_note("BPF_RAW_TRACEPOINT_OPEN: %s", strerror(errno));
		tap_skip("no BPF security module");
	}
	close(fd);
	return link;
}

static void denied(const char *hook, bool sends, int err)
{
	int fd[2], link;
	struct sm sm;
	char b[5];

	sm_new_small(&sm, 16);
	pair_tcp(fd, AF_INET);
	CHECK(send_all(fd[1], "hello", 5));
	usleep(10000);
	link = deny(hook, err);
	if (sends ? send(fd[0], "x", 1, 0) == 1 : recv(fd[0], b, 1, MSG_PEEK) == 1)
		tap_skip("the BPF security module is not on");
	EQ(errno, err);
	FAILS(sm_try_attach(sm.fd, fd[0], 0, NULL), err);
	EQ(sm_info(&sm).stats.sockets, 0);
	/* One that was attached before goes on, as a file that is open does: asked is at attach */
	close(link);
	usleep(100000);
	sm_attach(&sm, fd[0], 0);
	sm_read(&sm, fd[0], b, 5, 1000);
	CHECK(!memcmp(b, "hello", 5));
	sm_send(&sm, fd[0], "world", 5);
	set_timeout(fd[1], 1000);
	CHECK(recv_all(fd[1], b, 5) && !memcmp(b, "world", 5));
	close(fd[0]);
	close(fd[1]);
	sm_settle(&sm);
	sm_close(&sm);
}

TEST(lsm_send_denied, 20)
{
	denied("bpf_lsm_socket_sendmsg", true, EACCES);
}

TEST(lsm_receive_denied, 20)
{
	denied("bpf_lsm_socket_recvmsg", false, EACCES);
}

/* An errno that TCP returns, too, is told for what it is */
TEST(lsm_odd_errno, 20)
{
	denied("bpf_lsm_socket_sendmsg", true, EPIPE);
	denied("bpf_lsm_socket_recvmsg", false, EAGAIN);
}
