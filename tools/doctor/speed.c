// SPDX-License-Identifier: GPL-2.0
/*
 * speed.c - settings of the machine and of an interface that cost time
 */
#include "doctor.h"

#include <string.h>

/* Processors that save power need time to be awake again */
static void say_governor(const struct doctor *d, struct doctor_part *p)
{
	char **cpus, governor[32], other[32] = "";
	int i, n = doctor_names(d, &cpus, "cpu", "/sys/devices/system/cpu"), slow = 0, all = 0;

	for (i = 0; i < n; i++) {
		if (!doctor_line(d, governor, sizeof(governor), "/sys/devices/system/cpu/%s/cpufreq/scaling_governor", cpus[i]))
			continue;
		all++;
		if (strcmp(governor, "performance")) {
			slow++;
			memcpy(other, governor, sizeof(other));
		}
	}
	doctor_free_names(cpus, n);
	if (slow) {
		doctor_say(p, DOCTOR_TIP, "governor", "%s on %d of %d processors", other, slow, all);
		doctor_remedy(p, "echo performance | tee /sys/devices/system/cpu/cpu*/cpufreq/scaling_governor");
	} else if (all) {
		doctor_say(p, DOCTOR_OK, "governor", "performance");
	}
}

void doctor_machine_speed(const struct doctor *d, struct doctor_part *p)
{
	long poll = 0, read = 0;

	say_governor(d, p);
	doctor_number(d, &poll, "/proc/sys/net/core/busy_poll");
	doctor_number(d, &read, "/proc/sys/net/core/busy_read");
	if (poll || read) {
		doctor_say(p, DOCTOR_TIP, "busy poll", "net.core.busy_%s is %ld: sockets of others poll an owner's NIC between"
			   " its calls", poll ? "poll" : "read", poll ? poll : read);
		doctor_remedy(p, "sysctl -w net.core.busy_poll=0 net.core.busy_read=0: an owner polls by itself");
	}
}

/* What holds packets up while the owner sleeps, and the NIC is an ordinary one */
void doctor_speed(const struct doctor *d, struct doctor_part *p, const struct doctor_nic *nic)
{
	long timeout = 0, defer = 0, threaded = 0;

	doctor_number(d, &timeout, "/sys/class/net/%s/gro_flush_timeout", nic->name);
	doctor_number(d, &defer, "/sys/class/net/%s/napi_defer_hard_irqs", nic->name);
	doctor_number(d, &threaded, "/sys/class/net/%s/threaded", nic->name);
	if (timeout && defer) {
		doctor_say(p, DOCTOR_TIP, "interrupts", "held up for %ld us: an owner that sleeps is woken as much later",
			   timeout / 1000);
		doctor_remedy(p, "echo 0 >/sys/class/net/%s/napi_defer_hard_irqs", nic->name);
	}
	if (threaded) {
		doctor_say(p, DOCTOR_TIP, "interrupts", "a kernel thread receives: it has to be scheduled to wake an owner");
		doctor_remedy(p, "echo 0 >/sys/class/net/%s/threaded", nic->name);
	}
}
