// SPDX-License-Identifier: GPL-2.0
/*
 * signals.c - being told to stop, or to look at --root again, and waking who sleeps
 */
#include <signal.h>

#include "httpd.h"

volatile sig_atomic_t signals_stop;
int signals_reloads;

/* Of the process, to be woken */
static pthread_t threads[QUEUES_MAX];
static unsigned int nthreads;

static void on_signal(int sig)
{
	(void)sig;
	signals_stop = 1;
}

/* One thread is told, and it wakes the others by a signal that tells nothing new */
static void on_hangup(int sig, siginfo_t *info, void *context)
{
	(void)sig;
	(void)context;
	if (info->si_code != SI_TKILL)
		__atomic_add_fetch(&signals_reloads, 1, __ATOMIC_RELAXED);
}

void signals_init(void)
{
	struct sigaction action = { .sa_handler = on_signal };
	struct sigaction hangup = { .sa_sigaction = on_hangup, .sa_flags = SA_SIGINFO };

	sigemptyset(&action.sa_mask);
	sigaction(SIGINT, &action, NULL);
	sigaction(SIGTERM, &action, NULL);
	sigemptyset(&hangup.sa_mask);
	sigaction(SIGHUP, &hangup, NULL);
	signal(SIGPIPE, SIG_IGN);
}

/* Has to be woken from now on */
void signals_add(pthread_t thread)
{
	threads[nthreads++] = thread;
}

/* All others that sleep: they look at what they were told (signals_told()) */
void signals_wake(void)
{
	unsigned int i;

	for (i = 0; i < nthreads; i++)
		if (!pthread_equal(threads[i], pthread_self()))
			pthread_kill(threads[i], SIGHUP);
}
