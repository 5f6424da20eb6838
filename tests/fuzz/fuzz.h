/* SPDX-License-Identifier: GPL-2.0 */
/*
 * fuzz.h - a fuzzer of the ABI: what its files share
 *
 *   main.c   the loop: choose a program, run it, look whether the system is well
 *   prog.c   programs: text, generation, mutation
 *   exec.c   a program's process: its threads, the scribbler, every call
 *   nic.c    what happens to interfaces and to the module meanwhile
 *   stuck.c  whether a program ends in time
 *   kcov.c   which code of the module a program reached
 *
 * A program is a list of calls, each with the thread that makes it and three
 * numbers, which exec.c makes arguments of. Any numbers will do.
 */
#ifndef FUZZ_H
#define FUZZ_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#define OPS_MAX		48
#define THREADS		3

struct op {
	uint8_t call;
	uint8_t thread;
	uint32_t a, b, c;
};

struct prog {
	uint32_t n;
	struct op op[OPS_MAX];
};

#define CALLS(X)								\
	X(open) X(register) X(mmap) X(munmap) X(attach) X(detach) X(sync) X(info)	\
	X(poll) X(epoll) X(socket) X(pair) X(listen) X(connect) X(accept) X(send)	\
	X(recv) X(shutdown) X(close) X(dup) X(setsockopt) X(txfill) X(rxtake)	\
	X(scribble) X(fork) X(pass) X(stop) X(remap) X(copy) X(sleep)		\
	X(disconnect) X(unshare) X(ioctl) X(netdev) X(module) X(txask) X(wake)	\
	X(port) X(handle) X(memory)

enum {
#define X(name) CALL_##name,
	CALLS(X)
#undef X
	CALLS_N
};

extern const char *const call_names[CALLS_N];

/* prog.c */
uint32_t pick(uint64_t *state);
uint32_t number(uint64_t *state);	/* an interesting one, often */
void prog_random(struct prog *p, uint64_t *state);
void prog_mutate(struct prog *p, const struct prog *other, uint64_t *state);
bool prog_read(struct prog *p, const char *path);
void prog_write(const struct prog *p, const char *path);
/* In one line, and back */
void prog_print(const struct prog *p);
bool prog_scan(struct prog *p, const char *line);

/* What a program's processes tell the fuzzer */
struct shared {
	bool nic_dirty;		/* addresses, MTU, flags ... are to be restored */
	bool module_dirty;	/* it may have been unloaded */
	uint64_t calls;		/* made */
	uint64_t ok;		/* of these, with success */
};

extern struct shared *shared;

/* exec.c: runs in a process of its own and does not return */
__attribute__((noreturn)) void exec_prog(const struct prog *p, uint64_t seed);

/* nic.c */
void nic_init(bool virtio);
int nic_disturb(uint32_t what, uint32_t b, uint32_t c);
int nic_module(uint32_t what);
void nic_restore(void);
bool nic_works(void);
int nic_ifindex(uint32_t which);

/*
 * stuck.c. Time is counted as this process could have run in it: on a machine that
 * is busy with other guests, seconds in which no processor was ours say nothing
 * about the kernel
 */
struct patience {
	double last, left;
};

struct patience patience_of(int ms);
bool still(struct patience *p);		/* waits a moment; false when it is over */
bool ends_in(pid_t pid, int ms);	/* and is waited for */
bool group_dies_in(pid_t pid, int ms);	/* also those that the program has left behind */
/* What the threads of the group do, if it is not 0; who waits in the kernel goes to the console */
void show_stuck(pid_t group);

/* kcov.c */
#define COVER_BITS (1u << 20)
bool kcov_there(void);
void kcov_init(void);
void kcov_module(void);			/* the module may have moved */
void kcov_begin(void);			/* by each thread */
void kcov_end(void);
uint32_t kcov_new(void);		/* what the last program reached first */
uint32_t kcov_total(void);

#endif /* FUZZ_H */
