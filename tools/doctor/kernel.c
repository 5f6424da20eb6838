// SPDX-License-Identifier: GPL-2.0
/*
 * kernel.c - the kernel that runs: whether the module was tested on its series, and can be built for it
 */
#include "doctor.h"

#include <stdio.h>
#include <string.h>
#include <sys/utsname.h>

#include <stackmap_version.h>

/* Whether @series is a word of the list */
static bool is_tested(const char *series)
{
	static const char list[] = STACKMAP_TESTED_KERNELS;
	size_t len = strlen(series);
	const char *at = list;

	for (; (at = strstr(at, series)); at += len)
		if ((at == list || at[-1] == ' ') && (!at[len] || at[len] == ' '))
			return true;
	return false;
}

static void say_series(struct doctor_part *p, const char *release)
{
	unsigned int major, minor, oldest_major = 0, oldest_minor = 0;
	char series[32];

	if (sscanf(release, "%u.%u", &major, &minor) != 2) {
		doctor_say(p, DOCTOR_WARN, "kernel", "'%s' is no release that was tested", release);
		return;
	}
	snprintf(series, sizeof(series), "%u.%u", major, minor);
	sscanf(STACKMAP_TESTED_KERNELS, "%u.%u", &oldest_major, &oldest_minor);
	if (is_tested(series)) {
		doctor_say(p, DOCTOR_OK, "kernel", "%s: of a tested series", release);
	} else if (major < oldest_major || (major == oldest_major && minor < oldest_minor)) {
		doctor_say(p, DOCTOR_FAIL, "kernel", "%s is too old: the module is for %u.%u and newer", release,
			   oldest_major, oldest_minor);
		doctor_remedy(p, "boot a newer kernel; tested were %s", STACKMAP_TESTED_KERNELS);
	} else {
		doctor_say(p, DOCTOR_WARN, "kernel", "%s: this series was not tested, only %s", release,
			   STACKMAP_TESTED_KERNELS);
		doctor_remedy(p, "the module may work here; where it counts, boot a kernel of a tested series");
	}
}

void doctor_kernel(const struct doctor *d, struct doctor_part *p)
{
	struct utsname u;

	doctor_fact(p, "kernel", json_string(d->release));
	say_series(p, d->release);
	if (!*d->root && !uname(&u) && strcmp(u.machine, "x86_64")) {
		doctor_say(p, DOCTOR_WARN, "processor", "%s: only x86_64 was tested", u.machine);
		doctor_remedy(p, "do not rely on it");
	}
	if (doctor_exists(d, "/lib/modules/%s/build/Makefile", d->release)) {
		doctor_say(p, DOCTOR_OK, "headers", "in /lib/modules/%s/build", d->release);
	} else {
		doctor_say(p, DOCTOR_WARN, "headers", "none for this kernel: the module cannot be built for it");
		doctor_remedy(p, "apt-get install linux-headers-%s", d->release);
	}
}
