/* SPDX-License-Identifier: GPL-2.0 */
/*
 * doctor.h - stackmap doctor: what this machine lacks for owning NICs, and what to do about it
 *
 *   doctor.c     in which order, and the exit status
 *   kernel.c     its release, the headers
 *   module.c     loaded or loadable, signed, Secure Boot
 *   access.c     the device node, capabilities, locked memory
 *   interface.c  whether an interface can be owned, and why not
 *   virtio.c     what a virtio NIC offers, and what stackmap bind would bring
 *   queues.c     queues, their interrupts and processors
 *   speed.c      settings that cost time
 *   report.c     the findings: collected as JSON, printed as that or as lines
 *   files.c      /sys, /proc, /dev and the rest
 *   ethtool.c    what only an ioctl tells
 *
 * It changes nothing and owns nothing, not even for a moment.
 */
#ifndef STACKMAP_TOOLS_DOCTOR_H
#define STACKMAP_TOOLS_DOCTOR_H

#include <jansson.h>
#include <net/if.h>
#include <stdbool.h>
#include <stddef.h>

#define DOCTOR_LINE	256
#define PRINTF(at, first)	__attribute__((format(printf, at, first)))

enum doctor_level {
	DOCTOR_OK,
	DOCTOR_TIP,	/* it would be faster */
	DOCTOR_WARN,	/* it may not work, or not as expected */
	DOCTOR_FAIL,	/* it does not work */
};

/* Findings about one thing: the machine, or an interface */
struct doctor_part {
	json_t *facts;
	json_t *checks;
	bool failed;
};

struct doctor {
	const char *root;	/* put before each path. Not "": nothing but files is looked at */
	const char *release;	/* of the kernel that runs */
	bool loaded;		/* the module */
	bool any_driver;	/* and its parameter */
};

/* stackmap doctor. Returns the exit status */
int doctor(char **names, int count, bool json, const char *root);

/* report.c */
struct doctor_part doctor_part(void);
PRINTF(4, 5)
void doctor_say(struct doctor_part *p, enum doctor_level level, const char *check, const char *format, ...);
/* What to do about what was said last */
PRINTF(2, 3) void doctor_remedy(struct doctor_part *p, const char *format, ...);
void doctor_fact(struct doctor_part *p, const char *name, json_t *value);	/* takes the reference */
json_t *doctor_done(struct doctor_part *p);	/* facts and checks as one object, which is the caller's */
void doctor_print(const json_t *report);

/* files.c. Paths are below d->root */
/* The first line, without its end. False: there is none */
PRINTF(4, 5) bool doctor_line(const struct doctor *d, char *line, size_t size, const char *path, ...);
PRINTF(3, 4) bool doctor_number(const struct doctor *d, long *number, const char *path, ...);
/* Base name of what a link points to */
PRINTF(4, 5) bool doctor_target(const struct doctor *d, char *name, size_t size, const char *path, ...);
PRINTF(2, 3) bool doctor_exists(const struct doctor *d, const char *path, ...);
/* How many names a directory has that begin with @prefix: in *names, in order, for doctor_free_names() */
PRINTF(4, 5) int doctor_names(const struct doctor *d, char ***names, const char *prefix, const char *path, ...);
void doctor_free_names(char **names, int count);
/* The line of a file that begins with @key, behind it. False: there is none */
bool doctor_field(const struct doctor *d, char *line, size_t size, const char *path, const char *key);

/* kernel.c, module.c, access.c */
void doctor_kernel(const struct doctor *d, struct doctor_part *p);
void doctor_module(struct doctor *d, struct doctor_part *p);
void doctor_access(const struct doctor *d, struct doctor_part *p);

/* An interface, as its checks share it */
struct doctor_nic {
	char name[IF_NAMESIZE];
	char driver[64];	/* of its bus, or its kind; "": none is known */
	bool device;		/* there is a device behind it */
	bool virtio;		/* and it is on the virtio bus */
	bool own;		/* driven by the module */
	bool xdp;
	int rx_queues, tx_queues;
};

/* interface.c: false if it cannot be owned. By its name, or an alternative one */
bool doctor_interface(const struct doctor *d, struct doctor_part *p, const char *name);
/* virtio.c, queues.c, speed.c */
void doctor_virtio(const struct doctor *d, struct doctor_part *p, const struct doctor_nic *nic);
void doctor_queues(const struct doctor *d, struct doctor_part *p, const struct doctor_nic *nic);
void doctor_speed(const struct doctor *d, struct doctor_part *p, const struct doctor_nic *nic);
void doctor_machine_speed(const struct doctor *d, struct doctor_part *p);

/* ethtool.c: -1 where it is not known */
struct doctor_ethtool {
	int gro, tso, rx_checksum, tx_checksum, scatter_gather;
	int rx_ring, rx_ring_max, tx_ring, tx_ring_max;
	int channels, channels_max;
};
void doctor_ethtool(const struct doctor *d, const char *name, struct doctor_ethtool *e);

#endif
