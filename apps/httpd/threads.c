// SPDX-License-Identifier: GPL-2.0
/*
 * threads.c - one thread for each queue
 *
 * Threads share nothing but the address they listen on. Each has a listener of its own, and
 * connections come to the one whose queue their packets arrive on (stackmap_steer()). A thread runs
 * on the processor with its queue's number where there is such a one: stock drivers send from
 * there on that queue, and so have the device deliver there.
 */
#define _GNU_SOURCE 1

#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <semaphore.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>

#include "httpd.h"

/**
 * struct worker - a thread
 * @started: the server has, or could not (@ret)
 */
struct worker {
	const struct settings *set;
	unsigned int queue;
	pthread_t thread;
	sem_t started;
	int ret;
	uint64_t requests;
	uint64_t connections;
};

static struct worker workers[QUEUES_MAX];
static unsigned int running;

static void pin(const struct worker *w)
{
	cpu_set_t cpus;

	if (w->set->nqueues == 1 || w->queue >= CPU_SETSIZE ||
	    pthread_getaffinity_np(pthread_self(), sizeof(cpus), &cpus) ||
	    !CPU_ISSET(w->queue, &cpus))
		return;
	CPU_ZERO(&cpus);
	CPU_SET(w->queue, &cpus);
	pthread_setaffinity_np(pthread_self(), sizeof(cpus), &cpus);
}

static void finish(struct worker *w)
{
	w->requests = server.requests;
	w->connections = server.connections;
	takeover_give(w->queue);
	server_end();
}

static void *work(void *arg)
{
	struct worker *w = arg;

	w->ret = server_start(w->set, w->queue);
	if (!w->ret)
		w->ret = user_become(w->set);
	sem_post(&w->started);
	if (!w->ret) {
		pin(w);
		w->ret = server_run(w->set, w->queue);
		/* If it was not told to, all others stop with it */
		signals_stop = 1;
		pthread_kill(workers[0].thread, SIGTERM);
	}
	finish(w);
	return NULL;
}

/* Starts one more; returns 0 once it serves, or -1 and it has told why */
static int run_worker(struct worker *w)
{
	int err;

	sem_init(&w->started, 0, 0);
	err = pthread_create(&w->thread, NULL, work, w);
	if (err) {
		fprintf(stderr, "stackmap-httpd: a thread for queue %u: %s\n", w->queue,
			strerror(err));
		return -1;
	}
	running++;
	signals_add(w->thread);
	while (sem_wait(&w->started))
		;
	return w->ret;
}

/* The calling thread has the first queue */
static int run_all(const struct settings *set)
{
	unsigned int i;

	for (i = 1; i < set->nqueues; i++)
		if (run_worker(&workers[i]))
			return -1;
	/* They have begun to listen in this order */
	if (set->nqueues > 1 && stackmap_steer(server.listener, set->queues, set->nqueues)) {
		fprintf(stderr, "stackmap-httpd: steering connections: %s\n", strerror(errno));
		return -1;
	}
	if (takeover_listen(set) || user_become(set) || takeover_start())
		return -1;
	announce(set);
	pin(&workers[0]);
	return server_run(set, set->queues[0]);
}

/* Serves until a signal comes. Returns 0, or -1 and has told why */
int threads_run(const struct settings *set)
{
	struct worker *first = &workers[0];
	uint64_t requests, connections;
	unsigned int i;

	for (i = 0; i < set->nqueues; i++) {
		workers[i].set = set;
		workers[i].queue = set->queues[i];
	}
	if (set->takeover && (server_check(set) || takeover_ask(set)))
		return -1;
	first->thread = pthread_self();
	signals_add(first->thread);
	first->ret = server_start(set, first->queue);
	if (first->ret) {
		server_end();
		return -1;
	}
	first->ret = run_all(set);
	signals_stop = 1;
	for (i = 1; i <= running; i++)
		pthread_kill(workers[i].thread, SIGTERM);
	finish(first);
	requests = first->requests;
	connections = first->connections;
	for (i = 1; i <= running; i++) {
		pthread_join(workers[i].thread, NULL);
		requests += workers[i].requests;
		connections += workers[i].connections;
		if (workers[i].ret)
			first->ret = -1;
	}
	takeover_end();
	if (first->ret)
		return -1;
	printf("stackmap-httpd: %llu requests on %llu connections\n", (unsigned long long)requests,
	       (unsigned long long)connections);
	return 0;
}
