/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * fake_kernel.h - a model of stackmap.ko in the process, for tests of the
 * library
 *
 * The linker's --wrap sends the library's system calls here. There is one port
 * at a time. Sockets have numbers from FK_FD_MIN, the lowest free one first, as
 * descriptors do, and handles likewise from STACKMAP_HANDLE_MIN. The model keeps the ABI's rules and counts whoever breaks
 * them: fk.violations.
 */
#ifndef FAKE_KERNEL_H
#define FAKE_KERNEL_H

#include <stdbool.h>

#include "lib.h"

#define FK_FD_MIN	500
#define FK_FDS		256
#define FK_PORT_FD	400

struct fk_bytes {
	unsigned char *p;
	size_t len;
	size_t cap;
};

struct fk_sock {
	int fd;			/* its descriptor, or 0 */
	int name;		/* what it is attached under */
	unsigned int refs;	/* descriptor, handle */
	bool accepts;		/* a listener whose connections come as handles */
	struct fk_sock *listener; /* whose it is, as long as it waits to be accepted */
	bool attached;
	uint32_t gen;
	uint64_t data;
	size_t room;		/* bytes TCP would take now */
	int tx_err;		/* refuse with this instead */
	uint32_t refused_in;	/* the last sync that refused a slot of it */
	bool want_room;		/* owes a STACKMAP_RX_ROOM */
	uint16_t events;	/* to be delivered after the payload */
	uint16_t err;
	struct fk_bytes out;	/* what TCP has taken */
	size_t base;		/* of it, before attach */
	bool marked;		/* owes a STACKMAP_RX_ACKED */
	size_t mark_first;	/* when so much of out is acknowledged */
	size_t mark_last;
	uint64_t credit;	/* payload bytes that may be delivered */
	bool shut;		/* shutdown(SHUT_WR) */
	struct fk_bytes in;	/* what is to be delivered */
	size_t in_done;
	void *user;
};

/* Bytes that TCP refers to in a buffer until they are acknowledged */
struct fk_flight {
	uint32_t buf;
	unsigned char *copy;
	uint32_t off;
	uint32_t len;
	uint32_t gen;		/* the socket's */
	size_t end;		/* where they end in its out */
};

struct fk {
	uint32_t frame_size;		/* for the next open */
	uint32_t pool;			/* likewise, unless asked for */
	unsigned int seed;
	bool random;			/* acknowledge and hand over at random */
	int open_errno;			/* fail so once, as do the next three */
	int mmap_errno;
	int ioctl_errno[16];		/* by ioctl number */
	bool old;			/* knows nothing of RETURN, ACKED, CREDIT */
	int malloc_in;			/* the how-manieth allocation fails */
	int (*poll)(int timeout_ms);	/* what poll() does, and ppoll() */
	int (*signals)(void);		/* what ppoll() of nothing does */
	void (*closed)(struct fk_sock *sock);	/* by who had the last reference */

	unsigned int violations;
	unsigned int closes;		/* of sockets */
	unsigned int opens;		/* devices open now */
	uint32_t syncs;
	uint32_t sleeps;
	uint32_t last_wait_us;
	int watched;			/* by the last sync, or -1 */
	uint32_t told;			/* what each sync tells */
	unsigned char unread[65536];	/* what a detach has given back */
	uint32_t unread_len;
	uint32_t wakes;
	uint32_t returned;		/* by STACKMAP_TX_RETURN: idle, busy, */
	uint32_t returned_busy;		/* and refused */
	uint32_t returned_not;
	struct stackmap_info info;	/* of port 0 */
	struct stackmap_register reg;
	unsigned char *map;
	struct stackmap_ring *rx;
	struct stackmap_ring *tx;
	unsigned char *frames;
	bool *ours;			/* by frame: in the kernel's hands */
	uint32_t *idle;			/* a stack */
	uint32_t idles;
	uint32_t rx_head;
	uint32_t tx_head;
	uint32_t gen;
	struct fk_sock *socks[FK_FDS];
	struct fk_sock *handles[FK_FDS];
	struct fk_sock *waiting;	/* to be accepted */
	struct fk_flight *flights;
	size_t nflights;
	struct stackmap_slot *after_sync;	/* somebody writes these to it once a sync has ended, once */
	struct {
		uint32_t buf;
		uint64_t data;
		uint16_t off;
	} after;
	struct {
		const unsigned char *addr;
		uint64_t len;		/* 0: there is none */
	} memory[STACKMAP_MEMORIES];
};

extern struct fk fk;

void fk_reset(void);
unsigned int fk_rand(unsigned int below);
int fk_socket(size_t room);
/* A connection of a listener, which the next sync tells of; one at a time */
struct fk_sock *fk_connect(int listener, size_t room);
struct fk_sock *fk_sock(int fd);
void fk_append(struct fk_bytes *bytes, const void *p, size_t len);
void fk_receive(int fd, const void *p, size_t len);
void fk_grow(int fd, size_t room);
void fk_ack_all(void);

/* Asserts that every buffer has one owner; held are the test's own */
void fk_audit(struct stackmap_port *port, const uint32_t *held, size_t n);

#endif /* FAKE_KERNEL_H */
