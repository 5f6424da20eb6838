// SPDX-License-Identifier: GPL-2.0
/*
 * random.c - seeded sequences of operations, done to both sides in turn and compared one by one
 *
 * What is done next depends on the seed, and on what the plain side has given so far: on nothing that
 * may differ. So few bytes are under way that no write has to wait.
 */
#include "random.h"

#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

/* Bytes under way in one direction */
#define UNDER_WAY	28000

/*
 * struct model - what the plain side's results say
 * @in: bytes that the peer has sent and the app has not read
 * @out: bytes that the app has sent and the peer has not read
 * @synced: the fast side has been told of all that has come
 * @level: which operations there are: up to this one
 */
struct model {
	size_t in;
	size_t out;
	bool shut_out;
	bool shut_in;
	bool peer_fin;
	bool peer_gone;
	bool blocking;
	bool in_set;
	bool dup;
	bool nested;
	bool urgent;
	bool low;
	bool corked;
	bool synced;
	uint32_t interest;
	enum kind level;
	unsigned int age;
	unsigned int life;
};

struct share fast_share;
static struct rside fast, plain;
static struct rng rng;
static struct model m;

static const unsigned int weights[OPS] = {
	[OP_WRITE] = 120, [OP_READ] = 150, [OP_WAIT] = 200, [OP_CTL] = 90, [OP_COUNT] = 60,
	[OP_PEER_SAYS] = 140, [OP_PEER_HEARS] = 90, [OP_EVENTFD] = 20, [OP_SLEEP] = 5, [OP_PEER_ENDS] = 8,
	[OP_PEER_CLOSES] = 8, [OP_CLOSE] = 8, [OP_NEW_SET] = 6, [OP_POLL] = 30, [OP_SHUTDOWN] = 8,
	[OP_NONBLOCK] = 12, [OP_FORK] = 8, [OP_SPAWN] = 4, [OP_MESSAGES] = 10, [OP_DUP] = 10,
	[OP_PASS] = 6, [OP_TWO_SETS] = 10, [OP_NESTED] = 4, [OP_URGENT] = 10, [OP_LOWAT] = 6,
};

static void new_connection(unsigned int life)
{
	static const enum kind levels[] = { OP_NEW_SET, OP_NEW_SET, OP_NEW_SET, OP_MESSAGES, OP_MESSAGES, OPS };

	memset(&m, 0, sizeof(m));
	m.level = levels[rng_below(&rng, 6)];
	m.life = life;
}

static size_t some_bytes(size_t max)
{
	size_t n;

	switch (rng_below(&rng, 12)) {
	case 0:
		n = 0;
		break;
	case 1:
	case 2:
		n = 1 + rng_below(&rng, 4);
		break;
	case 3:
		n = rng_below(&rng, 12000);
		break;
	default:
		n = rng_below(&rng, 700);
		break;
	}
	return n < max ? n : max;
}

static uint32_t some_events(void)
{
	static const uint32_t bits[] = {
		EPOLLIN, EPOLLIN, EPOLLOUT, EPOLLRDHUP, EPOLLET, EPOLLONESHOT, EPOLLRDNORM, EPOLLWRNORM,
	};
	uint32_t ev = 0;
	size_t i;

	for (i = 0; i < sizeof(bits) / sizeof(*bits); i++)
		if (rng_one_in(&rng, i < 4 ? 2 : 4))
			ev |= bits[i];
	if (m.level == OPS && rng_one_in(&rng, 10))
		ev |= EPOLLPRI;
	if (m.level == OPS && rng_one_in(&rng, 30))
		ev |= EPOLLEXCLUSIVE;
	return ev;
}

/* Whether a read of a blocking socket would not wait */
static bool has_input(size_t n)
{
	return (m.in >= n && n && !m.urgent && !m.low) || m.peer_fin || m.peer_gone || m.shut_in;
}

static const char *event_text(uint32_t ev)
{
	static char text[64];

	snprintf(text, sizeof(text), "%s%s%s%s%s%s%s%s%s", ev & EPOLLIN ? "IN " : "", ev & EPOLLOUT ? "OUT " : "",
		 ev & EPOLLRDHUP ? "RDHUP " : "", ev & EPOLLPRI ? "PRI " : "", ev & EPOLLET ? "ET " : "",
		 ev & EPOLLONESHOT ? "ONESHOT " : "", ev & EPOLLRDNORM ? "RDNORM " : "",
		 ev & EPOLLWRNORM ? "WRNORM " : "", ev & EPOLLEXCLUSIVE ? "EXCLUSIVE " : "");
	return text;
}

#define SAY(...)	snprintf(op->text, sizeof(op->text), __VA_ARGS__)

/* False: not now */
static bool make_bytes(struct op *op)
{
	static const int out_flags[] = { MSG_NOSIGNAL, MSG_DONTWAIT, MSG_MORE };
	static const int in_flags[] = { MSG_DONTWAIT, MSG_PEEK, MSG_WAITALL, MSG_NOSIGNAL };
	static const char *const out_names[] = { "write", "send", "sendto", "writev", "sendmsg", "sendfile",
						 "sendfile with an offset" };
	static const char *const in_names[] = { "read", "recv", "recvfrom", "readv", "recvmsg" };
	size_t i;

	switch (op->kind) {
	case OP_WRITE:
		if (m.out >= UNDER_WAY)
			return false;
		op->n = some_bytes(UNDER_WAY - m.out);
		op->how = rng_below(&rng, 7);
		for (i = 0; i < 3; i++)
			op->flags |= rng_one_in(&rng, 4) ? out_flags[i] : 0;
		/* When a reset comes for it must not depend on when it leaves */
		if (m.peer_gone)
			op->flags &= ~MSG_MORE;
		if (m.peer_gone && m.corked)
			return false;
		SAY("%s(%zu, flags %#x)", out_names[op->how], op->n, op->flags);
		return true;
	case OP_READ:
		op->n = rng_one_in(&rng, 4) ? 16000 : some_bytes(16000);
		op->how = rng_below(&rng, 5);
		for (i = 0; i < 4; i++)
			op->flags |= rng_one_in(&rng, 5) ? in_flags[i] : 0;
		if (m.level > OP_NEW_SET && rng_one_in(&rng, 12))
			op->flags |= MSG_TRUNC;
		if (op->how == 0 || op->how == 3)
			op->flags = 0;
		if (m.blocking && !(op->flags & MSG_DONTWAIT) &&
		    !has_input(op->flags & MSG_WAITALL ? op->n : 1))
			return false;
		SAY("%s(%zu, flags %#x)", in_names[op->how], op->n, op->flags);
		return true;
	case OP_PEER_SAYS:
		if (m.peer_fin || m.peer_gone || m.in >= UNDER_WAY)
			return false;
		op->n = some_bytes(UNDER_WAY - m.in);
		SAY("the peer sends %zu", op->n);
		return true;
	case OP_PEER_HEARS:
		if (m.peer_gone)
			return false;
		op->n = rng_one_in(&rng, 3) ? m.out : rng_below(&rng, (uint32_t)m.out + 1);
		op->flags = m.shut_out || m.urgent || !op->n ? MSG_DONTWAIT : MSG_WAITALL;
		op->n += !op->n;
		if ((op->flags & MSG_DONTWAIT) && !m.shut_out && !m.urgent && m.out)
			return false;
		SAY("the peer reads %zu%s", op->n, op->flags & MSG_DONTWAIT ? " if they are there" : "");
		return true;
	default:
		return false;
	}
}

static bool make_events(struct op *op)
{
	static const char *const waits[] = { "epoll_wait", "epoll_pwait", "epoll_pwait2" };
	static const char *const ctls[] = { "", " without event", " of no set", " of -1", " of itself",
					    " in the other set", " of the eventfd" };
	static const char *const polls[] = { "poll", "ppoll", "select", "pselect" };

	op->data = (uint64_t)rng_next(&rng) << 32 | rng_next(&rng);
	op->events = some_events();
	switch (op->kind) {
	case OP_WAIT:
		op->how = rng_below(&rng, 3);
		op->ms = rng_one_in(&rng, 4) ? (int)rng_below(&rng, 4) : 0;
		/* Which of two is told first is not promised */
		op->max = rng_one_in(&rng, 30) ? -(int)rng_below(&rng, 2) : 4 + (int)rng_below(&rng, 8);
		op->flags = rng_one_in(&rng, 10);
		SAY("%s(%s%d, %d ms)%s", waits[op->how], op->flags ? "the other set, " : "", op->max, op->ms,
		    !op->flags && (m.interest & EPOLLET) ? " [ET]" : "");
		return true;
	case OP_CTL:
		op->how = rng_one_in(&rng, 4) ? rng_below(&rng, 7) : 0;
		/* Mostly one that will be right */
		if (rng_one_in(&rng, 5))
			op->flags = 1 + (int)rng_below(&rng, 3);
		else if (m.in_set)
			op->flags = rng_one_in(&rng, 5) ? EPOLL_CTL_DEL : EPOLL_CTL_MOD;
		else
			op->flags = EPOLL_CTL_ADD;
		SAY("epoll_ctl(%d, %s)%s", op->flags, event_text(op->events), ctls[op->how]);
		return true;
	case OP_POLL:
		op->how = rng_below(&rng, 4);
		op->events = (op->events & (EPOLLIN | EPOLLOUT | EPOLLPRI | EPOLLRDHUP | EPOLLRDNORM | EPOLLWRNORM));
		op->ms = rng_one_in(&rng, 3) ? 2 : 0;
		SAY("%s(%s, %d ms)", polls[op->how], event_text(op->events), op->ms);
		return true;
	case OP_TWO_SETS:
		op->flags = 1 + (int)rng_below(&rng, 3);
		SAY("epoll_ctl(%d, %s) of the other set", op->flags, event_text(op->events));
		return true;
	case OP_NESTED:
		if (m.nested)
			return false;
		SAY("a set with the set in it%s", m.interest & EPOLLET ? " [ET]" : "");
		return true;
	default:
		return false;
	}
}

static bool make_rest(struct op *op)
{
	static const char *const counts[] = { "FIONREAD", "SO_ERROR", "TCP_INFO", "TCP_NODELAY", "TCP_CORK",
					      "F_GETFL", "SIOCOUTQ" };
	static const char *const hows[] = { "RD", "WR", "RDWR" };

	switch (op->kind) {
	case OP_COUNT:
		op->how = rng_below(&rng, 7);
		SAY("%s", counts[op->how]);
		return true;
	case OP_EVENTFD:
		op->how = rng_below(&rng, 2);
		SAY("the eventfd is %s", op->how ? "written" : "read");
		return true;
	case OP_SLEEP:
		op->ms = 1 + (int)rng_below(&rng, 30);
		SAY("nothing for %d ms", op->ms);
		return true;
	case OP_PEER_ENDS:
		if (m.peer_fin || m.peer_gone)
			return false;
		SAY("the peer's shutdown(SHUT_WR)");
		return true;
	case OP_PEER_CLOSES:
		if (m.peer_gone)
			return false;
		op->how = rng_below(&rng, 2);
		SAY("the peer %s", op->how ? "resets" : "closes");
		return true;
	case OP_CLOSE:
		if (!m.peer_gone && m.age < m.life)
			return false;
		op->flags = rng_one_in(&rng, 5);
		op->how = rng_below(&rng, 4);
		SAY("close()%s", op->flags ? " with SO_LINGER 0" : "");
		return true;
	case OP_NEW_SET:
		SAY("the set is closed, and there is another");
		return true;
	case OP_SHUTDOWN:
		op->flags = (int)rng_below(&rng, 3);
		SAY("shutdown(SHUT_%s)", hows[op->flags]);
		return true;
	case OP_NONBLOCK:
		op->how = rng_below(&rng, 2);
		op->flags = m.blocking;
		SAY("%s, to be %sblocking", op->how ? "FIONBIO" : "F_SETFL", m.blocking ? "non-" : "");
		return true;
	case OP_FORK:
		op->how = rng_below(&rng, 3);
		op->n = 1 + rng_below(&rng, 500);
		if (op->how == 1 && m.out > UNDER_WAY - 500)
			return false;
		SAY("a child %s %zu", op->how == 0 ? "reads" : op->how == 1 ? "writes" : "closes,", op->n);
		return true;
	case OP_SPAWN:
		op->how = rng_below(&rng, 2);
		SAY("%s", op->how ? "posix_spawn()" : "vfork() and execve()");
		return true;
	case OP_MESSAGES:
		op->how = rng_below(&rng, 2);
		op->n = 1 + rng_below(&rng, 500);
		if (op->how == 1 && m.out > UNDER_WAY - 500)
			return false;
		SAY("%s(%zu)", op->how ? "sendmmsg" : "recvmmsg", op->n);
		return true;
	case OP_DUP:
		if (m.dup)
			return false;
		op->how = rng_below(&rng, 5);
		SAY("dup(), way %u", op->how);
		return true;
	case OP_PASS:
		if (m.dup)
			return false;
		SAY("SCM_RIGHTS");
		return true;
	case OP_URGENT:
		op->how = rng_below(&rng, 2);
		if (op->how ? m.shut_out : m.peer_fin || m.peer_gone || config.no_urgent)
			return false;
		SAY("%s urgent byte", op->how ? "an" : "the peer's");
		return true;
	case OP_LOWAT:
		op->flags = 1 + (int)rng_below(&rng, 200);
		SAY("SO_RCVLOWAT %d", op->flags);
		return true;
	default:
		return false;
	}
}

static void make(struct op *op)
{
	unsigned int sum = 0, pick, k;

	for (k = 0; k <= m.level && k < OPS; k++)
		sum += weights[k];
	do {
		memset(op, 0, sizeof(*op));
		pick = rng_below(&rng, sum);
		for (k = 0; pick >= weights[k]; k++)
			pick -= weights[k];
		op->kind = (enum kind)k;
		op->shape = rng_next(&rng);
		if (m.age > m.life + 20 || (m.peer_gone && m.age > m.life))
			op->kind = OP_CLOSE;
	} while (!make_bytes(op) && !make_events(op) && !make_rest(op));
}

static void less(size_t *n, long by)
{
	if (by > 0)
		*n = *n > (size_t)by ? *n - (size_t)by : 0;
}

/* What the plain side's result says */
static void learn(const struct op *op, const struct result *r)
{
	m.age++;
	m.synced = (m.synced && op->kind != OP_PEER_SAYS && op->kind != OP_URGENT) ||
		   (op->kind == OP_WAIT && !op->flags && op->max > 0);
	switch (op->kind) {
	case OP_WRITE:
		m.out += r->ret > 0 ? (size_t)r->ret : 0;
		break;
	case OP_READ:
		if (!(op->flags & MSG_PEEK))
			less(&m.in, r->ret);
		break;
	case OP_PEER_SAYS:
		m.in += r->ret > 0 ? (size_t)r->ret : 0;
		break;
	case OP_PEER_HEARS:
		less(&m.out, r->ret);
		break;
	case OP_CTL:
		if (op->how || r->ret)
			break;
		m.in_set = op->flags != EPOLL_CTL_DEL;
		m.interest = op->events;
		break;
	case OP_COUNT:
		m.corked = op->how == 4 ? op->shape & 1 : m.corked;
		break;
	case OP_PEER_ENDS:
		m.peer_fin = true;
		break;
	case OP_PEER_CLOSES:
		m.peer_fin = m.peer_gone = true;
		break;
	case OP_CLOSE:
		if (m.dup)
			/* The set has it still, under the number that it had */
			m.dup = m.in_set = false;
		else
			new_connection(10 + rng_below(&rng, 80));
		break;
	case OP_NEW_SET:
		m.in_set = m.nested = false;
		break;
	case OP_SHUTDOWN:
		m.shut_out = m.shut_out || op->flags != SHUT_RD;
		m.shut_in = m.shut_in || op->flags != SHUT_WR;
		break;
	case OP_NONBLOCK:
		m.blocking = !m.blocking;
		break;
	case OP_FORK:
		if (op->how == 1)
			m.out += r->ret > 0 ? (size_t)r->ret : 0;
		else if (op->how == 0)
			less(&m.in, r->ret);
		break;
	case OP_MESSAGES:
		if (op->how)
			m.out += r->ret > 0 ? op->n : 0;
		else
			less(&m.in, r->ret);
		break;
	case OP_DUP:
	case OP_PASS:
		m.dup = plain.alt >= 0;
		break;
	case OP_NESTED:
		m.nested = true;
		break;
	case OP_LOWAT:
		m.low = true;
		break;
	case OP_URGENT:
		m.urgent = true;
		m.in = op->how ? m.in : 0;
		break;
	default:
		break;
	}
}

/* Whether an end may have to be seen by a sync before anything else is compared */
static bool ends(const struct op *op)
{
	return op->kind == OP_PEER_ENDS || op->kind == OP_PEER_CLOSES || op->kind == OP_SHUTDOWN ||
	       (m.peer_gone && (op->kind == OP_WRITE || op->kind == OP_FORK || op->kind == OP_MESSAGES ||
				op->kind == OP_CTL));
}

static bool one_step(bool pumped)
{
	unsigned int before = plain.s.n, i;
	bool fast_first;
	struct op op;

	make(&op);
	if (pumped || (op.kind == OP_READ && (op.flags & (MSG_PEEK | MSG_TRUNC)) && !m.synced)) {
		arrive(&plain.s);
		arrive(&fast.s);
		pump();
		m.synced = true;
	} else if (op.kind == OP_WAIT || op.kind == OP_POLL || op.kind == OP_READ || op.kind == OP_COUNT ||
		   op.kind == OP_FORK || op.kind == OP_MESSAGES || op.kind == OP_CLOSE) {
		arrive(&plain.s);
		arrive(&fast.s);
	}
	fast_first = rng_one_in(&rng, 2);
	for (i = 0; i < 2; i++)
		op_do(&op, fast_first == !i ? &fast : &plain);
	if (op.kind == OP_READ)
		few_bytes(&op, &fast, &plain);
	if (fast.s.n != plain.s.n)
		return false;
	for (i = before; i < plain.s.n; i++)
		if (differs(&fast.s.log[i], &plain.s.log[i]))
			return false;
	learn(&op, &plain.s.log[before]);
	if (ends(&op)) {
		answered(&plain.s);
		answered(&fast.s);
	}
	return true;
}

bool random_batch(uint64_t seed, unsigned int steps, bool pumped)
{
	unsigned int i, is_fast = 0, in_set = 0;
	bool same = true;

	rng.state = seed * 0x2545f4914f6cdd1dull;
	fast.s.n = plain.s.n = 0;
	alarm(60);
	rside_open(&plain, false);
	rside_open(&fast, true);
	new_connection(10 + rng_below(&rng, 80));
	for (i = 0; i < steps && same; i++) {
		alarm(60);
		/* Its record is long enough for what one looks at */
		if (plain.s.n > LOG_MAX / 2)
			fast.s.n = plain.s.n = 0;
		same = one_step(pumped);
		in_set += m.in_set;
		is_fast += m.in_set && attached(fast.s.ep, fast.s.app) && !attached(plain.s.ep, plain.s.app);
	}
	if (!same) {
		printf("# seed %llu, step %u, %s:\n", (unsigned long long)seed, i,
		       pumped ? "with a sync before each" : "without a sync before each");
		same_logs(&fast.s, &plain.s);
		printf("# fast: descriptor %d in set %d is %sattached, %d bytes to read\n", fast.s.app, fast.s.ep,
		       attached(fast.s.ep, fast.s.app) ? "" : "not ", queued(fast.s.app));
	}
	fast_share.in_set += in_set;
	fast_share.fast += is_fast;
	rside_close(&fast);
	rside_close(&plain);
	return same;
}
