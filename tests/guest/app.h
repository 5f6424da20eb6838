/* SPDX-License-Identifier: GPL-2.0 */
/*
 * app.h - a small server on a port, for the tests in which a peer does the work
 *
 * It copies everything, so that what it does is plain; and it checks what any
 * application may rely on: slots of a batch grouped by fd, nothing after the
 * end, refused transmit slots of a connection being its last ones.
 */
#ifndef APP_H
#define APP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "peer.h"
#include "sm.h"

#define APP_FDS 32768

struct app;

struct conn {
	struct app *app;
	int fd;
	uint32_t gen;
	bool listener;
	bool fin;		/* the peer sends no more */
	bool blocked;		/* refused: wait for ROOM */
	bool dead;		/* refused for good: forget what there is to send */
	bool closing;		/* close when all is sent */
	bool dirty;		/* in the list of those with something to send */
	struct conn *next_dirty;
	uint8_t *queue;
	size_t start, end, cap;
	uint64_t in;
	uint32_t batch;		/* the last batch it was in */
};

struct app {
	struct sm sm;
	struct conn *conn[APP_FDS];
	struct conn *dirty;
	struct { struct conn *c; uint32_t gen; uint16_t len, off; } *placed;
	void (*on_slot)(struct conn *c, const struct stackmap_slot *s, const uint8_t *p);
	bool spin;		/* do not sleep in poll() */
	bool keep;		/* leave connections open at FIN */
	bool soft;		/* errors do not end connections: count them only */
	uint32_t rng;
	uint32_t batch;
	int nconns;		/* without listeners */
	uint64_t accepted, fins, errors, rooms, refused, stale, connected;
	int last_err;
};

struct app *app_new(const struct stackmap_register *reg);
struct app *app_new_slots(uint32_t slots);
int app_listen(struct app *app, const char *host);
struct conn *app_add(struct app *app, int fd);
void app_drop(struct conn *c);
void app_send(struct conn *c, const void *p, size_t n);
void app_round(struct app *app);
void app_run(struct app *app, struct ask *a, int seconds);
void app_run_ms(struct app *app, int ms);
/* No connection left, no frame lost; closes the port */
void app_end(struct app *app);

void app_echo(struct conn *c, const struct stackmap_slot *s, const uint8_t *p);

#endif /* APP_H */
