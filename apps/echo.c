// SPDX-License-Identifier: GPL-2.0
/* echo.c - the README's example: a TCP echo server that owns queue 0 of eth0 */
#include <err.h>
#include <errno.h>
#include <stdlib.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <stackmap/stackmap.h>

int main(void)
{
	struct sockaddr_in6 addr = { .sin6_family = AF_INET6, .sin6_port = htons(7) };
	int listener = socket(AF_INET6, SOCK_STREAM | SOCK_NONBLOCK, 0);	/* ordinary sockets ... */
	struct stackmap_port *port = stackmap_open("eth0", 0, NULL);	/* ... over a NIC of our own */
	struct stackmap_slot *slot;

	if (!port)
		errx(1, "%s", stackmap_open_hint(errno));
	if (bind(listener, (void *)&addr, sizeof(addr)) || listen(listener, 512) ||
	    !stackmap_attach(port, listener, 0))
		err(1, "listening on port 7");
	while (stackmap_wait(port, -1) >= 0) {		/* one system call: a batch, both ways */
		while ((slot = stackmap_rx_next(port))) {
			struct stackmap_conn *conn = stackmap_rx_conn(slot);

			if (slot->flags & STACKMAP_RX_ACCEPT) {
				conn = malloc(sizeof(*conn));
				if (!conn || stackmap_conn_attach(conn, port, accept(listener, NULL, NULL)))
					err(1, "accepting");
			} else if ((slot->flags & (STACKMAP_RX_FIN | STACKMAP_RX_ERROR)) ||
				   ((slot->flags & STACKMAP_RX_DATA) &&	/* too slow a reader is dropped */
				    stackmap_send(conn, stackmap_rx_data(port, slot), slot->len) != slot->len)) {
				stackmap_conn_close(conn);
				free(conn);
			}
		}
	}
	err(1, "syncing");
}
