// SPDX-License-Identifier: GPL-2.0
/*
 * queues.c - the interrupt of each queue, the processor that gets it, and who sends on it
 *
 * An interrupt's name tells its queue: there is no better source that all drivers have.
 */
#include "doctor.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../json.h"

struct irq {
	int number;
	char name[64];
	int queue;
	bool rx, tx;
};

/*
 * virtio0-input.1, eth0-rx-1, eth0-TxRx-1, ens5-Tx-Rx-1, mlx5_comp1@pci:...: the last number, before an @.
 * One that has no number (eth0) is of queue 0, if it is the only one.
 */
static bool parse(struct irq *irq, bool only)
{
	size_t end = strcspn(irq->name, "@"), start;
	char lower[sizeof(irq->name)];
	size_t i;

	for (i = 0; i <= strlen(irq->name); i++)
		lower[i] = tolower((unsigned char)irq->name[i]);
	irq->rx = strstr(lower, "rx") || strstr(lower, "input") || strstr(lower, "comp");
	irq->tx = strstr(lower, "tx") || strstr(lower, "output") || strstr(lower, "comp");
	for (start = end; start && isdigit((unsigned char)irq->name[start - 1]); start--)
		;
	if (only) {
		irq->rx = irq->tx = true;
		irq->queue = 0;
		return true;
	}
	irq->queue = atoi(irq->name + start);
	return start < end && (irq->rx || irq->tx);
}

/* What handles it, by the name of its directory */
static bool name_of(const struct doctor *d, struct irq *irq)
{
	char **names;
	int i, n = doctor_names(d, &names, "", "/proc/irq/%d", irq->number);
	bool found = false;

	for (i = 0; i < n && !found; i++) {
		/* A directory has itself in it */
		found = doctor_exists(d, "/proc/irq/%d/%s/.", irq->number, names[i]);
		if (found)
			snprintf(irq->name, sizeof(irq->name), "%s", names[i]);
	}
	doctor_free_names(names, n);
	return found;
}

/* The interrupts of a NIC that tell their queue. On virtio they are those of the device below it */
static int read_irqs(const struct doctor *d, const struct doctor_nic *nic, struct irq **irqs)
{
	const char *up = nic->virtio ? "/.." : "";
	char **names;
	int i, n, count = 0;
	long number;

	n = doctor_names(d, &names, "", "/sys/class/net/%s/device%s/msi_irqs", nic->name, up);
	*irqs = calloc(n + 1, sizeof(**irqs));
	if (!*irqs)
		n = 0;
	for (i = 0; i < n; i++) {
		struct irq *irq = &(*irqs)[count];

		irq->number = atoi(names[i]);
		count += name_of(d, irq) && parse(irq, n == 1);
	}
	if (!n && *irqs && doctor_number(d, &number, "/sys/class/net/%s/device%s/irq", nic->name, up) && number > 0) {
		(*irqs)->number = number;
		snprintf((*irqs)->name, sizeof((*irqs)->name), "%s", nic->name);
		name_of(d, *irqs);
		count = parse(*irqs, true);
	}
	doctor_free_names(names, n);
	return count;
}

/* The processors of a mask as the kernel prints it (00000000,00000003), as a list (0-1) */
static void list_of(const char *mask, char *list, size_t size)
{
	const char *at = mask + strlen(mask);
	int from = -1, cpu = 0;

	*list = 0;
	/* One more digit than there is, so that the last range ends */
	for (;;) {
		char digit[] = { at > mask ? *--at : '0', 0 };
		unsigned long bits = strtoul(digit, NULL, 16);
		int i;

		if (*digit == ',')
			continue;
		for (i = 0; i < 4; i++, cpu++) {
			size_t len = strlen(list);

			if ((bits >> i & 1) && from < 0)
				from = cpu;
			if ((bits >> i & 1) || from < 0)
				continue;
			snprintf(list + len, size - len, cpu - 1 > from ? "%s%d-%d" : "%s%d", len ? "," : "", from, cpu - 1);
			from = -1;
		}
		if (at == mask && from < 0)
			return;
	}
}

/* A mask of processors in sysfs, as a list. False: it cannot be read, as where there is one queue only */
static bool mask_list(const struct doctor *d, const struct doctor_nic *nic, const char *queue, const char *file, char *list,
		      size_t size)
{
	char mask[DOCTOR_LINE];

	if (!doctor_line(d, mask, sizeof(mask), "/sys/class/net/%s/queues/%s/%s", nic->name, queue, file))
		return false;
	list_of(mask, list, size);
	return true;
}

static void say_irq(const struct doctor *d, struct doctor_part *p, const struct irq *irq, json_t *fact, bool pin)
{
	char allowed[DOCTOR_LINE] = "?", effective[DOCTOR_LINE];

	doctor_line(d, allowed, sizeof(allowed), "/proc/irq/%d/smp_affinity_list", irq->number);
	if (!doctor_line(d, effective, sizeof(effective), "/proc/irq/%d/effective_affinity_list", irq->number))
		snprintf(effective, sizeof(effective), "%s", allowed);
	json_object_set_new(fact, "irq", json_integer(irq->number));
	json_object_set_new(fact, "irq_name", json_text(irq->name));
	json_object_set_new(fact, "irq_cpus", json_string(effective));
	json_object_set_new(fact, "irq_cpus_allowed", json_string(allowed));
	doctor_say(p, DOCTOR_OK, "interrupt", "queue %d: %d (%s) on CPU %s, allowed on %s", irq->queue, irq->number, irq->name,
		   effective, allowed);
	if (pin)
		doctor_remedy(p, "have the owner of queue %d run there: taskset -c %s PROGRAM", irq->queue, effective);
}

static json_t *fact_of(json_t *queues, int queue)
{
	return json_array_get(queues, queue);
}

/* Two queues whose interrupts go to one processor have one processor's work for both */
static void say_shared(const struct doctor *d, struct doctor_part *p, const struct irq *irqs, int count)
{
	char one[DOCTOR_LINE], other[DOCTOR_LINE];
	int i, j;

	for (i = 0; i < count; i++) {
		if (!irqs[i].rx || !doctor_line(d, one, sizeof(one), "/proc/irq/%d/effective_affinity_list", irqs[i].number))
			continue;
		for (j = 0; j < i; j++) {
			if (!irqs[j].rx || irqs[j].queue == irqs[i].queue ||
			    !doctor_line(d, other, sizeof(other), "/proc/irq/%d/effective_affinity_list", irqs[j].number) ||
			    strcmp(one, other))
				continue;
			doctor_say(p, DOCTOR_TIP, "interrupt", "queues %d and %d both interrupt CPU %s", irqs[j].queue,
				   irqs[i].queue, one);
			doctor_remedy(p, "echo CPU >/proc/irq/%d/smp_affinity_list, with another one", irqs[i].number);
			return;
		}
	}
}

/* XPS: on which queue a processor sends. RPS: whether packets are carried to another one */
static void say_steering(const struct doctor *d, struct doctor_part *p, const struct doctor_nic *nic, json_t *queues)
{
	char queue[16], list[DOCTOR_LINE];
	int i, without = 0;

	for (i = 0; i < nic->tx_queues && i < nic->rx_queues; i++) {
		snprintf(queue, sizeof(queue), "tx-%d", i);
		if (!mask_list(d, nic, queue, "xps_cpus", list, sizeof(list)))
			continue;
		json_object_set_new(fact_of(queues, i), "xps_cpus", json_string(list));
		without += !*list;
		if (*list)
			doctor_say(p, DOCTOR_OK, "XPS", "CPU %s sends on queue %d", list, i);
	}
	if (without && nic->tx_queues > 1 && !nic->own) {
		doctor_say(p, DOCTOR_TIP, "XPS", "%d of %d queues have no CPU that sends there: what an owner sends may leave"
			   " on another's", without, nic->tx_queues);
		doctor_remedy(p, "echo MASK >/sys/class/net/%s/queues/tx-N/xps_cpus, of the CPU that owns queue N", nic->name);
	}
	for (i = 0; i < nic->rx_queues; i++) {
		snprintf(queue, sizeof(queue), "rx-%d", i);
		if (!mask_list(d, nic, queue, "rps_cpus", list, sizeof(list)) || !*list)
			continue;
		json_object_set_new(fact_of(queues, i), "rps_cpus", json_string(list));
		doctor_say(p, DOCTOR_TIP, "RPS", "packets of queue %d are carried to CPU %s: not the owner, but a softirq there"
			   " runs the stack", i, list);
		doctor_remedy(p, "echo 0 >/sys/class/net/%s/queues/%s/rps_cpus", nic->name, queue);
	}
}

void doctor_queues(const struct doctor *d, struct doctor_part *p, const struct doctor_nic *nic)
{
	json_t *queues = json_array();
	struct irq *irqs;
	int i, count;

	for (i = 0; i < nic->rx_queues; i++)
		json_array_append_new(queues, json_pack("{s:i}", "queue", i));
	count = read_irqs(d, nic, &irqs);
	for (i = 0; i < count; i++)
		if (irqs[i].rx && irqs[i].queue < nic->rx_queues)
			/* The own driver sends on its owner's queue from anywhere */
			say_irq(d, p, &irqs[i], fact_of(queues, irqs[i].queue), nic->rx_queues > 1 && !nic->own);
	say_shared(d, p, irqs, count);
	free(irqs);
	say_steering(d, p, nic, queues);
	doctor_fact(p, "queues", queues);
}
