// SPDX-License-Identifier: GPL-2.0
/*
 * listen.c - listen PATH MODE PROGRAM [ARGUMENT...]: as systemd does for a socket unit with Accept=yes
 *
 * The program has each connection at the UNIX socket (SOCK_SEQPACKET) as its standard input.
 */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

int main(int argc, char **argv)
{
	struct sockaddr_un addr = { .sun_family = AF_UNIX };
	int l = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0), fd;

	if (argc < 4 || strlen(argv[1]) >= sizeof(addr.sun_path))
		return 2;
	strcpy(addr.sun_path, argv[1]);
	unlink(argv[1]);
	signal(SIGCHLD, SIG_IGN);
	if (bind(l, (struct sockaddr *)&addr, sizeof(addr)) || chmod(argv[1], (mode_t)strtol(argv[2], NULL, 8)) ||
	    listen(l, 16)) {
		perror(argv[1]);
		return 1;
	}
	while ((fd = accept(l, NULL, NULL)) >= 0) {
		if (!fork()) {
			dup2(fd, STDIN_FILENO);
			execvp(argv[3], argv + 3);
			perror(argv[3]);
			_exit(1);
		}
		close(fd);
	}
	perror("accept");
	return 1;
}
