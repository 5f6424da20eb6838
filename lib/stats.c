// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * stats.c - what ports there are, and their counters
 */
#include <fcntl.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "lib.h"

int stackmap_stats(unsigned int index, struct stackmap_info *info)
{
	int fd, ret, err;

	if (!info) {
		errno = EINVAL;
		return -1;
	}
	fd = open(STACKMAP_DEVICE, O_RDWR | O_CLOEXEC);
	if (fd < 0)
		return -1;
	memset(info, 0, sizeof(*info));
	info->version = STACKMAP_ABI_VERSION;
	info->index = index;
	ret = ioctl(fd, STACKMAP_IOC_INFO, info);
	err = errno;
	close(fd);
	errno = err;
	return ret < 0 ? -1 : 0;
}
