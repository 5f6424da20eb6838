// SPDX-License-Identifier: GPL-2.0
/* echo.c - the README's example: a TCP echo server that owns queue 0 of eth0 */
#include <err.h>
#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <unistd.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <stackmap/stackmap.h>

/* Returns whether to go on listening: not without descriptors, as it would be told of at every sync */
static bool accept_one(struct stackmap_port *port, int listener)
{
	int fd = accept(listener, NULL, NULL);
	struct stackmap_conn *conn;

	if (fd < 0)
		return errno == EAGAIN || errno == ECONNABORTED || stackmap_detach(port, listener) < 0;
	conn = malloc(sizeof(*conn));
	if (!conn || stackmap_conn_attach(conn, port, fd)) {
		close(fd);
		free(conn);
	}
	return true;
}

int main(void)
{
	struct sockaddr_in6 addr = { .sin6_family = AF_INET6, .sin6_port = htons(7) };
	int listener = socket(AF_INET6, SOCK_STREAM | SOCK_NONBLOCK, 0), on = 1, n;	/* ordinary sockets ... */
	struct stackmap_options opt = { .send_max = 16 << 20 };	/* who reads nothing of so much is dropped */
	struct stackmap_port *port = stackmap_open("eth0", 0, &opt);	/* ... over a NIC of our own */
	struct stackmap_slot *slot;
	struct stackmap_conn *conn;
	bool listening;

	if (!port)
		errx(1, "%s", stackmap_open_hint(errno));
	setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
	listening = !bind(listener, (void *)&addr, sizeof(addr)) && !listen(listener, 512) &&
		    stackmap_attach(port, listener, 0);
	if (!listening)
		err(1, "listening on port 7");
	while ((n = stackmap_wait(port, listening ? -1 : 1000)) >= 0 || errno == EINTR) {
		bool closed = false;

		while ((slot = stackmap_rx_next(port))) {	/* one system call: a batch, both ways */
			conn = stackmap_rx_conn(slot);
			if (slot->flags & STACKMAP_RX_ACCEPT) {
				listening = accept_one(port, listener);
			} else if (!conn) {
				errx(1, "the listener is gone");
			} else if ((slot->flags & (STACKMAP_RX_FIN | STACKMAP_RX_ERROR)) ||
				   ((slot->flags & STACKMAP_RX_DATA) &&
				    stackmap_send(conn, stackmap_rx_data(port, slot), slot->len) != slot->len)) {
				stackmap_conn_close(conn);
				free(conn);
				closed = true;
			}
		}
		while ((conn = stackmap_next_writable(port))) {	/* nobody waits for room: these have failed */
			stackmap_conn_close(conn);
			free(conn);
			closed = true;
		}
		if (!listening && (closed || !n))
			listening = stackmap_attach(port, listener, 0);
	}
	err(1, "syncing");
}
