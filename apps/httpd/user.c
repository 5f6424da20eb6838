// SPDX-License-Identifier: GPL-2.0
/*
 * user.c - becomes another user once all is open that needs privileges
 *
 * Opening a port of the module and a low port of TCP need them; serving does not. Each thread gives
 * up its own, when its ports are open and before it looks at a request: by system calls, as those of the
 * C library change all threads, and some may still have to open theirs.
 */
#define _GNU_SOURCE 1

#include <errno.h>
#include <grp.h>
#include <linux/capability.h>
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "httpd.h"

static bool number(const char *s, unsigned int *n)
{
	unsigned long value;
	char *end;

	if (*s < '0' || *s > '9')
		return false;
	errno = 0;
	value = strtoul(s, &end, 10);
	*n = value;
	return !*end && !errno && value < UINT32_MAX;	/* (all ones are nobody at all) */
}

/* Looks up --user NAME[:GROUP]. Returns 0, or -1 and has told why */
int user_find(struct settings *set)
{
	char name[256];
	const char *group = strchr(set->user, ':');
	size_t len = group ? (size_t)(group++ - set->user) : strlen(set->user);
	struct passwd *pw;
	struct group *gr;

	if (!len || len >= sizeof(name) || (group && !*group)) {
		fprintf(stderr, "stackmap-httpd: --user takes NAME or NAME:GROUP, not '%s'\n", set->user);
		return -1;
	}
	memcpy(name, set->user, len);
	name[len] = '\0';
	pw = getpwnam(name);
	if (pw) {
		set->uid = pw->pw_uid;
		set->gid = pw->pw_gid;
	} else if (!number(name, &set->uid) || !group) {
		fprintf(stderr, "stackmap-httpd: --user: no such user '%s'%s\n", name,
			number(name, &set->uid) ? ": a number needs a :GROUP" : "");
		return -1;
	}
	if (group) {
		gr = getgrnam(group);
		if (gr) {
			set->gid = gr->gr_gid;
		} else if (!number(group, &set->gid)) {
			fprintf(stderr, "stackmap-httpd: --user: no such group '%s'\n", group);
			return -1;
		}
	}
	set->groups[0] = set->gid;
	set->ngroups = 1;
	if (pw) {
		set->ngroups = GROUPS_MAX;
		if (getgrouplist(name, set->gid, set->groups, &set->ngroups) < 0) {
			fprintf(stderr, "stackmap-httpd: --user: '%s' is in more than %d groups\n", name,
				GROUPS_MAX);
			return -1;
		}
	}
	return 0;
}

/* The calling thread, for good. Returns 0, or -1 and has told why */
int user_become(const struct settings *set)
{
	struct __user_cap_header_struct head = { .version = _LINUX_CAPABILITY_VERSION_3 };
	struct __user_cap_data_struct none[2] = { 0 };

	if (!set->user)
		return 0;
	if (syscall(SYS_setgroups, (size_t)set->ngroups, set->groups) ||
	    syscall(SYS_setresgid, set->gid, set->gid, set->gid) ||
	    syscall(SYS_setresuid, set->uid, set->uid, set->uid) ||
	    /* Those that were not root's alone, and then no program that has some */
	    syscall(SYS_capset, &head, none) ||
	    prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)) {
		fprintf(stderr, "stackmap-httpd: cannot become user %s: %s\n", set->user, strerror(errno));
		return -1;
	}
	return 0;
}
