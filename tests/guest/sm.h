/* SPDX-License-Identifier: GPL-2.0 */
/*
 * sm.h - the raw ABI, with as little in between as tests can bear
 *
 * sm_try_...() return what the system call does; the others fail the test.
 */
#ifndef SM_H
#define SM_H

#include <stdbool.h>
#include <stdint.h>

#include "stackmap.h"

#define IFNAME "eth0"

struct sm {
	int fd;
	struct stackmap_register reg;
	uint8_t *map;
	struct stackmap_ring *rx;
	struct stackmap_ring *tx;
	uint32_t *extra;
	uint32_t head;		/* of the receive ring */
	uint32_t tx_head;
};

int sm_open(void);
int sm_ports(void);
/* With large buffers where the environment says so: SM_LARGE=BYTES */
struct stackmap_register sm_reg(const char *ifname, uint32_t slots);
void sm_new(struct sm *sm, const struct stackmap_register *reg);
void sm_new_small(struct sm *sm, uint32_t slots);
void sm_close(struct sm *sm);
void sm_settle(struct sm *sm);

int sm_try_attach(int port, int fd, uint64_t data, uint32_t *gen);
int sm_try_detach(int port, int fd);
int sm_try_sync(int port, uint32_t flags, uint32_t wait_us);
/* If set, called before (true) and after each sync */
extern void (*sm_around_sync)(bool before);
/* Whether sm_attach() tries again after ENOMEM */
extern bool sm_short_of_memory;
uint32_t sm_attach(struct sm *sm, int fd, uint64_t data);
int sm_sync(struct sm *sm, uint32_t wait_us);
struct stackmap_info sm_info(struct sm *sm);
struct stackmap_detail sm_detail(struct sm *sm);

/* The next receive slot, or NULL; sm_next() gives it back */
struct stackmap_slot *sm_peek(struct sm *sm);
void sm_next(struct sm *sm);
/* Sync until there is a slot, at most so long */
struct stackmap_slot *sm_wait(struct sm *sm, int ms);
/* Payload up to @len bytes of @fd into @to; fails on anything else */
void sm_read(struct sm *sm, int fd, void *to, uint32_t len, int ms);
/* The next slot must be this event of @fd; returned by value and given back */
struct stackmap_slot sm_event(struct sm *sm, int fd, unsigned int flag, int ms);
/* No slot comes for so long */
void sm_quiet(struct sm *sm, int ms);

/* Transmit: fill the next slot, do not sync. Returns the slot */
struct stackmap_slot *sm_put(struct sm *sm, int fd, const void *from, uint16_t len);
/* The same without payload: STACKMAP_TX_CREDIT with a number, STACKMAP_TX_ACKED ... */
struct stackmap_slot *sm_request(struct sm *sm, int fd, uint16_t flags, uint64_t data);
/* The same, synced at once; fails unless taken */
void sm_credit(struct sm *sm, int fd, uint64_t n);
void sm_mark(struct sm *sm, int fd);
/* Returns @buf: the buffer that there is for it. *err is 0 or why it was refused */
uint32_t sm_return(struct sm *sm, uint32_t buf, int *err);
/* All frames are accounted for, and so many are the application's */
void sm_account(struct sm *sm, uint32_t user);
/* Send and fail unless taken */
void sm_send(struct sm *sm, int fd, const void *from, uint32_t len);

/* Bytes in a buffer */
static inline uint32_t sm_buf_size(const struct sm *sm, uint32_t buf)
{
	return sm->reg.large_bufs && buf >= sm->reg.large_first ? sm->reg.large_size : sm->reg.frame_size;
}

/* How many buffers there are: a large one has several numbers */
static inline uint32_t sm_buffers(const struct sm *sm)
{
	return sm->reg.large_bufs ? sm->reg.large_first + sm->reg.large_bufs : sm->reg.frames;
}

static inline uint8_t *sm_buf(const struct sm *sm, uint32_t buf)
{
	return sm->map + sm->reg.frames_off + (uint64_t)buf * sm->reg.frame_size;
}

#endif /* SM_H */
