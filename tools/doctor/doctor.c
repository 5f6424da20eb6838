// SPDX-License-Identifier: GPL-2.0
/*
 * doctor.c - stackmap doctor: looks at the machine, then at interfaces, and prints what it has found
 */
#include "doctor.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/utsname.h>

#include <stackmap_version.h>

/* Interfaces are in sysfs, but for those of other network namespaces */
static bool is_nic(const struct doctor *d, const char *name)
{
	return doctor_exists(d, "/sys/class/net/%s/device", name);
}

/* Those with a device behind them; without any, all but the loopback. In *names, for doctor_free_names() */
static int choose(const struct doctor *d, char ***names)
{
	int i, kept = 0, n = doctor_names(d, names, "", "/sys/class/net");
	bool nics = false;

	for (i = 0; i < n; i++)
		nics |= is_nic(d, (*names)[i]);
	for (i = 0; i < n; i++) {
		char *name = (*names)[i];

		/* bonding_masters is a file */
		if (nics ? is_nic(d, name) : strcmp(name, "lo") && doctor_exists(d, "/sys/class/net/%s/ifindex", name))
			(*names)[kept++] = name;
		else
			free(name);
	}
	return kept;
}

/* The machine is fit, and the interfaces: all that were named, or else one */
static bool look(struct doctor *d, json_t *report, char **names, int count)
{
	struct doctor_part machine = doctor_part();
	json_t *interfaces = json_array();
	char **chosen = NULL;
	int i, n = count, good = 0;

	doctor_kernel(d, &machine);
	doctor_module(d, &machine);
	doctor_access(d, &machine);
	doctor_machine_speed(d, &machine);
	if (!count)
		n = choose(d, &chosen);
	for (i = 0; i < n; i++) {
		struct doctor_part p = doctor_part();

		good += doctor_interface(d, &p, count ? names[i] : chosen[i]);
		json_array_append_new(interfaces, doctor_done(&p));
	}
	if (!n) {
		doctor_say(&machine, DOCTOR_FAIL, "interfaces", "there are none but the loopback in this network namespace");
		doctor_remedy(&machine, "ip -all netns exec ip link shows those in others");
	}
	if (chosen)
		doctor_free_names(chosen, n);
	json_object_set_new(report, "machine", doctor_done(&machine));
	json_object_set_new(report, "interfaces", interfaces);
	return !machine.failed && (count ? good == n : good > 0);
}

int doctor(char **names, int count, bool json, const char *root)
{
	struct doctor d = { .root = root };
	json_t *report = json_object();
	char release[DOCTOR_LINE] = "";
	struct utsname u;
	bool ready;

	if (!doctor_line(&d, release, sizeof(release), "/proc/sys/kernel/osrelease")) {
		if (*root) {
			fprintf(stderr, "stackmap: '%s' has no proc/sys/kernel/osrelease: it is no root of a system\n", root);
			json_decref(report);
			return 2;
		}
		snprintf(release, sizeof(release), "%s", uname(&u) ? "" : u.release);
	}
	d.release = release;
	json_object_set_new(report, "version", json_string(STACKMAP_VERSION));
	json_object_set_new(report, "ready", json_false());	/* here, for whoever reads it */
	ready = look(&d, report, names, count);
	json_object_set_new(report, "ready", json_boolean(ready));
	if (!json)
		doctor_print(report);
	else if (!json_dumpf(report, stdout, JSON_INDENT(2)))
		putchar('\n');
	json_decref(report);
	return ready ? 0 : 1;
}
