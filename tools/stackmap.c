// SPDX-License-Identifier: GPL-2.0
/*
 * stackmap.c - the stackmap command: what it was asked for
 */
#include <getopt.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <stackmap_version.h>

#include "bind.h"
#include "doctor/doctor.h"
#include "metrics.h"
#include "ports.h"
#include "run.h"
#include "sockets.h"
#include "stats.h"
#include "top.h"

static const char usage[] =
	"Usage: stackmap list\n"
	"       stackmap stats [--json] [-n SECONDS]\n"
	"       stackmap bind|unbind DEVICE\n"
	"       stackmap doctor [--json] [IFACE...]\n"
	"       stackmap top [OPTION...]\n"
	"       stackmap sockets [--json]\n"
	"       stackmap metrics [OPTION...]\n"
	"       stackmap run [OPTION...] PROGRAM [ARGUMENT...]\n"
	"       stackmap ports [OPTION...]\n"
	"Show the ports of this network namespace: which program owns which queue of a NIC.\n"
	"Give a virtio NIC to the module's own driver, or back to the kernel's.\n"
	"Find out what this machine lacks for owning NICs, and what would make it faster.\n"
	"\n"
	"  list                  one line a port\n"
	"  stats                 the counters of each port\n"
	"    -j, --json          as a JSON object; with --watch one a line\n"
	"    -n, --watch SECONDS again and again; not as JSON: what was counted meanwhile\n"
	"  top                   live, a line a port, with what explains one: see stackmap top --help\n"
	"  sockets               the sockets of all ports: what each has received and sent, and copied\n"
	"    -j, --json          as a JSON object\n"
	"  metrics               for Prometheus: see stackmap metrics --help\n"
	"  bind DEVICE           the NIC (eth0, or virtio1) receives into the port's own buffers\n"
	"  unbind DEVICE         it is an ordinary NIC again\n"
	"  doctor [IFACE...]     line by line what works and what does not, with the remedy\n"
	"    -j, --json          as a JSON object\n"
	"  run PROGRAM           an unmodified program on a NIC of its own: see stackmap run --help\n"
	"  ports                 for programs in a sandbox, by systemd: see stackmap ports --help\n"
	"  -h, --help            show this\n"
	"  -V, --version         show the version\n";

int main(int argc, char **argv)
{
	static const struct option options[] = {
		{ "json", no_argument, NULL, 'j' },
		{ "watch", required_argument, NULL, 'n' },
		{ "help", no_argument, NULL, 'h' },
		{ "version", no_argument, NULL, 'V' },
		{ "sysroot", required_argument, NULL, 'R' },	/* doctor's tests */
		{ 0 }
	};
	const char *command, *root = "";
	double seconds = 0;
	bool json = false;
	char *end;
	int opt, ret;

	if (argc > 1 && !strcmp(argv[1], "run"))
		return run_program(argc - 1, argv + 1);
	if (argc > 1 && !strcmp(argv[1], "ports"))
		return ports_pass(argc - 1, argv + 1);
	if (argc > 1 && !strcmp(argv[1], "top")) {
		ret = top(argc - 1, argv + 1);
		goto out;
	}
	if (argc > 1 && !strcmp(argv[1], "metrics")) {
		ret = metrics(argc - 1, argv + 1);
		goto out;
	}
	while ((opt = getopt_long(argc, argv, ":jn:hV", options, NULL)) != -1) {
		switch (opt) {
		case 'j':
			json = true;
			break;
		case 'n':
			seconds = strtod(optarg, &end);
			if (end == optarg || *end || !(seconds >= 0.1 && seconds <= 1e6)) {
				fprintf(stderr, "stackmap: --watch takes seconds from 0.1 to 1000000,"
					" not '%s'\n", optarg);
				return 2;
			}
			break;
		case 'R':
			root = optarg;
			break;
		case 'h':
			fputs(usage, stdout);
			return 0;
		case 'V':
			puts("stackmap " STACKMAP_VERSION);
			return 0;
		case ':':
			fprintf(stderr, "stackmap: %s needs a value: see --help\n", argv[optind - 1]);
			return 2;
		default:
			fprintf(stderr, "stackmap: no option '%s': see --help\n", argv[optind - 1]);
			return 2;
		}
	}
	command = optind < argc ? argv[optind] : "";
	if (!strcmp(command, "bind") || !strcmp(command, "unbind")) {
		if (json || seconds || optind + 2 != argc) {
			fprintf(stderr, "stackmap: %s takes the name of one device: see --help\n",
				command);
			return 2;
		}
		return bind_device(argv[optind + 1], *command == 'b') ? 1 : 0;
	}
	if (!strcmp(command, "doctor")) {
		if (seconds) {
			fputs("stackmap: doctor looks once: it takes no --watch\n", stderr);
			return 2;
		}
		ret = doctor(argv + optind + 1, argc - optind - 1, json, root);
		goto out;
	}
	if (*root) {
		fputs("stackmap: --sysroot is for doctor\n", stderr);
		return 2;
	}
	if (optind + 1 < argc) {
		fprintf(stderr, "stackmap: unexpected argument '%s': see --help\n",
			argv[optind + 1]);
		return 2;
	}
	if (!strcmp(command, "list") && !json && !seconds) {
		ret = stats_list();
	} else if (!strcmp(command, "sockets") && !seconds) {
		ret = sockets_show(json);
	} else if (!strcmp(command, "stats")) {
		ret = seconds ? stats_watch(seconds, json) : json ? stats_json() : stats_show();
	} else if (!strcmp(command, "sockets")) {
		fputs("stackmap: sockets looks once: it takes no --watch\n", stderr);
		return 2;
	} else if (!strcmp(command, "list")) {
		fputs("stackmap: list takes no options: did you mean stats?\n", stderr);
		return 2;
	} else {
		fprintf(stderr, *command ? "stackmap: no command '%s': see --help\n" :
			"stackmap: which command%s? See --help\n", command);
		return 2;
	}
	ret = ret ? 1 : 0;
out:
	if (fflush(stdout) || ferror(stdout)) {
		perror("stackmap: writing");
		return 1;
	}
	return ret;
}
