// SPDX-License-Identifier: GPL-2.0
/*
 * other.c - another thread, and what it does in several scenarios
 *
 * Only the main thread writes down; what another one found is written down when it was joined.
 */
#include "ops.h"

#include <stdlib.h>
#include <unistd.h>

static void *other_main(void *arg)
{
	struct other *o = arg;

	ms_sleep(o->after);
	errno = 0;
	o->does(o->s, o);
	o->err = o->ret < 0 ? errno : 0;
	return NULL;
}

void other_start(struct side *s, struct other *o, void (*does)(struct side *, struct other *),
		 unsigned int after)
{
	o->s = s;
	o->does = does;
	o->after = after;
	pthread_create(&o->thread, NULL, other_main, o);
}

void other_join(struct side *s, struct other *o, const char *what)
{
	pthread_join(o->thread, NULL);
	begin_note(s, what);
	note_events(s, what, (int)o->ret, o->err, o->ev);
}

void o_peer_says(struct side *s, struct other *o)
{
	char buf[30];

	pattern(buf, 30, s->peer_sent, 1);
	o->ret = send(s->peer, buf, 30, 0);
	s->peer_sent += 30;
}

void o_app_hears(struct side *s, struct other *o)
{
	char buf[10];

	o->ret = read(s->app, buf, 10);
	if (o->ret < 0 && errno == EAGAIN && may_repeat(s))
		o->ret = read(s->app, buf, 10);
}

void o_app_closes(struct side *s, struct other *o)
{
	o->ret = close(s->app);
}

void o_dups(struct side *s, struct other *o)
{
	o->fd = dup(s->app);
	o->ret = o->fd < 0;
}
