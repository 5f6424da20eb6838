// SPDX-License-Identifier: GPL-2.0
/*
 * top.c - stackmap top: ports, live
 *
 * A line a port, and what explains the one that is marked below them where there is room: rates since the screen was
 * drawn last. Each line is made as text first, so that --once prints the same.
 */
#include "top.h"

#include <errno.h>
#include <getopt.h>
#include <locale.h>
#include <ncurses.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "look.h"

static const char usage[] =
	"Usage: stackmap top [OPTION...]\n"
	"Show the ports of this network namespace, live: a line each, what has happened in the last second.\n"
	"\n"
	"  -1, --once             once, as text: for scripts\n"
	"  -d, --delay SECONDS    how often (1)\n"
	"  -s, --sort KEY         port, rx, tx, batch, busy, copied, stalls, sockets (rx)\n"
	"  -h, --help             show this\n"
	"\n"
	"Keys: q ends; p r t b u c l s sort by port, rx, tx, batch, busy, copied, stalls, sockets; i the other way round;\n"
	"up and down mark a port, of which the lower part tells why: what was copied, refused, given back, and how long.\n";

static const struct {
	const char *name;
	int key;
} sorts[] = {
	{ "port", 'p' }, { "rx", 'r' }, { "tx", 't' }, { "batch", 'b' }, { "busy", 'u' }, { "copied", 'c' },
	{ "stalls", 'l' }, { "sockets", 's' },
};

#define SORTS (sizeof(sorts) / sizeof(*sorts))

struct view {
	struct look now;
	struct look before;
	struct stackmap_detail *rows;	/* since the look before, sorted */
	unsigned int count;
	double seconds;			/* from one look to the other */
	double delay;
	int sort;			/* a key of sorts */
	bool reverse;
	uint32_t ifindex, queue;	/* of the marked port */
	bool marked;
	unsigned int first;		/* row at the top */
};

/* ------------------------------------------------------------------ the numbers */

static double value(const struct stackmap_detail *d, int sort)
{
	const struct stackmap_stats *s = &d->info.stats;

	switch (sort) {
	case 'r':
		return (double)s->rx_slots;
	case 't':
		return (double)s->tx_slots;
	case 'b':
		return look_batch(s);
	case 'u':
		return look_busy(d);
	case 'c':
		return look_copied(d);
	case 'l':
		return (double)s->stalls;
	case 's':
		return (double)s->sockets;
	default:
		return 0;
	}
}

static int by_port(const struct stackmap_info *a, const struct stackmap_info *b)
{
	if (a->ifindex != b->ifindex)
		return a->ifindex < b->ifindex ? -1 : 1;
	return (a->queue > b->queue) - (a->queue < b->queue);
}

/* qsort() hands nothing on */
static const struct view *sorting;

static int compare(const void *pa, const void *pb)
{
	const struct stackmap_detail *a = pa, *b = pb;
	double x = value(a, sorting->sort), y = value(b, sorting->sort);
	int order = x == y ? by_port(&a->info, &b->info) : x > y ? -1 : 1;

	return sorting->reverse ? -order : order;
}

static void sort_rows(struct view *v)
{
	sorting = v;
	qsort(v->rows, v->count, sizeof(*v->rows), compare);
}

/* Returns 0, or -1 and has said why */
static int look(struct view *v)
{
	unsigned int i;
	void *rows;

	look_swap(&v->now, &v->before);
	if (look_again(&v->now))
		return -1;
	v->seconds = v->now.at - v->before.at;
	if (v->seconds < 1e-3)
		v->seconds = 1e-3;
	rows = realloc(v->rows, (v->now.count + 1) * sizeof(*v->rows));
	if (!rows)
		return look_failed("out of memory");
	v->rows = rows;
	v->count = v->now.count;
	for (i = 0; i < v->count; i++) {
		const struct stackmap_detail *now = &v->now.ports[i], *then = look_find(&v->before, now);

		v->rows[i] = look_since(now, then);
	}
	sort_rows(v);
	return 0;
}

/* 12345 as 12.3k, in 6 columns */
static const char *short_number(char to[static 16], double n)
{
	static const char units[] = " kMGTP";
	int i = 0;

	while (n >= 999.5 && units[i + 1]) {
		n /= 1000;
		i++;
	}
	if (!i)
		snprintf(to, 16, "%.0f", n);
	else
		snprintf(to, 16, n < 99.95 ? "%.1f%c" : "%.0f%c", n, units[i]);
	return to;
}

static const char *short_time(char to[static 16], double ns)
{
	if (ns <= 0)
		snprintf(to, 16, "-");
	else if (ns < 1e6)
		snprintf(to, 16, "<%.0fus", ns / 1e3);
	else if (ns < 1e9)
		snprintf(to, 16, "<%.0fms", ns / 1e6);
	else
		snprintf(to, 16, "<%.0fs", ns / 1e9);
	return to;
}

/* ---------------------------------------------------------------------- as text */

/* From this width on there is more to a line */
#define WIDE	120
#define LINE	256

static void head_line(char to[static LINE], int width)
{
	int n = snprintf(to, LINE, "%-12s %-14s %6s %7s %7s %6s %6s %5s %5s %5s", "PORT", "PROGRAM", "SOCKS", "RX/s",
			 "TX/s", "RXB/s", "TXB/s", "BATCH", "BUSY%", "COPY%");

	if (width >= WIDE)
		snprintf(to + n, LINE - (size_t)n, " %7s %6s %6s %7s %7s", "STALL/s", "REFU/s", "READY", "SYNC99", "PID");
	else
		snprintf(to, LINE, "%-10s %-13s %5s %6s %6s %6s %6s %5s %4s %4s %4s", "PORT", "PROGRAM", "SOCKS", "RX/s",
			 "TX/s", "RXB/s", "TXB/s", "BATCH", "BUSY", "COPY", "STAL");
}

static void port_name(char to[static 32], const struct stackmap_info *info)
{
	char name[IF_NAMESIZE];

	if_name(info->ifindex, name);
	snprintf(to, 32, "%s:%u", plain_name(name), info->queue);
}

static void port_line(char to[static LINE], const struct stackmap_detail *d, double seconds, int width)
{
	char port[32], comm[32], socks[16], rx[16], tx[16], rxb[16], txb[16], stalls[16], refused[16], ready[16], t[16];
	const struct stackmap_stats *s = &d->info.stats;
	bool wide = width >= WIDE;

	port_name(port, &d->info);
	program_name(d->info.pid, comm);
	plain_name(comm);
	short_number(socks, (double)s->sockets);
	short_number(rx, (double)s->rx_slots / seconds);
	short_number(tx, (double)s->tx_slots / seconds);
	short_number(rxb, (double)(s->rx_copied_bytes + s->rx_handed_bytes) / seconds);
	short_number(txb, (double)(s->tx_copied_bytes + s->tx_handed_bytes) / seconds);
	short_number(stalls, (double)s->stalls / seconds);
	if (!wide) {
		snprintf(to, LINE, "%-10.10s %-13.13s %5s %6s %6s %6s %6s %5.1f %4.0f %4.0f %4s", port, comm, socks, rx,
			 tx, rxb, txb, look_batch(s), 100 * look_busy(d), 100 * look_copied(d), stalls);
		return;
	}
	short_number(refused, (double)(s->tx_refused + s->tx_bad) / seconds);
	short_number(ready, d->ready);
	short_time(t, (double)look_quantile(d->sync_times, 0.99));
	snprintf(to, LINE, "%-12.12s %-14.14s %6s %7s %7s %6s %6s %5.1f %5.0f %5.0f %7s %6s %6s %7s %7d", port, comm,
		 socks, rx, tx, rxb, txb, look_batch(s), 100 * look_busy(d), 100 * look_copied(d), stalls, refused, ready,
		 t, d->info.pid);
}

static void sum_line(char to[static LINE], const struct view *v)
{
	double sockets = 0, rx = 0, bytes = 0;
	char a[16], b[16], c[16], clock[16];
	time_t now = time(NULL);
	unsigned int i;

	for (i = 0; i < v->count; i++) {
		const struct stackmap_stats *s = &v->rows[i].info.stats;

		sockets += (double)s->sockets;
		rx += (double)s->rx_slots;
		bytes += (double)(s->rx_copied_bytes + s->rx_handed_bytes + s->tx_copied_bytes + s->tx_handed_bytes);
	}
	strftime(clock, sizeof(clock), "%H:%M:%S", localtime(&now));
	snprintf(to, LINE, "stackmap top - %s  %u port%s  %s sockets  %s slots/s received  %sB/s both ways", clock, v->count,
		 v->count == 1 ? "" : "s", short_number(a, sockets), short_number(b, rx / v->seconds),
		 short_number(c, bytes / v->seconds));
}

/* ------------------------------------------------------- what explains one port */

#define WHY_LINES 10

__attribute__((format(printf, 3, 4)))
static size_t add(char *to, size_t at, const char *fmt, ...)
{
	va_list ap;
	int n;

	va_start(ap, fmt);
	n = vsnprintf(to + at, LINE - at, fmt, ap);
	va_end(ap);
	return n < 0 || at + (size_t)n >= LINE ? LINE - 1 : at + (size_t)n;
}

static void why_reasons(char to[static LINE], const char *what, const char *const names[], const __u64 *n, double seconds)
{
	size_t i, at = add(to, 0, "%-10s", what);
	char number[16];
	bool any = false;

	for (i = 0; names[i]; i++) {
		if (!n[i])
			continue;
		at = add(to, at, "  %s %s/s", names[i], short_number(number, (double)n[i] / seconds));
		any = true;
	}
	if (!any)
		add(to, at, "  nothing");
}

static void why_times(char to[static LINE], const char *what, const __u64 times[STACKMAP_TIMES])
{
	char half[16], most[16], all[16];

	short_time(half, (double)look_quantile(times, 0.5));
	short_time(most, (double)look_quantile(times, 0.99));
	short_time(all, (double)look_quantile(times, 1));
	snprintf(to, LINE, "%-10s  half %s  99 %% %s  all %s", what, half, most, all);
}

static int why(char to[static WHY_LINES][LINE], const struct stackmap_detail *d, double seconds)
{
	const struct stackmap_stats *s = &d->info.stats;
	char port[32], comm[32];
	int n = 0;

	port_name(port, &d->info);
	program_name(d->info.pid, comm);
	snprintf(to[n++], LINE, "%s, %s (pid %d), nic %s, %u+%u slots, %.1f MB", port, plain_name(comm), d->info.pid,
		 nic_name(d->info.nic), d->info.rx_slots, d->info.tx_slots, (double)d->memory / 1e6);
	why_reasons(to[n++], "rx copied", rx_copy_names, d->rx_copied, seconds);
	why_reasons(to[n++], "tx copied", tx_copy_names, d->tx_copied, seconds);
	why_reasons(to[n++], "refused", refused_names, d->refused, seconds);
	why_reasons(to[n++], "released", released_names, d->released, seconds);
	why_times(to[n++], "syncs", d->sync_times);
	why_times(to[n++], "away", d->away_times);
	snprintf(to[n++], LINE, "%-10s  %u sockets ready, %u slots delivered, %u committed", "waiting", d->ready,
		 d->rx_waiting, d->tx_waiting);
	snprintf(to[n++], LINE, "%-10s  user %llu  pool %llu  in flight %llu  NIC %llu", "buffers",
		 (unsigned long long)s->frames_user, (unsigned long long)s->frames_pool,
		 (unsigned long long)s->frames_flight, (unsigned long long)s->frames_nic);
	return n;
}

/* -------------------------------------------------------------------- on a screen */

static int marked_row(struct view *v)
{
	unsigned int i;

	for (i = 0; i < v->count; i++)
		if (v->marked && v->rows[i].info.ifindex == v->ifindex && v->rows[i].info.queue == v->queue)
			return (int)i;
	return 0;
}

static void mark(struct view *v, int row)
{
	if (!v->count)
		return;
	if (row < 0)
		row = 0;
	if ((unsigned int)row >= v->count)
		row = (int)v->count - 1;
	v->ifindex = v->rows[row].info.ifindex;
	v->queue = v->rows[row].info.queue;
	v->marked = true;
}

static void put(int y, int attr, const char *text)
{
	if (y >= LINES)
		return;
	attrset(attr);
	mvaddnstr(y, 0, text, COLS);
	if (attr & A_REVERSE)
		mvchgat(y, 0, -1, (attr_t)attr, 0, NULL);
	attrset(A_NORMAL);
}

static void draw(struct view *v)
{
	static char below[WHY_LINES][LINE];
	int row = marked_row(v), rows = LINES - 2, lower = 0, i;
	char line[LINE];

	/* The lower part is there if a good part of the table is, too */
	if (v->count && rows >= WHY_LINES + 2 + ((int)v->count < 5 ? (int)v->count : 5)) {
		lower = why(below, &v->rows[row], v->seconds);
		rows -= lower + 1;
	}
	if ((unsigned int)row < v->first)
		v->first = (unsigned int)row;
	if (row >= (int)v->first + rows)
		v->first = (unsigned int)(row - rows + 1);
	if (v->first && v->first + (unsigned int)rows > v->count)
		v->first = v->count > (unsigned int)rows ? v->count - (unsigned int)rows : 0;

	erase();
	sum_line(line, v);
	put(0, A_BOLD, line);
	head_line(line, COLS);
	put(1, A_REVERSE, line);
	if (!v->count)
		put(2, A_NORMAL, "no ports in this network namespace");
	for (i = 0; i < rows && v->first + (unsigned int)i < v->count; i++) {
		port_line(line, &v->rows[v->first + (unsigned int)i], v->seconds, COLS);
		put(2 + i, lower && (int)v->first + i == row ? A_BOLD : A_NORMAL, line);
	}
	for (i = 0; i < lower; i++)
		put(LINES - lower + i, i ? A_NORMAL : A_UNDERLINE, below[i]);
	refresh();
}

/* Returns false to end */
static bool key(struct view *v, int k)
{
	size_t i;

	switch (k) {
	case 'q':
	case 'Q':
		return false;
	case 'i':
		v->reverse = !v->reverse;
		sort_rows(v);
		break;
	case KEY_UP:
	case 'k':
		mark(v, marked_row(v) - 1);
		break;
	case KEY_DOWN:
	case 'j':
		mark(v, marked_row(v) + 1);
		break;
	case KEY_PPAGE:
		mark(v, marked_row(v) - LINES);
		break;
	case KEY_NPAGE:
		mark(v, marked_row(v) + LINES);
		break;
	default:
		for (i = 0; i < SORTS; i++) {
			if (sorts[i].key != k)
				continue;
			v->sort = k;
			v->reverse = false;
			sort_rows(v);
		}
	}
	return true;
}

/* Until it is ended; returns 0, or -1 and has said why */
static int live(struct view *v)
{
	char problem[256] = "";
	struct timespec t;
	int k, ret = 0, early = 0;
	double next;

	setlocale(LC_ALL, "");
	if (!initscr()) {
		fputs("stackmap: this terminal cannot be used: try --once\n", stderr);
		return -1;
	}
	/* On the screen it would be lost */
	look_say = problem;
	look_say_size = sizeof(problem);
	cbreak();
	noecho();
	keypad(stdscr, TRUE);
	curs_set(0);
	for (;;) {
		draw(v);
		next = v->now.at + v->delay;
		clock_gettime(CLOCK_MONOTONIC, &t);
		next -= (double)t.tv_sec + (double)t.tv_nsec / 1e9;
		timeout(next > 0 ? (int)(next * 1e3) + 1 : 0);
		k = getch();
		if (k == KEY_RESIZE)
			continue;
		if (k != ERR) {
			if (!key(v, k))
				break;
			continue;
		}
		/* Too early once is a signal; again and again, the terminal has gone */
		clock_gettime(CLOCK_MONOTONIC, &t);
		if ((double)t.tv_sec + (double)t.tv_nsec / 1e9 >= v->now.at + v->delay - 0.05)
			early = 0;
		else if (++early == 100)
			break;
		else
			continue;
		ret = look(v);
		if (ret)
			break;
	}
	endwin();
	look_say = NULL;
	if (ret)
		fputs(problem, stderr);
	return ret;
}

static void print_once(const struct view *v)
{
	char line[LINE];
	unsigned int i;

	sum_line(line, v);
	puts(line);
	head_line(line, WIDE);
	puts(line);
	for (i = 0; i < v->count; i++) {
		port_line(line, &v->rows[i], v->seconds, WIDE);
		puts(line);
	}
}

static void wait_for(double seconds)
{
	struct timespec t = { (time_t)seconds, (long)((seconds - (double)(time_t)seconds) * 1e9) };

	while (nanosleep(&t, &t) && errno == EINTR)
		;
}

int top(int argc, char **argv)
{
	static const struct option options[] = {
		{ "once", no_argument, NULL, '1' },
		{ "delay", required_argument, NULL, 'd' },
		{ "sort", required_argument, NULL, 's' },
		{ "help", no_argument, NULL, 'h' },
		{ 0 }
	};
	struct view v = { .delay = 1, .sort = 'r' };
	bool once = false;
	char *end;
	size_t i;
	int opt, ret;

	while ((opt = getopt_long(argc, argv, ":1d:s:h", options, NULL)) != -1) {
		switch (opt) {
		case '1':
			once = true;
			break;
		case 'd':
			v.delay = strtod(optarg, &end);
			if (end == optarg || *end || !(v.delay >= 0.1 && v.delay <= 3600)) {
				fprintf(stderr, "stackmap top: --delay takes seconds from 0.1 to 3600, not '%s'\n", optarg);
				return 2;
			}
			break;
		case 's':
			for (i = 0; i < SORTS && strcmp(sorts[i].name, optarg); i++)
				;
			if (i == SORTS) {
				fprintf(stderr, "stackmap top: there is no column '%s' to sort by: see --help\n", optarg);
				return 2;
			}
			v.sort = sorts[i].key;
			break;
		case 'h':
			fputs(usage, stdout);
			return 0;
		case ':':
			fprintf(stderr, "stackmap top: %s needs a value: see --help\n", argv[optind - 1]);
			return 2;
		default:
			fprintf(stderr, "stackmap top: no option '%s': see --help\n", argv[optind - 1]);
			return 2;
		}
	}
	if (optind < argc) {
		fprintf(stderr, "stackmap top: what is '%s'? See --help\n", argv[optind]);
		return 2;
	}
	if (!once && !(isatty(STDIN_FILENO) && isatty(STDOUT_FILENO))) {
		fputs("stackmap top: this is no terminal: use --once\n", stderr);
		return 2;
	}
	ret = look_again(&v.now);
	if (!ret) {
		/* The first screen comes soon, with rates of a moment */
		wait_for(once ? v.delay : 0.2);
		ret = look(&v);
	}
	if (!ret && once)
		print_once(&v);
	else if (!ret)
		ret = live(&v);
	look_free(&v.now);
	look_free(&v.before);
	free(v.rows);
	return ret ? 1 : 0;
}
